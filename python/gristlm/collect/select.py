"""The second pass: duplicates over all parts, the split, and the Parquet shards."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristlm.collect import dropped, duplicates, mapped, mixture, split
from gristlm.collect.batch import SCHEMA
from gristlm.collect.card import Card
from gristlm.collect.cluster import Workers
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import Drop
from gristlm.collect.duplicates import Duplicates
from gristlm.collect.report import Tally
from gristlm.collect.signing import sign_on_ray
from gristlm.runs.files import atomic_path

SPLITS = ("train", "heldout")
FINGERPRINTS = (
    "fingerprints"  # what deduplication lays on disk, in the output while it works; a killed run goes on from it
)


def select(
    parts: Sequence[Path],
    config: CollectConfig,
    tally: Tally,
    output_dir: Path,
    card: Card | None = None,
    workers: Workers | None = None,
) -> None:
    """Drops duplicates, splits what is left, writes `train-NNNNN.parquet` and `heldout-NNNNN.parquet`, and counts.

    What becomes of the documents is counted in `tally`, what is written in `card`, where one is given. With `workers`
    near duplicates are signed and grouped on their cluster. The parts are mapped into memory, not read: the text stays
    on disk until it is looked at.
    """
    for stale in output_dir.glob(f"{dropped.NAME}-*"):
        stale.unlink()
    ending = "parquet" if config.keep_dropped else dropped.REASONS
    drops = _Shards(output_dir, dropped.NAME, config, dropped.SCHEMA, ending)
    for part in parts:
        with mapped.tables([part.with_suffix(dropped.SUFFIX)]) as [table]:
            drops.add(table)
    with mapped.tables(parts) as tables:
        whole = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
        folder = output_dir / FINGERPRINTS
        sign = None if workers is None else functools.partial(sign_on_ray, parts, folder=folder, workers=workers)
        found = duplicates.find(whole, config, folder, sign)
        _select(tables, whole, found, config, tally, output_dir, drops, card)
    drops.close()


def _select(
    tables: Sequence[pa.Table],
    whole: pa.Table,
    found: Duplicates,
    config: CollectConfig,
    tally: Tally,
    output_dir: Path,
    drops: _Shards,
    card: Card | None,
) -> None:
    keep = found.first < 0
    ids = whole.column("id")
    taken = _taken(ids, found.order[keep[found.order]])
    keep &= ~taken
    spans, emptied = duplicates.repeated(whole, found.order[keep[found.order]], config)
    keep[emptied] = False
    held = np.zeros(len(ids), dtype=np.bool_)
    held[keep] = split.heldout(_Strings(ids.filter(pa.array(keep))), config.heldout_fraction)
    times = keep.astype(np.int64)
    if config.mixture is not None:
        train = np.flatnonzero(keep & ~held)
        named, sources = (whole.column(name).take(pa.array(train)).to_pylist() for name in ("id", "source"))
        sizes = mixture.measures(tables, config.mixture, config.num_threads)
        if config.mixture.by == "bytes":
            np.subtract.at(sizes, spans[:, 0], spans[:, 2] - spans[:, 1])
        times[train] = mixture.copies(named, sources, sizes[train], config.mixture, config.seed)
    for stale in [path for name in SPLITS for path in output_dir.glob(f"{name}-*.parquet")]:
        stale.unlink()
    shards = [_Shards(output_dir, name, config, SCHEMA, "parquet") for name in SPLITS]
    ledger = tally.ledger = dropped.Ledger(config.keep_dropped)
    cutting = "repeated_bytes" if config.repeated_units is None else "repeated_units"
    choice = _Choice(ids, taken, held, times, np.isin(np.arange(len(ids)), emptied), whole.column("text"), cutting)
    cuts = np.bincount(spans[:, 0], minlength=len(ids))
    start = 0
    for uncut in tables:
        here = slice(start, start + len(uncut))
        table = duplicates.cut(uncut, spans, start)
        for shard, heldout in zip(shards, (False, True), strict=True):
            written = mixture.repeated(table, (times * (held == heldout))[here])
            shard.add(written)
            if card is not None:
                card.add(written, heldout=heldout)
        _count(table, start, found, choice, cuts, tally)
        drops.add(ledger.table())
        start += len(table)
    for shard in shards:
        shard.close()
    shutil.rmtree(output_dir / FINGERPRINTS, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class _Choice:
    ids: pa.ChunkedArray  # [N]
    taken: npt.NDArray[np.bool_]  # [N]: whether an earlier document has the id
    held: npt.NDArray[np.bool_]  # [N]: whether it is held out
    times: npt.NDArray[np.int64]  # [N]: how often it is written
    emptied: npt.NDArray[np.bool_]  # [N]: whether nothing but repeated passages was in it
    texts: pa.ChunkedArray  # [N]
    cutting: str  # the setting by which passages are cut

    def name(self, row: int) -> str:
        return str(self.ids[int(row)])


def _taken(ids: pa.ChunkedArray, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Returns bool[N]: whether a document has the id of one before it in `order`, which goes by the ids.

    Two artifacts that are merged may have documents of one id.
    """
    found = np.zeros(len(ids), dtype=np.bool_)
    placed = ids.take(pa.array(order)).combine_chunks()
    found[order[1:]] = pc.equal(placed[1:], placed[:-1]).to_numpy(zero_copy_only=False)
    return found


