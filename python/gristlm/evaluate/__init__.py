"""Evaluation: one small suite for every checkpoint, with intervals, the same prompts and the same seeds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristlm.evaluate.config import EvaluateConfig
    from gristlm.evaluate.stage import run
    from gristlm.training.refusal import is_refusal
    from gristlm.verify.instructions import ifeval

_HOMES = {
    "EvaluateConfig": "gristlm.evaluate.config",
    "ifeval": "gristlm.verify.instructions",
    "is_refusal": "gristlm.training.refusal",
    "run": "gristlm.evaluate.stage",
}

__all__ = ["EvaluateConfig", "ifeval", "is_refusal", "run"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gristlm.evaluate' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
