"""Collect: text from many sources, each document with its source and its licence; cleaned, without duplicates, split.

`run` makes the artifact "documents"; `gristlm.collect.conversations.run` makes "conversations" from it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristlm.collect import conversations
    from gristlm.collect.config import CollectConfig
    from gristlm.collect.document import Document, Drop, Source, Unit
    from gristlm.collect.explain import explain
    from gristlm.collect.quality import train_quality
    from gristlm.collect.stage import run

_HOMES = {
    "CollectConfig": "gristlm.collect.config",
    "Document": "gristlm.collect.document",
    "Drop": "gristlm.collect.document",
    "Source": "gristlm.collect.document",
    "Unit": "gristlm.collect.document",
    "explain": "gristlm.collect.explain",
    "train_quality": "gristlm.collect.quality",
    "run": "gristlm.collect.stage",
}

__all__ = ["CollectConfig", "Document", "Drop", "Source", "Unit", "conversations", "explain", "run", "train_quality"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name == "conversations":
        value = importlib.import_module("gristlm.collect.conversations")
    else:
        raise AttributeError(f"module 'gristlm.collect' has no attribute {name!r}")
    globals()[name] = value
    return value
