"""What a run leaves on disk step by step; of several processes the first alone writes.

Copying what is sharded takes all of them, so every rank calls these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gristlm.rlhf import rollouts as rolled
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.learners import Learner
from gristlm.rlhf.rollouts import Sampler, Scored
from gristlm.training import checkpoint
from gristlm.training.distributed import Ranks
from gristlm.training.metrics import MetricsLog


class Record:
    """Writes the metrics, rollouts and checkpoints of one run."""

    def __init__(self, path: Path, start: Path, config: RLHFConfig, ranks: Ranks, *, done: int) -> None:
        """Takes the run's directory, the checkpoint it began with, and the steps that are done already."""
        self._path, self._start, self._config, self._ranks = path, start, config, ranks
        self._log = MetricsLog(path) if ranks.first else None
        if self._log is not None:
            self._log.truncate(done)

    def metrics(self, step: int, **figures: float) -> None:
        """Adds a line to the log."""
        if self._log is not None:
            self._log.write(step, **figures)

    def rollouts(self, step: int, scored: Scored, advantages: list[list[float]], sampler: Sampler) -> None:
        """Writes a step's answers."""
        if self._ranks.first:
            rolled.write(self._path / "rollouts" / f"step-{step:05d}.parquet", step, scored, advantages, sampler)

    def checkpoint(
        self, step: int, learner: Learner, state: Mapping[str, object], *, keep_steps: Sequence[int]
    ) -> None:
        """Writes what a run that is cut off after `step` goes on from."""
        model, optimizer = learner.copied()
        if self._ranks.first:
            checkpoint.save(
                self._path,
                step,
                model,
                optimizer,
                tokenizer_dir=self._start,
                state=state,
                keep_last=self._config.keep_last,
                keep_steps=keep_steps,
            )