class _Strings(Sequence[str]):
    """A column of strings as a sequence, of which no more than a chunk's are Python's at a time."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: int) -> str:  # type: ignore[override]  # no slices
        return str(self._column[int(row)])

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.chunks:
            for start in range(0, len(chunk), 4096):
                yield from chunk.slice(start, 4096).to_pylist()


def _count(
    table: pa.Table, start: int, found: Duplicates, choice: _Choice, cuts: npt.NDArray[np.int64], tally: Tally
) -> None:
    texts, times = table.column("text"), choice.times[start : start + len(table)]
    sizes, sources = pc.binary_length(texts), table.column("source").to_pylist()
    gone = np.flatnonzero(times == 0)
    dropped = table.select(["uri"]).append_column("bytes", sizes).take(pa.array(gone))
    for row, uri, size in zip(gone.tolist(), *(column.to_pylist() for column in dropped.columns), strict=True):
        index, first = start + row, found.first[start + row]
        reason, detail = _reason(index, found, choice)
        drop = Drop(sources[row], uri, reason, detail, size, fault=False, id=choice.name(index))
        if first >= 0:
            alike = None if found.exact[index] else float(found.similarity[index])
            limit = None if alike is None else found.threshold
            named = "near_duplicate_threshold" if alike is not None else ""
            drop = dataclasses.replace(
                drop, twin=choice.name(first), similarity=alike, value=alike, limit=limit, threshold=named
            )
        shown = choice.texts[first].as_py() if first >= 0 and tally.wants_example(reason) else ""
        tally.drop_found(drop, texts[row].as_py(), shown)
    split = pa.array(SPLITS).take(pa.array(choice.held[start : start + len(table)].astype(np.int8)))
    columns = table.select(["source", "licence", "language"]).append_column("split", split)
    written = columns.append_column("bytes", sizes).filter(pa.array(times > 0))
    for what in ("kept", "licence", "language", "split"):
        grouped = written.group_by(["source"] if what == "kept" else ["source", what], use_threads=False)
        for row in grouped.aggregate([("bytes", "sum"), ("bytes", "count")]).to_pylist():
            tally.count(row["source"], what, row.get(what, ""), row["bytes_sum"], row["bytes_count"])
    for row in np.flatnonzero((times > 0) & (cuts[start : start + len(table)] > 0)).tolist():
        tally.count(sources[row], "changed", "", sizes[row].as_py())
        tally.count(sources[row], "changes", choice.cutting, 0, int(cuts[start + row]))
    for row in np.flatnonzero(times > 1).tolist():
        again = int(times[row]) - 1
        tally.count(sources[row], "repeated", "", again * sizes[row].as_py(), again)


def _reason(index: int, found: Duplicates, choice: _Choice) -> tuple[str, str]:
    """Returns why a document is not written, and more about it."""
    first = found.first[index]
    if first >= 0 and found.exact[index]:
        return "exact duplicate", f"of {choice.name(first)}"
    if first >= 0:
        return "near duplicate", f"of {choice.name(first)}, similarity {found.similarity[index]:.2f}"
    if choice.emptied[index]:
        return "repeated passages", "all of it stands in documents that are kept"
    if choice.taken[index]:
        return "id already taken", choice.name(index)
    return mixture.REASON, ""


class _Shards:
    """Parquet files of one kind, each of at most so many rows and bytes; there is always a first, if without rows."""

    def __init__(self, output_dir: Path, name: str, config: CollectConfig, schema: pa.Schema, ending: str) -> None:
        self._output_dir, self._name, self._config = output_dir, name, config
        self._schema, self._ending = schema, ending
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = self._number = 0

    def add(self, table: pa.Table) -> None:
        """Adds documents; whole shards are written."""
        start = 0
        for row, size in enumerate(pc.fill_null(pc.binary_length(table.column("text")), 0).to_pylist()):
            if self._rows and (self._rows >= self._config.shard_rows or self._bytes + size > self._config.shard_bytes):
                self._waiting.append(table.slice(start, row - start))
                self._write()
                start = row
            self._rows += 1
            self._bytes += size
        self._waiting.append(table.slice(start))

    def close(self) -> None:
        """Writes the last shard."""
        if self._rows or not self._number:
            self._write()

    def _write(self) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks() if self._waiting else self._schema.empty_table()
        with atomic_path(self._output_dir / f"{self._name}-{self._number:05d}.{self._ending}") as path:
            pq.write_table(table, path, compression="zstd", row_group_size=1000)
        self._waiting, self._rows, self._bytes = [], 0, 0
        self._number += 1
