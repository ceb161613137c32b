"""What goes wrong with rewards without an error: one takes for ever, one says the same of every answer."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from gristlm.errors import TrainingError
from gristlm.runs import progress

PATIENCE = 5  # steps in a row


@contextlib.contextmanager
def time_limit(seconds: float | None, what: str) -> Iterator[None]:
    """Ends what is done within by a TrainingError after so many seconds of wall clock.

    It works by an alarm signal: only in the main thread and where there are such signals; elsewhere nothing is ended.
    """
    here = threading.current_thread() is threading.main_thread()
    if seconds is None or not here or not hasattr(signal, "setitimer"):
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise TrainingError(f"{what} took more than max_reward_seconds = {seconds:g}")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class ConstantWatch:
    """Warns of rewards that are the same for all answers of `PATIENCE` steps in a row, once for each spell of it."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}

    def look(self, rewards: Mapping[str, NDArray[np.float64]]) -> list[str]:
        """Takes note of a step's rewards, float64[N] by name; returns the names it has just warned of."""
        warned = []
        for name, values in rewards.items():
            constant = len(values) > 1 and values.min() == values.max()
            self._steps[name] = self._steps.get(name, 0) + 1 if constant else 0
            if self._steps[name] == PATIENCE:
                warned.append(name)
                progress.say(
                    f"  WARNING: reward {name!r} was {values[0]:g} for every answer of {PATIENCE} steps in a row: "
                    "nothing can be learned from it. Read rollouts/, and see whether its data or its pattern fit"
                )
        return warned
