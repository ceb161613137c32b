"""Files of many documents: JSON Lines and Parquet, with a column or key for the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from gristlm.collect.document import Document, Drop
from gristlm.collect.files import chats
from gristlm.collect.files.parquet import batches
from gristlm.collect.files.reading import File, licence_of, open_binary, seekable
from gristlm.collect.files.refusal import Refusal

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_MAX_TITLE = 100
_BUFFER = 1 << 20
BAD_ROW = "bad row"


def read_jsonl(file: File) -> Iterator[Document | Drop]:
    """Yields a document per line; a line that has none is a drop that names file and line."""
    limit = (
        file.limits.max_document_bytes * 2 + 65_536
    )  # JSON escapes lengthen a text; the text itself is checked below
    with open_binary(file) as opened:
        number = 0
        while line := opened.readline(limit):
            number += 1
            if len(line) >= limit and not line.endswith(b"\n"):
                size = len(line)
                while line and not line.endswith(b"\n"):
                    line = opened.readline(1 << 20)
                    size += len(line)
                yield file.drop(
                    f"row={number}", "too large", f"{file.where}:{number}: a line of {size:,} bytes", size=size
                )
            elif line.strip():
                yield _from_json(file, number, line)
        if not number:
            raise Refusal("empty", fault=False)


def read_parquet(file: File) -> Iterator[Document | Drop]:
    """Yields a document per row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with seekable(file) as opened:
        try:
            plain = file.path is not None and file.name.lower().endswith(".parquet")
            parquet = pq.ParquetFile(file.path if plain else opened, buffer_size=_BUFFER, pre_buffer=False)
        except (pa.ArrowException, ValueError) as error:
            raise Refusal("damaged file", str(error)) from error
        names = parquet.schema_arrow.names
        column = file.limits.text_column
        if not file.limits.chats and (column not in names or not _is_string(parquet.schema_arrow.field(column).type)):
            raise Refusal(
                "no text column",
                f"{file.where} has no string column {column!r} (text_column); it has {', '.join(names)}",
            )
        wanted = [column] + [
            name for group in file.limits.names.values() for name in group if name in names and name != column
        ]
        number = 0
        try:
            columns = None if file.limits.chats else wanted
            for batch in batches(parquet, columns):
                for row in batch.to_pylist():
                    number += 1
                    yield from_row(file, number, row)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            yield file.drop(f"row={number + 1}", "damaged file", f"{file.where}: after row {number}: {error}")
        if not number:
            raise Refusal("empty", fault=False)


def _is_string(kind: object) -> bool:
    return str(kind) in ("string", "large_string", "string_view") or str(kind).startswith("dictionary<values=string")


def _from_json(file: File, number: int, line: bytes) -> Document | Drop:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return file.drop(f"row={number}", BAD_ROW, f"{file.where}:{number}: not JSON: {error}", size=len(line))
    if file.limits.chats:
        return chats.from_row(file, number, row, len(line))
    if not isinstance(row, dict):
        return file.drop(f"row={number}", BAD_ROW, f"{file.where}:{number}: not a JSON object", size=len(line))
    return from_row(file, number, row, len(line))


def from_row(file: File, number: int, row: Mapping[str, object], size: int = 0) -> Document | Drop:
    """Returns the document of a row, by the names of its columns; `size` is counted where it has none."""
    if file.limits.chats:
        return chats.from_row(file, number, row, size)
    column = file.limits.text_column
    text = row.get(column)
    part = f"row={number}"
    if not isinstance(text, str):
        found = (
            f"{column!r} is {type(text).__name__}, not a string"
            if column in row
            else f"no {column!r}; it has {', '.join(map(str, row))[:200] or 'nothing'}"
        )
        return file.drop(part, BAD_ROW, f"{file.where}:{number}: {found}", size=size)
    stripped = text.strip()
    if not stripped:
        return file.drop(part, "empty", "", fault=False)
    told = dict[str, str]()
    for name, keys in file.limits.names.items():
        told[name] = ""
        for key in keys:
            if key != column and isinstance(value := row.get(key), str):
                told[name] = value
                break
    language = told["language"] if _LANGUAGE.fullmatch(told["language"]) else ""
    end = stripped.find("\n")
    first_line = stripped[: _MAX_TITLE + 1 if end < 0 else end]
    title = told["title"] or (first_line if len(first_line) <= _MAX_TITLE else "")
    about = {name: told[key] for name, key in (("id", "id"), ("url", "uri")) if told[key]}
    return file.document(
        text, title=title, part=part, licence=licence_of(text, told["licence"]), language=language, metadata=about
    )
