"""One share of a source: every n-th of its units, so that n machines read all of it and none reads anything twice."""

from __future__ import annotations

from collections.abc import Iterator

from gristlm.collect.document import Source, Unit
from gristlm.errors import ConfigError


def parse(text: str) -> tuple[int, int]:
    """Returns (i, n) of "i/n", where i counts from 0.

    Raises:
        ConfigError: it is not that.
    """
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return int(index), int(count)
    raise ConfigError(f"shard {text!r} is not i/n with 0 <= i < n, such as 0/4 … 3/4")


class Share:
    """Every `count`-th unit of a source, from unit `index` on."""

    def __init__(self, source: Source, index: int, count: int) -> None:
        """Takes a share of `source`."""
        self._source, self._index, self._count = source, index, count

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    def units(self) -> Iterator[Unit]:
        """Lists the units of this share."""
        return (unit for number, unit in enumerate(self._source.units()) if number % self._count == self._index)
