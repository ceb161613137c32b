"""Duplicates over all documents: copies, near copies, and passages that stood before.

Which document stays does not depend on how the corpus was put together: the one whose id is least, and of equal ids the
one whose text is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristlm import dedup
from gristlm.collect import mapped
from gristlm.collect.config import CollectConfig, size_in_bytes
from gristlm.collect.document import NO_LANGUAGE
from gristlm.runs import progress


class _Shared(TypedDict):
    num_threads: int | None
    memory: int
    folder: Path


_BLANK_BYTES = 1000  # what is left of a text, at most, if it is looked at whether that is white space


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """What each of N documents repeats, in mapped arrays."""

    order: npt.NDArray[np.int64]
    """int64[N]: the documents, the one that is rather to stay first."""
    repeats: npt.NDArray[np.bool_]
    """bool[N]: of each in that order, whether it has the id of the one before it."""
    first: npt.NDArray[np.int64]
    """int64[N]: the document that each one repeats, -1 for one that is kept."""
    exact: npt.NDArray[np.bool_]
    """bool[N]: whether it is an exact copy."""
    similarity: npt.NDArray[np.float32] | None
    """float32[N]: how alike a near one is; None where none was looked for."""
    threshold: float | None
    """From which on a near one is one."""


def find(
    whole: pa.Table,
    config: CollectConfig,
    folder: Path,
    sign: Callable[[npt.NDArray[np.int64]], None] | None = None,
) -> Duplicates:
    """Returns the copies and near copies among documents with an id and a text.

    Args:
        whole: all N documents.
        config: with `near_duplicate_threshold`.
        folder: where what does not fit lies.
        sign: called with the documents' positions (int64[N], -1 for an exact copy) before near copies are looked for;
            may leave in `folder` what `dedup.sign_shard` and `dedup.group_partitions` do.
    """
    texts = whole.column("text")
    shared: _Shared = {"num_threads": config.num_threads, "memory": _memory(config), "folder": folder}
    order, repeats = dedup.by_id(whole.column("id"), texts, **shared)
    with progress.bar("find exact copies", unit="MB of text") as bar:
        original = dedup.exact(texts, order=order, **shared, progress=_megabytes(bar)).cluster
    similarity = None
    if config.near_duplicate_threshold is None:
        first = mapped.array(folder, len(texts), "int64")
        first.fill(-1)
    else:
        if sign is not None:
            sign(_positions(order, original, folder))
        with progress.bar("find near copies", unit="MB of text, in three passes") as bar:
            near = dedup.minhash(
                texts,
                threshold=config.near_duplicate_threshold,
                order=order,
                **shared,
                progress=_megabytes(bar),
            )
        first, similarity = near.twin, near.similarity
    # A copy whose original is itself no more than near to a document that is kept goes with that document as its twin.
    exact = mapped.array(folder, len(texts), "bool")
    for rows in mapped.slices(len(texts)):
        here = original[rows]
        exact[rows] = (here != np.arange(rows.start, rows.stop)) & (first[here] < 0)
        first[rows] = np.where(exact[rows], here, first[rows])  # no original is a copy: what stands above stays true
    return Duplicates(order, repeats, first, exact, similarity, config.near_duplicate_threshold)


def _positions(order: npt.NDArray[np.int64], original: npt.NDArray[np.int64], folder: Path) -> npt.NDArray[np.int64]:
    """Returns int64[N]: the position of each document in the order, -1 for a copy."""
    positions = mapped.array(folder, len(order), "int64")
    for rows in mapped.slices(len(order)):
        positions[order[rows]] = np.arange(rows.start, rows.stop)
    for rows in mapped.slices(len(order)):
        positions[rows] = np.where(original[rows] == np.arange(rows.start, rows.stop), positions[rows], -1)
    return positions


def repeated(
    tables: Sequence[pa.Table], whole: pa.Table, order: npt.NDArray[np.int64], config: CollectConfig, folder: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the passages to cut, int64[M, 3] as `dedup.substrings` has them, and the texts of which nothing is left.

    Args:
        tables: all N documents, in parts.
        whole: the same in one.
        order: int64[K], those that are kept, the one that is rather to stay whole first.
        config: with `repeated_bytes` or `repeated_units`.
        folder: where what does not fit lies.
    """
    if config.repeated_bytes is None and config.repeated_units is None:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64)
    texts = whole.column("text")
    with progress.bar("find what is repeated", unit="MB of text, in several passes") as bar:
        shared: _Shared = {"num_threads": config.num_threads, "memory": _memory(config), "folder": folder}
        if config.repeated_bytes is not None:
            spans = dedup.substrings(
                texts, min_bytes=config.repeated_bytes, order=order, **shared, progress=_megabytes(bar)
            ).spans
        else:
            order = mapped.chosen(folder, order, _prose(tables, folder))
            unit = config.repeated_units or "line"
            spans = dedup.exact(texts, unit=unit, order=order, **shared, progress=_megabytes(bar)).spans
    emptied = np.array(list(_emptied(tables, spans)), dtype=np.int64)
    return (spans[~np.isin(spans[:, 0], emptied)] if len(emptied) else spans), emptied


def _prose(tables: Sequence[pa.Table], folder: Path) -> npt.NDArray[np.bool_]:
    """Returns bool[N]: whether each document is prose, rather than code."""
    prose, start = mapped.array(folder, sum(map(len, tables)), "bool"), 0
    for table in tables:
        prose[start : start + len(table)] = pc.not_equal(table.column("language"), NO_LANGUAGE).to_numpy()
        start += len(table)
    return prose


def _emptied(tables: Sequence[pa.Table], spans: npt.NDArray[np.int64]) -> Iterator[int]:
    """Yields the texts of which nothing is left but white space."""
    start = 0
    for table in tables:
        here = of(spans, start, len(table))
        gone = np.zeros(len(table), dtype=np.int64)
        np.add.at(gone, here[:, 0] - start, here[:, 2] - here[:, 1])
        texts = table.column("text")
        left = np.asarray(pc.binary_length(texts), dtype=np.int64) - gone
        for row in np.flatnonzero((gone > 0) & (left <= _BLANK_BYTES)).tolist():
            if not dedup.cut([texts[row].as_py()], of(here, start + row, 1) * np.array([0, 1, 1]))[0].strip():
                yield start + row
        start += len(table)


def cut(table: pa.Table, spans: npt.NDArray[np.int64], start: int) -> pa.Table:
    """Returns the table, whose rows stand from `start` on in the whole, without the passages."""
    here = of(spans, start, len(table))
    if not len(here):
        return table
    texts = dedup.cut(table.column("text"), here - np.array([start, 0, 0]))
    field = table.schema.get_field_index("text")
    return table.set_column(field, table.schema.field(field), pa.array(texts, type=table.schema.field(field).type))


def cuts(spans: npt.NDArray[np.int64], start: int, count: int) -> npt.NDArray[np.int64]:
    """Returns int64[count]: how many passages are cut from each of the rows that stand from `start` on in the whole."""
    return np.bincount(of(spans, start, count)[:, 0] - start, minlength=count)


def of(spans: npt.NDArray[np.int64], start: int, count: int) -> npt.NDArray[np.int64]:
    """Returns those of the passages, which are sorted, that are of `count` documents from `start` on."""
    first, last = np.searchsorted(spans[:, 0], (start, start + count))
    return spans[first:last]


def _memory(config: CollectConfig) -> int:
    return size_in_bytes(config.memory) // 4  # the rest is for the tables and what Python holds


def _megabytes(bar: progress.Bar) -> Callable[[int], None]:
    return lambda done: bar.update(done // 1_000_000)
