"""Rows of a file that a person gave, of questions or conversations: JSON Lines, a JSON list, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from gristlm.errors import FormatError

Row = Mapping[str, object]
_MAX_BYTES = 1 << 30


def read_rows(path: Path) -> list[tuple[str, Row]]:
    """Returns the rows of a file, each with where it stands (`file:line`, or `file, row n`).

    Args:
        path: `.parquet`, `.csv` with a header, `.json` with a list of objects, anything else JSON Lines.

    Raises:
        FormatError: the file is not there, larger than 1 GiB, not what its name says, has no rows, or a row is no
            object; names file and row.
    """
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    if path.stat().st_size > _MAX_BYTES:
        raise FormatError(f"{path} has {path.stat().st_size:,} bytes; at most {_MAX_BYTES:,} are read")
    if path.suffix == ".parquet":
        return _parquet(path)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: {error}") from None
    found: list[tuple[str, object]]
    if path.suffix == ".csv":
        try:
            found = [(f"{path}, row {n}", row) for n, row in enumerate(csv.DictReader(io.StringIO(content)), 1)]
        except csv.Error as error:
            raise FormatError(f"{path} is not CSV: {error}") from None
    elif path.suffix == ".json":
        whole = _json(content, str(path))
        if not isinstance(whole, list):
            raise FormatError(f"{path} must be a list of objects; it is {type(whole).__name__}")
        found = [(f"{path}, row {n}", row) for n, row in enumerate(whole, 1)]
    else:
        lines = [(f"{path}:{n}", line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
        found = [(where, _json(line, where)) for where, line in lines]
    if not found:
        raise FormatError(f"{path} has no rows")
    rows: list[tuple[str, Row]] = []
    for where, row in found:
        if not isinstance(row, dict):
            raise FormatError(f"{where}: an object is needed; given {row!r:.80}")
        rows.append((where, row))
    return rows


def _json(content: str, where: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: not JSON: {error}") from None


def _parquet(path: Path) -> list[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is not Parquet: {error}") from None
    if not rows:
        raise FormatError(f"{path} has no rows")
    return [(f"{path}, row {n}", row) for n, row in enumerate(rows, 1)]
