"""The second pass: duplicates over all parts, the split, and the Parquet shards."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristlm.collect import dropped, duplicates, mapped, mixture, split
from gristlm.collect.batch import SCHEMA
from gristlm.collect.card import Card
from gristlm.collect.cluster import Workers
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import Drop
from gristlm.collect.duplicates import Duplicates
from gristlm.collect.report import Tally
from gristlm.collect.shards import Shards
from gristlm.collect.signing import sign_on_ray

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
    near duplicates are signed and grouped on their cluster. The parts are mapped into memory, not read, and so are all
    arrays with an element for each document: both stay on disk until they are looked at.
    """
    for stale in output_dir.glob(f"{dropped.NAME}-*"):
        stale.unlink()
    ending = "parquet" if config.keep_dropped else dropped.REASONS
    with Shards(output_dir, dropped.NAME, config, dropped.SCHEMA, ending) as drops:
        for part in parts:
            with mapped.tables([part.with_suffix(dropped.SUFFIX)]) as [table]:
                drops.add(table)
        with mapped.tables(parts) as tables:
            whole = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
            folder = output_dir / FINGERPRINTS
            folder.mkdir(exist_ok=True)
            sign = None
            if workers is not None:
                lengths = dict(zip(parts, map(len, tables), strict=True))
                sign = functools.partial(sign_on_ray, lengths, folder=folder, workers=workers)
            found = duplicates.find(whole, config, folder, sign)
            choice = _choose(tables, whole, found, config, folder)
            _write(tables, choice, config, tally, output_dir, drops, card)
    shutil.rmtree(output_dir / FINGERPRINTS, ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class _Choice:
    """What becomes of N documents, in mapped arrays."""

    found: Duplicates
    taken: npt.NDArray[np.bool_]  # [N]: whether an earlier document has the id
    held: npt.NDArray[np.bool_]  # [N]: whether it is held out
    times: npt.NDArray[np.int32]  # [N]: how often it is written
    emptied: npt.NDArray[np.bool_]  # [N]: whether nothing but repeated passages was in it
    spans: npt.NDArray[np.int64]  # [M, 3]: the passages to cut
    ids: pa.ChunkedArray  # [N]
    texts: pa.ChunkedArray  # [N]
    cutting: str  # the setting by which passages are cut

    def name(self, row: int) -> str:
        return str(self.ids[int(row)])


def _choose(
    tables: Sequence[pa.Table], whole: pa.Table, found: Duplicates, config: CollectConfig, folder: Path
) -> _Choice:
    count = len(whole)
    keep = mapped.array(folder, count, "bool")
    for rows in mapped.slices(count):
        keep[rows] = found.first[rows] < 0
    taken = _taken(found, keep, folder)
    for rows in mapped.slices(count):
        keep[rows] &= ~taken[rows]
    spans, blank = duplicates.repeated(tables, whole, mapped.chosen(folder, found.order, keep), config, folder)
    emptied = mapped.array(folder, count, "bool")
    emptied[blank], keep[blank] = True, False
    held = mapped.array(folder, count, "bool")
    starts = np.cumsum([0, *map(len, tables)])
    for number, places in split.heldout(_Kept(tables, keep, starts), config.heldout_fraction):
        here = slice(starts[number], starts[number + 1])
        held[here][keep[here]] = places
    times = mapped.array(folder, count, "int32")
    for rows in mapped.slices(count):
        times[rows] = keep[rows]
    if config.mixture is not None:
        sizes, meter = mapped.array(folder, count, "int64"), mixture.meter(config.mixture, config.num_threads)
        for table, start in zip(tables, starts[:-1].tolist(), strict=True):
            here = slice(start, start + len(table))
            sizes[here] = meter(table.column("text"))
            if config.mixture.by == "bytes":
                cut = duplicates.of(spans, start, len(table))
                np.subtract.at(sizes, cut[:, 0], cut[:, 2] - cut[:, 1])
            sizes[here] *= keep[here] & ~held[here]
        hashes = mapped.array(folder, count, "float64")
        mixture.copies(_Named(tables), sizes, config.mixture, config.seed, times, hashes)
    cutting = "repeated_bytes" if config.repeated_units is None else "repeated_units"
    return _Choice(found, taken, held, times, emptied, spans, whole.column("id"), whole.column("text"), cutting)


def _write(
    tables: Sequence[pa.Table],
    choice: _Choice,
    config: CollectConfig,
    tally: Tally,
    output_dir: Path,
    drops: Shards,
    card: Card | None,
) -> None:
    for stale in [path for name in SPLITS for path in output_dir.glob(f"{name}-*.parquet")]:
        stale.unlink()
    ledger = tally.ledger = dropped.Ledger(config.keep_dropped)
    start = 0
    with (
        Shards(output_dir, SPLITS[0], config, SCHEMA, "parquet") as train,
        Shards(output_dir, SPLITS[1], config, SCHEMA, "parquet") as heldout,
    ):
        for uncut in tables:
            here = slice(start, start + len(uncut))
            table = duplicates.cut(uncut, choice.spans, start)
            for shards, held in ((train, False), (heldout, True)):
                written = mixture.repeated(table, choice.times[here] * (choice.held[here] == held))
                shards.add(written)
                if card is not None:
                    card.add(written, heldout=held)
            _count(table, start, choice, tally)
            drops.add(ledger.table())
            start += len(table)


def _taken(found: Duplicates, keep: npt.NDArray[np.bool_], folder: Path) -> npt.NDArray[np.bool_]:
    """Returns bool[N]: whether a document that would be kept has the id of one before it that is.

    Two artifacts that are merged may have documents of one id.
    """
    taken = mapped.array(folder, len(keep), "bool")
    # Documents of one id are a group: the number of the last that was looked at, and of the last with a kept document.
    group, last = 0, -1
    for rows in mapped.slices(len(keep)):
        documents = found.order[rows]
        groups = group + np.cumsum(~found.repeats[rows])
        kept = keep[documents]
        of = groups[kept]
        taken[documents[kept]] = of == np.concatenate(([last], of[:-1]))[: len(of)]
        group, last = int(groups[-1]), int(of[-1]) if len(of) else last
    return taken


class _Kept(Sequence[list[str]]):
    """The ids of the documents of each part that are kept."""

    def __init__(self, tables: Sequence[pa.Table], keep: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64]) -> None:
        self._tables, self._keep, self._starts = tables, keep, starts

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, number: int) -> list[str]:  # type: ignore[override]  # no slices
        keep = self._keep[self._starts[number] : self._starts[number + 1]]
        ids: list[str] = self._tables[number].column("id").filter(pa.array(keep)).to_pylist()
        return ids


