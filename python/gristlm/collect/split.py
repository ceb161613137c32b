"""Which documents are held out: a stable function of the document's id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt


def position(key: str) -> float:
    """Returns a number in [0, 1) that depends on `key` alone: the first 53 bits of its BLAKE2b digest."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def group(document_id: str) -> str:
    """Returns what is split as one: the id up to its first `#` (a module's docstrings and its source code share it)."""
    return document_id.partition("#")[0]


def heldout(parts: Sequence[Sequence[str]], fraction: float) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Yields the number of a part and bool[N]: whether each of its documents is held out; what comes later counts.

    A document is held out where `position(group(id)) < fraction`. So that neither side of a tiny corpus is empty
    (ours), given two groups, the one of the lowest position is held out and that of the highest never; groups of one
    position are told apart by name.

    Args:
        parts: the documents' ids; each part is looked at once, some twice.
        fraction: of the groups that is held out, about.
    """
    ends: list[tuple[float, float]] = []
    lowest, highest = (2.0, ""), (-1.0, "")
    for number, part in enumerate(parts):
        groups = [group(each) for each in part]
        places = np.fromiter(map(position, groups), np.float64, len(groups))
        yield number, places < fraction
        if len(groups):
            low, high = places.min(), places.max()
            lowest = min(lowest, (low, min(groups[row] for row in np.flatnonzero(places == low))))
            highest = max(highest, (high, max(groups[row] for row in np.flatnonzero(places == high))))
        ends.append((float(places.min(initial=2)), float(places.max(initial=-1))))
    if fraction <= 0 or lowest[1] == highest[1]:
        return
    for number, (low, high) in enumerate(ends):
        if low == lowest[0] or high == highest[0]:
            groups = [group(each) for each in parts[number]]
            held = np.fromiter((position(name) < fraction for name in groups), np.bool_, len(groups))
            for name, side in ((lowest[1], True), (highest[1], False)):
                held[[row for row, each in enumerate(groups) if each == name]] = side
            yield number, held
