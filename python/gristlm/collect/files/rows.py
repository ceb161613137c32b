"""Files of many documents, a key or column of each row for the text; and JSON Lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gristlm.collect.document import Document, Drop, Part
from gristlm.collect.files import chats
from gristlm.collect.files.reading import File, Limits, licence_of, open_binary
from gristlm.collect.files.refusal import Refusal

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
MAX_TITLE = 100
_BUFFER = 1 << 20
BAD_ROW = "bad row"


def read_jsonl(file: File) -> Iterator[Document | Drop]:
    """Yields a document per line; a line that has none is a drop that names file and line."""
    limit = (
        file.limits.max_document_bytes * 2 + 65_536
    )  # JSON escapes lengthen a text; the text itself is checked below
    start, end, number = file.part or (0, float("inf"), 0)
    with open_binary(file) as opened:
        if start:
            opened.seek(start)
        at = start
        while at < end and (line := opened.readline(limit)):
            number += 1
            at += len(line)
            if len(line) >= limit and not line.endswith(b"\n"):
                size = len(line)
                while line and not line.endswith(b"\n"):
                    line = opened.readline(_BUFFER)
                    size += len(line)
                at += size - limit
                yield file.drop(
                    f"row={number}", "too large", f"{file.where}:{number}: a line of {size:,} bytes", size=size
                )
            elif line.strip():
                yield _from_json(file, number, line)
        if not number:
            raise Refusal("empty", fault=False)


def divide_jsonl(path: Path, limits: Limits, size: int) -> Sequence[Part]:
    """Returns (first byte, last byte + 1, lines before) of parts that end with a line."""
    del limits
    parts = list[Part]()
    start = lines = 0
    with path.open("rb") as opened:
        while chunk := opened.read(size):
            more = chunk.count(b"\n")
            while chunk and not chunk.endswith(b"\n"):  # on to the end of the line
                chunk = opened.readline(_BUFFER)
                more += chunk.endswith(b"\n")
            parts.append((start, opened.tell(), lines))
            start, lines = opened.tell(), lines + more
    return parts


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


def language_of(told: str) -> str:
    """Returns the language that a row names, "" where that is no tag of one."""
    return told if _LANGUAGE.fullmatch(told) else ""


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
    end = stripped.find("\n")
    first_line = stripped[: MAX_TITLE + 1 if end < 0 else end]
    title = told["title"] or (first_line if len(first_line) <= MAX_TITLE else "")
    about = {name: told[key] for name, key in (("id", "id"), ("url", "uri")) if told[key]}
    return file.document(
        text,
        title=title,
        part=part,
        licence=licence_of(text, told["licence"]),
        language=language_of(told["language"]),
        metadata=about,
    )