class _Named(Sequence[tuple[list[str], list[str]]]):
    """The ids and the sources of the documents of each part."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self._tables = tables

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, number: int) -> tuple[list[str], list[str]]:  # type: ignore[override]  # no slices
        table = self._tables[number]
        return table.column("id").to_pylist(), table.column("source").to_pylist()


def _count(table: pa.Table, start: int, choice: _Choice, tally: Tally) -> None:
    found = choice.found
    texts, times = table.column("text"), choice.times[start : start + len(table)]
    cuts = duplicates.cuts(choice.spans, start, len(table))
    sizes, sources = pc.binary_length(texts), table.column("source").to_pylist()
    gone = np.flatnonzero(times == 0)
    dropped = table.select(["uri"]).append_column("bytes", sizes).take(pa.array(gone))
    for row, uri, size in zip(gone.tolist(), *(column.to_pylist() for column in dropped.columns), strict=True):
        index, first = start + row, found.first[start + row]
        reason, detail = _reason(index, choice)
        drop = Drop(sources[row], uri, reason, detail, size, fault=False, id=choice.name(index))
        if first >= 0:
            alike = _alike(found, index)
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
    for row in np.flatnonzero((times > 0) & (cuts > 0)).tolist():
        tally.count(sources[row], "changed", "", sizes[row].as_py())
        tally.count(sources[row], "changes", choice.cutting, 0, int(cuts[row]))
    for row in np.flatnonzero(times > 1).tolist():
        again = int(times[row]) - 1
        tally.count(sources[row], "repeated", "", again * sizes[row].as_py(), again)


def _alike(found: Duplicates, index: int) -> float | None:
    """Returns how alike a document is to the one that it repeats; None for an exact copy."""
    return None if found.exact[index] or found.similarity is None else float(found.similarity[index])


def _reason(index: int, choice: _Choice) -> tuple[str, str]:
    """Returns why a document is not written, and more about it."""
    first, alike = choice.found.first[index], _alike(choice.found, index)
    if first >= 0 and alike is None:
        return "exact duplicate", f"of {choice.name(first)}"
    if first >= 0:
        return "near duplicate", f"of {choice.name(first)}, similarity {alike:.2f}"
    if choice.emptied[index]:
        return "repeated passages", "all of it stands in documents that are kept"
    if choice.taken[index]:
        return "id already taken", choice.name(index)
    return mixture.REASON, ""
