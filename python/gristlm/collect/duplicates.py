"""Duplicates over all documents: copies, near copies, and passages that stood before.

Which document stays does not depend on how the corpus was put together: the one whose id is least, and of equal ids the
one whose text is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristlm import dedup
from gristlm.collect.config import CollectConfig, size_in_bytes
from gristlm.collect.document import NO_LANGUAGE
from gristlm.runs import progress


class _Shared(TypedDict):
    num_threads: int | None
    memory: int
    progress: Callable[[int], None]


_BLANK_BYTES = 1000  # what is left of a text, at most, if it is looked at whether that is white space


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """What each of N documents repeats."""

    order: npt.NDArray[np.int64]
    """int64[N]: the documents, the one that is rather to stay first."""
    first: npt.NDArray[np.int64]
    """int64[N]: the document that each one repeats, -1 for one that is kept."""
    exact: npt.NDArray[np.bool_]
    """bool[N]: whether it is an exact copy."""
    similarity: npt.NDArray[np.float32]
    """float32[N]: how alike a near one is."""
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
    order = _order(whole)
    memory = _memory(config)
    with progress.bar("find exact copies", unit="MB of text") as bar:
        cluster = dedup.exact(
            texts, num_threads=config.num_threads, memory=memory, folder=folder, progress=_megabytes(bar)
        ).cluster
    positions = np.empty(len(texts), dtype=np.int64)
    positions[order] = np.arange(len(texts))
    least = np.full(len(texts), len(texts), dtype=np.int64)
    np.minimum.at(least, cluster, positions)
    original = order[least[cluster]]
    copy = original != np.arange(len(texts))
    first = np.full(len(texts), -1, dtype=np.int64)
    similarity = np.zeros(len(texts), dtype=np.float32)
    if config.near_duplicate_threshold is not None:
        if sign is not None:
            sign(np.where(copy, -1, positions))
        with progress.bar("find near copies", unit="MB of text, in three passes") as bar:
            near = dedup.minhash(
                texts,
                threshold=config.near_duplicate_threshold,
                order=order,
                num_threads=config.num_threads,
                memory=memory,
                folder=folder,
                progress=_megabytes(bar),
            )
        first[~near.keep] = near.twin[~near.keep]
        similarity = near.similarity
    # A copy whose original is itself no more than near to a document that is kept goes with that document as its twin.
    exact = copy & (first[original] < 0)
    first[exact] = original[exact]
    return Duplicates(order, first, exact, similarity, config.near_duplicate_threshold)


def _order(whole: pa.Table) -> npt.NDArray[np.int64]:
    """Returns int64[N]: the documents in the order of their ids; of equal ids, in that of their texts."""
    ids, texts = whole.column("id").combine_chunks(), whole.column("text")
    order: npt.NDArray[np.int64] = pc.array_sort_indices(ids).to_numpy().astype(np.int64)
    sorted_ids = ids.take(pa.array(order))
    same = pc.equal(sorted_ids[1:], sorted_ids[:-1]).to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.concatenate(([True], ~same)))
    for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True) if same.any() else ():
        if end - start > 1:
            order[start:end] = sorted(order[start:end], key=lambda row: texts[int(row)].as_py())
    return order


def repeated(
    whole: pa.Table, order: npt.NDArray[np.int64], config: CollectConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the passages to cut, int64[M, 3] as `dedup.substrings` has them, and the texts of which nothing is left.

    Args:
        whole: all N documents.
        order: int64[K], those that are kept, the one that is rather to stay whole first.
        config: with `repeated_bytes` or `repeated_units`.
    """
    if config.repeated_bytes is None and config.repeated_units is None:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.int64)
    texts = whole.column("text")
    with progress.bar("find what is repeated", unit="MB of text, in several passes") as bar:
        shared: _Shared = {
            "num_threads": config.num_threads,
            "memory": _memory(config),
            "progress": _megabytes(bar),
        }
        if config.repeated_bytes is not None:
            spans = dedup.substrings(texts, min_bytes=config.repeated_bytes, order=order, **shared).spans
        else:
            prose = pc.not_equal(whole.column("language"), NO_LANGUAGE).to_numpy()
            unit = config.repeated_units or "line"
            spans = dedup.exact(texts, unit=unit, order=order[prose[order]], **shared).spans
    gone = np.zeros(len(texts), dtype=np.int64)
    np.add.at(gone, spans[:, 0], spans[:, 2] - spans[:, 1])
    left = np.asarray(pc.binary_length(texts), dtype=np.int64) - gone
    candidates = np.flatnonzero((gone > 0) & (left <= _BLANK_BYTES))
    empty = [row for row in candidates.tolist() if not _cut(texts[row].as_py(), spans, row).strip()]
    emptied = np.array(empty, dtype=np.int64)
    return spans[~np.isin(spans[:, 0], emptied)], emptied


def cut(table: pa.Table, spans: npt.NDArray[np.int64], start: int) -> pa.Table:
    """Returns the table, whose rows stand from `start` on in the whole, without the passages."""
    here = spans[np.searchsorted(spans[:, 0], start) : np.searchsorted(spans[:, 0], start + len(table))]
    if not len(here):
        return table
    texts = dedup.cut(table.column("text"), here - np.array([start, 0, 0]))
    field = table.schema.get_field_index("text")
    return table.set_column(field, table.schema.field(field), pa.array(texts, type=table.schema.field(field).type))


def _cut(text: str, spans: npt.NDArray[np.int64], row: int) -> str:
    own = spans[np.searchsorted(spans[:, 0], row) : np.searchsorted(spans[:, 0], row + 1)]
    return dedup.cut([text], own * np.array([0, 1, 1]))[0]


def _memory(config: CollectConfig) -> int:
    return size_in_bytes(config.memory) // 4  # the rest is for the tables and what Python holds


def _megabytes(bar: progress.Bar) -> Callable[[int], None]:
    return lambda done: bar.update(done // 1_000_000)
