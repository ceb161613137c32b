"""The reader of each kind of file, and what becomes of the ways in which reading fails."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from gristlm.collect.document import Drop, Entry, Item, Part, Task
from gristlm.collect.files import (
    archives,
    books,
    chats,
    dumps,
    office,
    pages,
    parquet_rows,
    pdf,
    plain,
    rows,
    tables,
    warc,
)
from gristlm.collect.files.formats import Kind, kind
from gristlm.collect.files.reading import File, Limits
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.unpack import COMPRESSED
from gristlm.errors import MissingExtraError, StorageError

Given = TypeVar("Given")
_ONE_DOCUMENT: dict[Kind, Callable[[File], Iterator[Item]]] = {
    "text": plain.read,
    "markdown": plain.read,
    "rst": plain.read,
    "code": plain.read,
    "html": pages.read,
    "pdf": pdf.read,
    "docx": office.read_docx,
    "epub": books.read,
}
_ROWS: tuple[Kind, ...] = ("jsonl", "parquet", "csv", "tar", "zip")
_JSON = re.compile(r"\.json(?:\.\w+)?$", re.IGNORECASE)
_STREAMED: dict[Kind, Callable[[File], Iterator[Entry]]] = {
    "jsonl": rows.read_jsonl,
    "parquet": parquet_rows.read,
    "csv": tables.read,
    "warc": warc.read,
    "arc": warc.read_arc,
    "mediawiki": dumps.read,
    "tar": lambda file: archives.read_tar(file, read),
    "zip": lambda file: archives.read_zip(file, read),
}

_DIVIDED: dict[Kind, Callable[[Path, Limits, int], Sequence[Part]]] = {
    "jsonl": rows.divide_jsonl,
    "parquet": parquet_rows.divide,
}


def divide(path: Path, limits: Limits, size: int) -> Sequence[Part]:
    """Returns parts of a file, of about `size` bytes each, that can be read each on its own; none where it has none."""
    divided = _DIVIDED.get(kind(path.name))
    return divided(path, limits, size) if divided and path.suffix.lower() not in COMPRESSED else ()


def read(file: File) -> Iterator[Entry]:
    """Yields what a file holds; a file of one document is a task. A failure is a drop."""
    if file.limits.chats and _JSON.search(file.name):
        yield Task(lambda: _guarded(file, chats.read_json), max(1, file.size))
    elif file.limits.chats and file.kind not in _ROWS:
        yield Drop(file.source, file.uri, "no chat data", f"rows are read from {', '.join(_ROWS)} and json", file.size)
    elif file.kind in _ONE_DOCUMENT:
        yield Task(lambda: _guarded(file, _ONE_DOCUMENT[file.kind]), max(1, file.size))
    else:
        yield from _guarded(file, _STREAMED[file.kind])


def _guarded(file: File, reader: Callable[[File], Iterator[Given]]) -> Iterator[Given | Drop]:
    try:
        yield from reader(file)
    except Refusal as refusal:
        yield refusal.drop(file.source, file.uri, file.size)
    except StorageError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:  # of a temporary file: not the fault of what is read
            raise
        reason = "symlink loop" if error.errno == errno.ELOOP else "unreadable file"
        yield Drop(file.source, file.uri, reason, str(error), file.size)
    except MissingExtraError as error:
        extra = str(error).rpartition("pip install ")[2] or "'gristlm[all]'"
        yield Drop(file.source, file.uri, f"needs pip install {extra}", str(error), file.size)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # A parser of a foreign format stumbled over a file that is not what it says.
        yield Drop(file.source, file.uri, "damaged file", f"{type(error).__name__}: {error}", file.size)
