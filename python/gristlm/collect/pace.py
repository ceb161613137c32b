"""How fast a run reads, and how long it will go on."""

from __future__ import annotations

import time

from gristlm.collect.reader import Reader
from gristlm.collect.report import Count, Tally


class Pace:
    """Figures for the progress bar: documents, documents and megabytes of text a second, dropped, time left.

    The rates are of this call: what an earlier, cut-off call had read is left out of them.
    """

    def __init__(self, reader: Reader, tally: Tally) -> None:
        """Starts the clock; `tally` is what earlier calls have counted."""
        self._reader = reader
        self._total = reader.size()
        self._started = self._shown = time.monotonic()
        found = tally.total("found")
        self._before = found.documents, found.bytes

    @property
    def total(self) -> int | None:
        """Megabytes of input in all, where that is known."""
        return self._total // 1_000_000 or None

    @property
    def done(self) -> int:
        """Megabytes of input read."""
        return self._reader.position() // 1_000_000

    def due(self) -> bool:
        """Returns whether a second has passed since this last said so."""
        now = time.monotonic()
        if now - self._shown < 1:
            return False
        self._shown = now
        return True

    def figures(self, *tallies: Tally) -> dict[str, str]:
        """Returns the figures, as they are shown, of what was counted in several tallies."""
        found, dropped, position = Count(), 0, self._reader.position()
        for tally in tallies:
            of = tally.total("found")
            found.add(of.bytes, of.documents)
            dropped += tally.total("dropped").documents
        documents, size = self._before
        start = self._reader.skipped_bytes
        seconds = max(time.monotonic() - self._started, 1e-9)
        shown = {
            "documents": f"{found.documents:,}",
            "documents/s": f"{(found.documents - documents) / seconds:,.0f}",
            "MB/s": f"{(found.bytes - size) / 1e6 / seconds:.1f}",
            "dropped": f"{dropped:,}",
        }
        if self._total and position > start:
            left = seconds * max(0, self._total - position) / (position - start)
            shown["ETA"] = f"{left // 3600:.0f}:{left // 60 % 60:02.0f}:{left % 60:02.0f}"
        return shown
