"""Rewards by name, mixed by weight: rules, regular expressions, the user's own functions, a reward model, a judge.

A name is one of `verifiers.RULES`, "regex:PATTERN", "forbidden:FILE" (a list of expressions that must not be found),
"harmless:FILE" (1 less the probability of harm, by a saved `gristlm.verify.harm.HarmModel`), "reward_model", "judge"
(a server, see `gristlm.verify.judge`), or "path/to/file.py:function" with a function
`(prompt, response, row) -> float` or `(prompt, response) -> float`; prompt is the list of messages. A recipe that
names a file runs that file: only use recipes you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gristlm.errors import ConfigError, TrainingError
from gristlm.rlhf.reward_watch import time_limit
from gristlm.rlhf.verifiers import RULES, Row, Rule, forbidding, harmless, matching
from gristlm.verify import answers

if TYPE_CHECKING:
    from gristlm.rlhf.reward_model import RewardModel
    from gristlm.verify.judge import Judge

REWARD_MODEL = "reward_model"
JUDGE = "judge"
# What an answer of a chat model is judged by where nothing is said.
DEFAULT_RULES = ("format", "refusal", "length")
_REGEX = "regex:"
_FORBIDDEN = "forbidden:"
_HARMLESS = "harmless:"
_OF_FILES = (_FORBIDDEN, _HARMLESS)


class Rewards:
    """The weighted mixture of a run's rewards."""

    def __init__(
        self,
        weights: Mapping[str, float],
        reward_model: RewardModel | None = None,
        judge: Judge | None = None,
        *,
        max_seconds: float | None = None,
    ) -> None:
        """Loads every reward; scoring a batch with one of them may take `max_seconds`.

        Raises:
            ConfigError: a name is unknown, a file or function is not there, or "reward_model" is named without one
                being given (or the reverse).
        """
        if (REWARD_MODEL in weights) != (reward_model is not None):
            what = (
                "names 'reward_model' but none was given as an input"
                if reward_model is None
                else "does not name the 'reward_model' that was given"
            )
            raise ConfigError(f"rlhf.rewards {what}; rewards: {', '.join(weights)}")
        for name, weight in weights.items():
            if not math.isfinite(weight):
                raise ConfigError(f"rlhf.rewards gives {name!r} the weight {weight}; give a finite number")
        if JUDGE in weights and judge is None:
            raise ConfigError("rlhf.rewards names 'judge' but there is no table rlhf.judge with its endpoint and model")
        self.weights = dict(weights)
        self._judge, self._max_seconds = judge, max_seconds
        self._reward_model = reward_model
        self._rules = {name: _rule(name) for name in weights if name not in (REWARD_MODEL, JUDGE)}

    def score(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], responses: Sequence[str], rows: Sequence[Row]
    ) -> dict[str, NDArray[np.float64]]:
        """Returns each reward alone, unweighted, float64[N] by name.

        Raises:
            TrainingError: a reward raised, took over `max_seconds` for the batch, gave not one number for each answer,
                or gave NaN, infinity or no number; names the reward and, where one is to blame, the prompt.
        """
        scores = {}
        for name in self.weights:
            with time_limit(self._max_seconds, f"reward {name!r} on {len(responses)} answers"):
                scores[name] = self._one(name, prompts, responses, rows)
        return scores

    def _one(
        self, name: str, prompts: Sequence[Sequence[Mapping[str, str]]], responses: Sequence[str], rows: Sequence[Row]
    ) -> NDArray[np.float64]:
        rule = self._rules.get(name)
        if rule is not None:
            values = [_call(name, rule, *each) for each in zip(prompts, responses, rows, strict=True)]
        elif name == JUDGE:
            assert self._judge is not None
            values = self._judge.score(prompts, responses).tolist()
        else:
            assert self._reward_model is not None
            values = [float(value) for value in self._reward_model.score(prompts, responses)]
        if len(values) != len(responses):
            raise TrainingError(f"reward {name!r} gave {len(values)} numbers for {len(responses)} answers")
        for prompt, response, value in zip(prompts, responses, values, strict=True):
            if not math.isfinite(value):
                raise TrainingError(
                    f"reward {name!r} gave {value} for {_show(prompt, response)}; a reward must be a finite number"
                )
        return np.array(values, dtype=np.float64)

    def counts(self) -> dict[str, float]:
        """Returns what the judge was asked so far, as `judge/NAME`; nothing without one."""
        if self._judge is None:
            return {}
        return {f"judge/{name}": value for name, value in self._judge.counts().items()}

    def total(self, scores: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Returns the weighted sum of `score`'s result, float64[N]."""
        return sum((weight * scores[name] for name, weight in self.weights.items()), start=np.zeros(()))


def files(names: Sequence[str]) -> dict[str, Path]:
    """Returns the user's own files among reward names, as inputs of the stage: a run is made from them too."""
    own = {f"reward {name}": Path(name.rpartition(":")[0]) for name in names if _is_own(name)}
    lists = {f"reward {name}": Path(name.partition(":")[2]) for name in names if name.startswith(_OF_FILES)}
    return own | lists


def _is_own(name: str) -> bool:
    return not name.startswith((_REGEX, *_OF_FILES)) and name.rpartition(":")[0].endswith(".py")


def _rule(name: str) -> Rule:
    if name == "math":
        answers.require_mathematics()
    if name in RULES:
        return RULES[name]
    if name.startswith(_FORBIDDEN):
        return forbidding(Path(name.removeprefix(_FORBIDDEN)))
    if name.startswith(_HARMLESS):
        return harmless(Path(name.removeprefix(_HARMLESS)))
    if name.startswith(_REGEX):
        return matching(name.removeprefix(_REGEX))
    if _is_own(name):
        return _own(name)
    raise ConfigError(
        f"rlhf.rewards: unknown reward {name!r}; allowed: {', '.join([*RULES, REWARD_MODEL, JUDGE])}, 'regex:PATTERN', "
        "'forbidden:FILE', 'harmless:FILE', 'path/to/file.py:function'"
    )


def _own(name: str) -> Rule:
    path, _, function = name.rpartition(":")
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError(f"rlhf.rewards: {name!r}: there is no file {file}")
    spec = importlib.util.spec_from_file_location(
        f"gristlm_reward_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}", file
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"rlhf.rewards: {name!r}: {file} fails on import: {error!r}") from error
    rule = getattr(module, function, None)
    if not callable(rule):
        raise ConfigError(f"rlhf.rewards: {name!r}: {file} has no function {function!r}")
    try:
        accepts_row = len(inspect.signature(rule).parameters) != 2
    except ValueError:  # a builtin without a signature
        accepts_row = True
    return rule if accepts_row else lambda prompt, response, row: rule(prompt, response)


def _call(name: str, rule: Rule, prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    try:
        return float(rule(prompt, response, row))
    except Exception as error:
        raise TrainingError(f"reward {name!r} failed on {_show(prompt, response)}: {error!r}") from error


def _show(prompt: Sequence[Mapping[str, str]], response: str) -> str:
    last = prompt[-1].get("content", "") if prompt else ""
    return f"prompt {last!r:.200}, response {response!r:.200}"
