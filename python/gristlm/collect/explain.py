"""Why a document went, or where it is: `gristlm collect explain ID`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristlm.collect import dropped
from gristlm.collect.select import SPLITS
from gristlm.errors import InputError, MissingArtifactError
from gristlm.runs import artifact

MAX_FOUND = 100
_COLUMNS = ["id", "uri"]


@dataclasses.dataclass(frozen=True)
class Fate:
    """What became of one document."""

    id: str
    """Its id; of what never became a document, its address."""
    kept: bool
    where: str
    """The file and row where it is, or where its drop is written down."""
    source: str
    reason: str = ""
    """Of a drop: the short phrase that report.json counts."""
    detail: str = ""
    value: float | None = None
    """What the rule measured, where it measured."""
    threshold: str = ""
    limit: float | None = None
    twin: str = ""
    """Of a duplicate: the id of the document that is kept in its place."""
    similarity: float | None = None
    text: str | None = None
    """Where the texts of drops were kept."""

    def __str__(self) -> str:
        """Returns it as a person reads it."""
        if self.kept:
            return f"{self.id}: kept, {self.where} (source {self.source})"
        lines = [f"{self.id}: dropped, {self.reason} (source {self.source}; {self.where})"]
        if self.detail:
            lines.append(f"  {self.detail}")
        if self.twin:
            alike = "" if self.similarity is None else f", similarity {self.similarity:.3f}"
            lines.append(f"  in its place stands {self.twin}{alike}")
        if self.text is not None:
            lines.append(f"  text: {' '.join(self.text[:300].split())}{' …' if len(self.text) > 300 else ''}")
        return "\n".join(lines)


def explain(path: Path, document: str) -> list[Fate]:
    """Returns what became of a document; of a file that was cut in pieces, of each piece.

    Args:
        path: a finished artifact of documents.
        document: an id or an address; the file alone, of a row or piece; or the end of either, from a `/` on.

    Raises:
        MissingArtifactError: there is no finished artifact of documents at `path`.
        InputError: nothing of this name was found by that run.
    """
    artifact.load(path, kind="documents")
    found = [*_kept(path, document), *_dropped(path, document)]
    if not found:
        raise InputError(
            f"{path} has no document, kept or dropped, of the id or address {document!r}; an id of it looks like "
            f"{_example(path)!r}"
        )
    return found


def find(start: Path) -> Path:
    """Returns the artifact that is meant where none is named: `start`, its `documents`, or the newest run's.

    Raises:
        MissingArtifactError: there is none.
    """
    near = [start, start / "documents"]
    runs = sorted(start.glob("runs/*/documents"), key=lambda path: -path.stat().st_mtime)
    for path in (*near, *runs):
        if artifact.is_complete(path) and artifact.load(path).kind == "documents":
            return path
    raise MissingArtifactError(f"there are no documents in {start}; name their folder with --documents DIR")


def _kept(path: Path, document: str) -> Iterator[Fate]:
    for split in SPLITS:
        for file, row, values in _rows(path, split, document, ["source"]):
            yield Fate(str(values["id"]), True, f"{file} row {row}", str(values["source"]))


def _dropped(path: Path, document: str) -> Iterator[Fate]:
    columns = [name for name in dropped.SCHEMA.names if name not in _COLUMNS]
    for file, row, values in _rows(path, dropped.NAME, document, columns):
        rest = {
            name: value for name, value in values.items() if name not in ("id", "uri", "bytes") and value is not None
        }
        yield Fate(id=str(values["id"] or values["uri"]), kept=False, where=f"{file} row {row}", **rest)  # type: ignore[arg-type]


def _rows(path: Path, name: str, document: str, columns: list[str]) -> Iterator[tuple[str, int, dict[str, object]]]:
    """Yields file, row and values of what `document` names; the other columns are read only where it is found."""
    count = 0
    for file in sorted(path.glob(f"{name}-*")):
        with pq.ParquetFile(file) as parquet:
            start = 0
            for group in range(parquet.num_row_groups):
                names = parquet.read_row_group(group, columns=_COLUMNS)
                chosen = pc.indices_nonzero(_matches(names, document))
                if len(chosen) and count < MAX_FOUND:
                    table = parquet.read_row_group(group, columns=[*_COLUMNS, *columns]).take(chosen)
                    for row, values in zip(chosen.to_pylist(), table.to_pylist(), strict=True):
                        yield file.name, start + row, values
                    count += len(chosen)
                start += len(names)


def _matches(names: pa.Table, document: str) -> pa.Array:
    """Returns bool: whether id or address is `document`, or ends in it after a `/`; a place in it may follow."""
    pattern = f"(?:^|/){re.escape(document)}(?:$|[#:!])"
    found = [pc.fill_null(pc.match_substring_regex(names[name], pattern), False) for name in _COLUMNS]
    return pc.or_(*found)


def _example(path: Path) -> str:
    for split in SPLITS:
        for file in sorted(path.glob(f"{split}-*.parquet")):
            with pq.ParquetFile(file) as parquet:
                if parquet.metadata.num_rows:
                    return str(parquet.read_row_group(0, columns=["id"])["id"][0])
    return ""
