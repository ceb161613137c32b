"""Sampling ahead: a step's answers, sampled in a second thread while the step before is learned.

The weights are copied before that step changes them, so what is sampled does not depend on how fast either thread is.
"""

from __future__ import annotations

import concurrent.futures
import copy
from collections.abc import Callable

from gristlm.model import Completion, Model

Sample = Callable[[Model, int], list[list[Completion]]]


class Ahead:
    """At most one step's answers (this rank's share of them), on their way."""

    def __init__(self, sample: Sample) -> None:
        """Takes the function (weights, step) that samples a step."""
        self._sample = sample
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._pending: tuple[int, concurrent.futures.Future[list[list[Completion]]]] | None = None
        self.stale = False
        """Whether the answers taken last were sampled before the latest update."""

    def start(self, policy: Model, step: int) -> None:
        """Begins to sample `step` with the policy as it is now."""
        if self._pool is None:
            self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="rollouts")
        snapshot = copy.deepcopy(policy).requires_grad_(False)
        self._pending = (step, self._pool.submit(self._sample, snapshot, step))

    def take(self, step: int) -> list[list[Completion]] | None:
        """Returns the answers of `step` where they were begun, else None."""
        pending, self._pending = self._pending, None
        self.stale = pending is not None and pending[0] == step
        return pending[1].result() if pending is not None and self.stale else None

    def close(self) -> None:
        """Waits for what is on its way, and ends."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
