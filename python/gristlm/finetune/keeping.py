"""What a tuning run leaves behind while it goes on: metrics and checkpoints, written by the first of its processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from torch import nn

from gristlm.finetune.config import FinetuneConfig
from gristlm.model import Model
from gristlm.training import checkpoint
from gristlm.training.checkpoint import Saves, Snapshot
from gristlm.training.distributed import Ranks, whole
from gristlm.training.metrics import MetricsLog
from gristlm.training.optimizer import Optimizer

Figures = dict[str, float | None]
Watch = Callable[[int], Mapping[str, float | None]]
"""Called with the step at each measurement; returns what it measured."""


def nothing(step: int) -> Figures:
    """Measures nothing: the `Watch` of a loop that was given none."""
    del step
    return {}


class Keeper:
    """The files of a tuning run."""

    def __init__(
        self,
        stage_dir: Path,
        model: Model,
        trained: Saves,
        adamw: Optimizer,
        config: FinetuneConfig,
        *,
        tokenizer_dir: Path,
        ranks: Ranks,
    ) -> None:
        """Opens them; `trained` is what is kept: `model`, or the adapters inside it."""
        self._dir, self._model, self._trained, self._adamw = stage_dir, model, trained, adamw
        self._tokenizer_dir, self._keep_last, self._ranks = tokenizer_dir, config.keep_last, ranks
        self._metrics = MetricsLog(stage_dir)

    def begin(self, measure: Callable[[int], Figures]) -> tuple[int, Figures]:
        """Returns the first step that is to be done, and what was measured before any: now, or by an earlier call."""
        newest = self._ranks.from_first(checkpoint.latest(self._dir) if self._ranks.first else None)
        if newest is None:
            first, before = 1, measure(0)
        else:
            first = checkpoint.step_of(newest) + 1
            state = checkpoint.restore(newest, cast("nn.Module", self._trained), self._adamw)
            before = cast("Figures", state["before"])
        if self._ranks.first:
            self._metrics.truncate(first - 1 if newest is not None else -1)
        if newest is None:
            self.log(0, before)
        return first, before

    def log(self, step: int, figures: Mapping[str, float | None]) -> None:
        """Appends a line to `metrics.jsonl`."""
        if self._ranks.first:
            self._metrics.write(step, **figures)

    def keep(self, step: int, before: Figures) -> None:
        """Writes the checkpoint of a step; every rank must call it."""
        kept: Saves = self._trained
        state: Optimizer | Snapshot = self._adamw
        if self._ranks.world_size > 1 and self._trained is self._model:
            kept = state = Snapshot.take(self._model, self._adamw)
        if self._ranks.first:
            checkpoint.save(
                self._dir, step, kept, state, tokenizer_dir=self._tokenizer_dir, state={"before": before},
                keep_last=self._keep_last,
            )  # fmt: skip


def gathered(model: Model, ranks: Ranks) -> Saves:
    """Returns the model with its weights whole, to be written; every rank must call it."""
    if ranks.world_size == 1:
        return model
    weights = {name: whole(tensor.detach()).cpu().clone() for name, tensor in model.state_dict().items()}
    return Snapshot(model.config, weights, {}, {})


def before_and_after(steps: int, before: Figures, after: Figures) -> dict[str, object]:
    """Returns the counts of a run: each figure under its name with `_before` and `_after`."""
    return {
        "steps": steps,
        **{
            f"{name}_{when}": value for when, at in (("before", before), ("after", after)) for name, value in at.items()
        },
    }
