"""Which documents are held out: a stable function of the document's id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def position(key: str) -> float:
    """Returns a number in [0, 1) that depends on `key` alone: the first 53 bits of its BLAKE2b digest."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def group(document_id: str) -> str:
    """Returns what is split as one: the id up to its first `#` (a module's docstrings and its source code share it)."""
    return document_id.partition("#")[0]


def heldout(document_ids: Sequence[str], fraction: float) -> npt.NDArray[np.bool_]:
    """Returns bool[N]: whether each document is held out.

    A document is held out where `position(group(id)) < fraction`. So that neither side of a tiny corpus is empty
    (ours), given two groups, the one of the lowest position is held out and that of the highest never.
    """
    places = np.fromiter((position(group(each)) for each in document_ids), np.float64, len(document_ids))
    held = places < fraction
    if fraction > 0 and len(document_ids):
        # Groups of one position are told apart by name; there is one row at each end, nearly always.
        lowest = min(group(document_ids[row]) for row in np.flatnonzero(places == places.min()))
        highest = max(group(document_ids[row]) for row in np.flatnonzero(places == places.max()))
        if lowest != highest:
            for name, side in ((lowest, True), (highest, False)):
                for row in np.flatnonzero(places == position(name)):
                    held[row] = side if group(document_ids[row]) == name else held[row]
    return held
