"""CSV and TSV, a document per row, with a column for the text (RFC 4180; the first row names the columns)."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO

from gristlm.collect import charset
from gristlm.collect.document import Document, Drop
from gristlm.collect.files.reading import File, open_binary
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.rows import from_row

_SNIFFED = 65_536
_MAX_LINE = 1 << 16  # besides what a document may have


def read(file: File) -> Iterator[Document | Drop]:
    """Yields a document per row."""
    limit = file.limits.max_document_bytes + _MAX_LINE
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    with open_binary(file) as opened:
        head = opened.read(_SNIFFED)
        if not head.strip():
            raise Refusal("empty", fault=False)
        try:
            encoding = charset.decode(head[: head.rfind(b"\n") + 1] or head).encoding
        except charset.BinaryFileError as error:
            raise Refusal("binary file", str(error)) from error
        lines = _lines(head, opened, encoding, limit)
        tabs = ".tsv" in file.name.lower()
        rows = csv.DictReader(lines, delimiter="\t" if tabs else _delimiter(head), strict=True)
        number = 0
        try:
            if not file.limits.chats and file.limits.text_column not in (rows.fieldnames or ()):
                raise Refusal(
                    "no text column",
                    f"{file.where} has no column {file.limits.text_column!r} (text_column); "
                    f"it has {', '.join(rows.fieldnames or ())[:500]}",
                )
            for number, row in enumerate(rows, start=1):
                yield from_row(file, number, {name: value for name, value in row.items() if isinstance(name, str)})
        except csv.Error as error:
            yield file.drop(f"row={number + 1}", "damaged file", f"{file.where}: after row {number}: {error}")
            return
        if not number:
            raise Refusal("empty", fault=False)


def _delimiter(head: bytes) -> str:
    first = head.partition(b"\n")[0]
    return ";" if first.count(b";") > first.count(b",") else ","


def _lines(head: bytes, opened: IO[bytes], encoding: str, limit: int) -> Iterator[str]:
    """Yields lines of text, none longer than `limit` characters."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    waiting = ""
    more = head
    while True:
        waiting += decoder.decode(more, not more)
        start = 0
        while (end := waiting.find("\n", start)) >= 0:
            yield waiting[start : end + 1]
            start = end + 1
        waiting = waiting[start:]
        if len(waiting) > limit:
            raise csv.Error(f"a line of more than {limit:,} characters")
        if not more:
            break
        more = opened.read(io.DEFAULT_BUFFER_SIZE * 8)
    if waiting:
        yield waiting
