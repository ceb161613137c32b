"""What the training stages share: device, schedule, optimizer, checkpoints, metrics, packed batches, chat prompts.

Nothing here is imported before it is asked for: `PackedLoader` needs numpy alone, most of the rest needs torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gristlm.training.metrics import MetricsLog
    from gristlm.training.packed_loader import PackedLoader

__all__ = ["MetricsLog", "PackedLoader"]

_HOMES = {"MetricsLog": "gristlm.training.metrics", "PackedLoader": "gristlm.training.packed_loader"}
_MODULES = (
    "averages",
    "background",
    "batches",
    "chat_prompt",
    "checkpoint",
    "device",
    "diagnosis",
    "distributed",
    "flops",
    "metrics",
    "muon",
    "optimizer",
    "packed_loader",
    "refusal",
    "schedule",
    "sinks",
    "spikes",
    "torch_dataset",
)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"gristlm.training.{name}")
    else:
        raise AttributeError(f"module 'gristlm.training' has no attribute {name!r}")
    globals()[name] = value
    return value
