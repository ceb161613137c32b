"""Reads training rows from JSONL (plain, .gz or .zst), JSON and Parquet files.

A row that cannot be used is named by file, line and reason. `strict` stops there; otherwise it is left out and counted.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from gristlm.chat_formats import FORMATS, Example, detect, parse
from gristlm.errors import FormatError, InputError, MissingArtifactError, StorageError, missing_extra


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A row that was left out: where it stands and why."""

    where: str
    why: str

    @property
    def kind(self) -> str:
        """What was wrong, without the particulars of the row."""
        return self.why.partition(":")[0]


@dataclasses.dataclass(frozen=True)
class Rows:
    """What a file holds: its examples in order, the format they are in, and the rows that were left out."""

    examples: list[Example]
    format: str
    skipped: list[Skipped]


def read(path: Path | str, *, format: str | None = None, strict: bool = True) -> Rows:
    """Returns the examples of a file.

    Args:
        path: `.jsonl`, `.json` (an array, or one object per line) or `.parquet`; `.gz` and `.zst` may follow the
            first two.
        format: one of `chat_formats.FORMATS`; None takes that of the first row; all are in one.
        strict: raise at the first row that cannot be used; otherwise leave it out.

    Raises:
        InputError: a row cannot be used (`strict`); the file holds none that can; the format is unknown.
        FormatError: the file is not what its name says.
        MissingArtifactError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingArtifactError(f"{path} does not exist")
    if format is not None and format not in FORMATS:
        raise InputError(f"format {format!r} is unknown; allowed are {', '.join(FORMATS)}")
    examples: list[Example] = []
    skipped: list[Skipped] = []
    found = format
    for where, row in _rows(path):
        try:
            if isinstance(row, InputError):
                raise row
            name = detect(row) if isinstance(row, dict) and format is None else format
            if found is not None and name is not None and name != found:
                raise InputError(
                    f"{where}: the row is in the format {name!r}, the ones before it in {found!r}; one file "
                    "holds one format"
                )
            example = parse(row, where, name)
            found = found or name
            examples.append(example)
        except InputError as error:
            if strict:
                raise
            skipped.append(Skipped(where, str(error).removeprefix(f"{where}: ")))
    if not examples:
        raise InputError(
            f"{path} holds no row to learn "
            f"from{f' ({len(skipped)} rows left out: {reasons(skipped)})' if skipped else ': it is empty'}"
        )
    return Rows(examples, str(found), skipped)


def reasons(skipped: list[Skipped], most: int = 3) -> str:
    """Returns the `most` usual reasons, each with its count and one place."""
    counts = Counter(entry.kind for entry in skipped)
    first = {entry.kind: entry for entry in reversed(skipped)}
    return "; ".join(
        f"{count} x {first[kind].why} (first: {first[kind].where})" for kind, count in counts.most_common(most)
    )


def _rows(path: Path) -> Iterator[tuple[str, object]]:
    """Yields (where, row); a row that is not JSON is the error that says so."""
    kind = path.with_suffix("").suffix if path.suffix in (".gz", ".zst") else path.suffix
    if kind not in (".jsonl", ".json", ".ndjson", ".parquet"):
        raise FormatError(
            f"{path} must be a .jsonl, .json or .parquet file (the first two may be .gz or .zst); convert it "
            "or rename it"
        )
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
            return
        with _opened(path) as file:
            if kind == ".json" and _first_character(file) == b"[":
                yield from _array(path, file)
            else:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield f"{path.name}:{number}", _json(line, f"{path.name}:{number}")
    except OSError as error:
        raise StorageError(error.errno or 0, f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        from gristlm.collect.files.refusal import Refusal

        if not isinstance(error, Refusal):
            raise
        raise FormatError(f"{path} cannot be unpacked ({path.suffix}): {error.reason}: {error.detail}") from error


def _opened(path: Path) -> io.BufferedReader:
    file = path.open("rb")
    if path.suffix not in (".gz", ".zst"):
        return file
    from gristlm.collect.files.unpack import unpacked  # here: most files are not packed, and need none of that room

    try:
        return cast("io.BufferedReader", unpacked(file, path.name))
    except ImportError:
        file.close()
        raise missing_extra("pyarrow", "data") from None


def _first_character(file: io.BufferedReader) -> bytes:
    return file.peek(4096).lstrip()[:1]


def _json(text: bytes, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return InputError(f"{where}: not JSON: {error}")


def _array(path: Path, file: io.BufferedReader) -> Iterator[tuple[str, object]]:
    rows = _json(file.read(), path.name)
    if isinstance(rows, InputError):
        raise FormatError(str(rows)) from rows
    for number, row in enumerate(cast("list[object]", rows), start=1):
        yield f"{path.name}: row {number}", row


def _parquet(path: Path) -> Iterator[tuple[str, object]]:
    try:
        import pyarrow
        import pyarrow.parquet

        from gristlm.collect.files.parquet import batches
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    try:
        number = 0
        with path.open("rb") as opened, pyarrow.parquet.ParquetFile(opened) as file:
            for group in range(file.num_row_groups):
                for batch in batches(file, opened, group):
                    for row in batch.to_pylist():
                        number += 1
                        yield f"{path.name}: row {number}", row
    except pyarrow.ArrowException as error:
        raise FormatError(f"{path} is not a Parquet file that can be read: {error}") from error
