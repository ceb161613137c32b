"""Fine-tuning: chat templates and loss masks, supervised training on conversations, training on preferences.

`render`, `prepare` and `losses` are for any training loop; `run` is the stage. Nothing is imported before it is asked
for: `render` and `prepare` need Jinja and numpy; `losses`, `lora`, `rounds` and `run` need torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristlm.finetune import lora, losses, rounds
    from gristlm.finetune.config import FinetuneConfig
    from gristlm.finetune.data import read
    from gristlm.finetune.environment import render
    from gristlm.finetune.prepared import PackedRows, Prepared, prepare
    from gristlm.finetune.stage import run
    from gristlm.finetune.writing import write

__all__ = [
    "FinetuneConfig", "PackedRows", "Prepared", "lora", "losses", "prepare", "read", "render", "rounds", "run", "write",
]  # fmt: skip

_HOMES = {
    "FinetuneConfig": "config",
    "PackedRows": "prepared",
    "Prepared": "prepared",
    "prepare": "prepared",
    "read": "data",
    "render": "environment",
    "run": "stage",
    "write": "writing",
}


def __getattr__(name: str) -> object:
    try:
        if name in ("lora", "losses", "rounds"):
            value: object = importlib.import_module(f"gristlm.finetune.{name}")
        elif name in _HOMES:
            value = getattr(importlib.import_module(f"gristlm.finetune.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module 'gristlm.finetune' has no attribute {name!r}")
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "jinja2"):
            raise
        from gristlm.errors import missing_extra

        raise missing_extra(error.name, "train") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
