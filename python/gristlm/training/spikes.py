"""Updates that are left out because their loss jumps.

PaLM (arXiv 2204.02311, section 5.1) went back and skipped the batches of a spike; ours decides before the update, so
there is nothing to go back to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

RECENT = 32
"""Losses that a new one is compared with; until there are so many, nothing is skipped."""


class Spikes:
    """Finds losses far above the recent ones.

    Args:
        deviations: a loss more than so many standard deviations above the mean is a spike; None: none is.
        recent: the losses so far, from `state`.
        skipped: how many spikes there were.
    """

    def __init__(self, deviations: float | None, recent: Sequence[float] = (), skipped: int = 0) -> None:
        self._deviations, self._recent, self.skipped = deviations, list(recent), skipped

    def found(self, loss: float) -> bool:
        """Returns whether `loss` is a spike; counts it, or remembers the loss."""
        if self._deviations is None:
            return False
        if len(self._recent) == RECENT:
            mean = math.fsum(self._recent) / RECENT
            deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in self._recent) / RECENT)
            if loss > mean + self._deviations * max(deviation, 0.01 * abs(mean)):
                self.skipped += 1
                return True
        self._recent = [*self._recent, loss][-RECENT:]
        return False

    def state(self) -> dict[str, object]:
        """Returns what the next process needs, JSON-able."""
        return {"recent": self._recent, "skipped": self.skipped}
