"""Everything the sources have, one document after the other, from any place on; tasks are read ahead on all cores."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

from gristlm.collect.ahead import in_order
from gristlm.collect.document import Drop, Entry, Item, Rows, Sized, Source, Task, Unit

OVER = "over max_bytes_per_source"


@dataclasses.dataclass
class Place:
    """How far the reading has come.

    So many sources are done, of the next so many units, of the next (`unit`) so many entries, of the next so many
    items; `source_bytes` counts the text that the source has given.
    """

    source: int = 0
    units: int = 0
    unit: str = ""
    entries: int = 0
    items: int = 0
    source_bytes: int = 0
    done: bool = False


class _Step(NamedTuple):
    """An entry of a unit, or (`entry` None) the start or the end of the unit, or (`unit` None) the end of a source."""

    unit: Unit | None
    entry: Entry | None = None
    start: bool = False


class Reader:
    """Reads on from `place`, which follows: it is always the place after the last item that was given out."""

    def __init__(
        self, sources: Sequence[Source], place: Place, *, limit: int | None, num_threads: int | None, max_bytes: int
    ) -> None:
        """Reads ahead on `num_threads` threads (None: all cores), holding about `max_bytes` bytes.

        `limit` is the most bytes of text to take from one source; the caller counts them in `place.source_bytes`.
        """
        self.place = place
        self._sources, self._limit = sources, limit
        self._num_threads = num_threads or os.cpu_count() or 1
        self._max_bytes = max_bytes
        self._full_source = -1
        self._finished_bytes = 0
        self.skipped_bytes = 0
        """Of the input that an earlier call had read: the bytes of whole units."""
        self._unit: Unit | None = None

    def position(self) -> int:
        """Returns how many bytes of input have been read, of those units that know their size."""
        at = self._unit.position if self._unit else None
        return self._finished_bytes + (at() if at else 0)

    def size(self) -> int:
        """Returns the bytes of input in all, 0 where a source cannot tell."""
        sizes = [source.input_bytes() if isinstance(source, Sized) else 0 for source in self._sources]
        return sum(sizes) if all(sizes) else 0

    def items(self) -> Generator[Item | Rows, None, None]:
        """Yields documents (with a limit one by one) and drops.

        A unit that is left out because its source is full gives one drop.
        """
        place = self.place
        done_items = place.items  # of the first entry, which an earlier call read in part
        over = False
        steps = in_order(self._steps(), self._work, _weight, num_threads=self._num_threads, max_weight=self._max_bytes)
        for step, results in steps:
            if step.unit is None:
                place.source, place.units, place.source_bytes = place.source + 1, 0, 0
                continue
            if step.start:
                over = False
                if self._full():
                    over = True
                    yield self._leave(step.unit)
                continue
            if over:
                continue
            if step.entry is None:
                self._next_unit()
                continue
            for index, item in enumerate(results()):
                if index < done_items:
                    continue
                if self._full():
                    over = True
                    yield self._leave(step.unit)
                    break
                place.unit, place.items = step.unit.key, index + 1
                yield item
            else:
                place.unit, place.entries, place.items = step.unit.key, place.entries + 1, 0
            done_items = 0
        place.done = True

    def _steps(self) -> Iterator[_Step]:
        first = dataclasses.replace(self.place)
        for number in range(first.source, len(self._sources)):
            here = number == first.source
            for index, unit in enumerate(self._sources[number].units()):
                if here and index < first.units:
                    self._finished_bytes += unit.bytes
                    self.skipped_bytes = self._finished_bytes
                    continue
                yield _Step(unit, start=True)
                if self._full_source != number:
                    self._unit = unit
                    skip = first.entries if here and index == first.units else 0
                    for count, entry in enumerate(unit.read()):
                        if self._full_source == number:
                            break
                        if count >= skip:
                            yield _Step(unit, entry)
                    self._unit = None
                self._finished_bytes += unit.bytes
                yield _Step(unit)
            yield _Step(None)

    def _work(self, step: _Step) -> Callable[[], Iterable[Item | Rows]]:
        entry = step.entry
        if isinstance(entry, Task):
            read = entry.read
            return lambda: list(read())
        if isinstance(entry, Rows) and self._limit is not None:  # which one document may pass
            return entry.documents
        return lambda: () if entry is None else (entry,)

    def _full(self) -> bool:
        return self._limit is not None and self.place.source_bytes >= self._limit

    def _leave(self, unit: Unit) -> Drop:
        self._full_source = self.place.source
        self._next_unit()
        return Drop(self._sources[self.place.source].name, unit.key, OVER, fault=False)

    def _next_unit(self) -> None:
        self.place.units, self.place.unit, self.place.entries, self.place.items = self.place.units + 1, "", 0, 0


def still_there(sources: Sequence[Source], place: Place) -> bool:
    """Returns whether the unit that was being read at `place` is still where it was."""
    if not place.unit:
        return True
    units = enumerate(sources[place.source].units())
    return next((unit.key for index, unit in units if index == place.units), "") == place.unit


def _weight(step: _Step) -> int:
    return max(1, step.entry.bytes) if isinstance(step.entry, Task) else 0
