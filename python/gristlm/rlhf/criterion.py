"""The criterion: the truth that rewards only stand for, as a function of the user's own.

`"path/to/file.py:function"` is called as `function(prompt, response) -> float`, both texts; the prompt is the last
message of the user. A run measures it and never learns from it. A recipe that names a file runs that file: only use
recipes you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from gristlm.errors import ConfigError, TrainingError
from gristlm.runs.recipe import RECIPES


def own_file(setting: str, name: str) -> Path:
    """Returns the file of `path/to/file.py:function`, from the working directory, or beside gristlm's recipes.

    Raises:
        ConfigError: there is none; names the setting and says where it was looked for.
    """
    given = name.rpartition(":")[0]
    for path in (Path(given), RECIPES / given):
        if given.endswith(".py") and path.is_file():
            return path
    raise ConfigError(
        f"{setting} is {name!r}; needed: 'path/to/file.py:function' of a file that is there, "
        f"from {Path.cwd()} or beside the recipes that come with gristlm"
    )


def own_function(setting: str, name: str) -> Callable[..., object]:
    """Returns the function of `path/to/file.py:function`.

    Raises:
        ConfigError: the file is not there, fails when it is imported, or has no such function.
    """
    file, function = own_file(setting, name).resolve(), name.rpartition(":")[2]
    module = _imported(setting, name, file)
    found: Callable[..., object] | None = getattr(module, function, None)
    if found is None or not callable(found):
        raise ConfigError(f"{setting}: {name!r}: {file} has no function {function!r}")
    return found


def _imported(setting: str, name: str, file: Path) -> ModuleType:
    module_name = f"gristlm_own_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{setting}: {name!r}: {file} fails on import: {error!r}") from error
    return module


class Criterion:
    """A criterion, ready to be asked."""

    def __init__(self, name: str, *, setting: str = "rlhf.criterion") -> None:
        """Loads `path/to/file.py:function`.

        Raises:
            ConfigError: there is no such file or function.
        """
        self._name, self._setting = name, setting
        self._function = own_function(setting, name)

    def score(self, prompts: Sequence[Sequence[Mapping[str, str]]], responses: Sequence[str]) -> NDArray[np.float64]:
        """Returns the criterion of each response to its prompt (messages), float64[N].

        Raises:
            TrainingError: the function failed or gave no finite number; shows for what.
        """
        return np.array([self._one(*each) for each in zip(prompts, responses, strict=True)], dtype=np.float64)

    def _one(self, prompt: Sequence[Mapping[str, str]], response: str) -> float:
        asked = next((message["content"] for message in reversed(prompt) if message["role"] == "user"), "")
        try:
            value = float(self._function(asked, response))  # type: ignore[arg-type]
        except Exception as error:
            raise TrainingError(
                f"{self._setting} {self._name!r} failed on prompt {asked!r:.200}, response {response!r:.200}: {error!r}"
            ) from error
        if not math.isfinite(value):
            raise TrainingError(f"{self._setting} {self._name!r} gave {value} for {response!r:.200}; it must be finite")
        return value
