"""What the readers of files share: the file at hand, the limits, and reading no more than they allow."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from gristlm.collect import licences
from gristlm.collect.document import UNKNOWN_LICENCE, Document, Drop, Part
from gristlm.collect.files.formats import Kind
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.unpack import unpacked

_NAMES = {
    "title": ("title",),
    "uri": ("uri", "url"),
    "licence": ("licence", "license"),
    "language": ("language", "lang"),
    "id": ("id",),
}
_SPOOL_BYTES = 16 << 20
_MAX_SPOOLED = 4 << 30
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a reader may use."""

    max_document_bytes: int
    piece_bytes: int | None
    text_column: str
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The columns of rows in which title, uri, licence, language and id stand, where they are not called so."""
    mimes: tuple[str, ...] = ()
    """Media types to take from web archives; none takes HTML and plain text."""
    statuses: tuple[int, ...] = (200,)
    """HTTP statuses to take from web archives."""
    url_pattern: re.Pattern[str] | None = None
    """What an address in a web archive must match somewhere."""
    chats: bool = False
    """Whether rows are conversations and pairs, not texts."""

    @functools.cached_property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The columns or keys in which each thing is looked for: the ones that `columns` names, or the usual."""
        return {name: (self.columns[name],) if name in self.columns else keys for name, keys in _NAMES.items()}


@dataclasses.dataclass(frozen=True)
class File:
    """A file to read: on this machine, behind a URL, or inside an archive."""

    name: str
    """Its name without folders; tells how it is packed and, with `kind`, what it is."""
    source: str
    id: str
    """The id of its only document, and the start of the ids of several."""
    uri: str
    kind: Kind
    size: int
    """In bytes, as it lies there; 0 where that is not known."""
    limits: Limits
    fetched_at: datetime.datetime
    open: Callable[[], IO[bytes]]
    """Opens it, as it lies there, from its start."""
    path: Path | None = None
    """Where it is on this machine, if it is a file of its own."""
    depth: int = 0
    """How many archives it lies in."""
    part: Part = ()
    """Which part of it to read, as its reader divides it; none reads all."""

    @property
    def where(self) -> str:
        """How messages name it."""
        return self.uri if self.path is None else str(self.path)

    @property
    def stem(self) -> str:
        """Its name without what follows the last dot."""
        return Path(self.name).stem

    def document(
        self,
        text: str,
        *,
        title: str,
        part: str = "",
        licence: str = "",
        language: str = "",
        uri: str = "",
        fetched_at: datetime.datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Document:
        """Returns a document of this file; `part` tells those of one file apart, `uri` replaces the file's own."""
        return Document(
            id=f"{self.id}:{part}" if part else self.id,
            text=text,
            source=self.source,
            uri=uri or (f"{self.uri}#{part}" if part else self.uri),
            title=title[:300],
            licence=licence or UNKNOWN_LICENCE,
            language=language,
            fetched_at=fetched_at or self.fetched_at,
            metadata=metadata or {},
        )

    def drop(self, part: str, reason: str, detail: str, *, size: int = 0, fault: bool = True) -> Drop:
        """Returns a drop of a part (a row) of this file."""
        return Drop(self.source, f"{self.uri}#{part}", reason, detail, size, fault)


def open_binary(file: File) -> IO[bytes]:
    """Opens a file for reading, unpacked where its name ends in .gz, .zst, .bz2 or .xz."""
    return unpacked(file.open(), file.name)


def read_whole(file: File, times: int = 1) -> bytes:
    """Returns the content of a file that holds one document.

    Args:
        file: the file.
        times: how many times longer than a document such a file may be, because of what is not text in it.

    Raises:
        Refusal: it is empty, too long (once unpacked), or damaged.
        OSError: it cannot be read.
    """
    limit = file.limits.max_document_bytes * times
    if file.size > limit:
        raise Refusal("too large", f"{file.size:,} bytes; at most {limit:,} (max_document_bytes{_times(times)})")
    with open_binary(file) as opened:
        content = bytearray()
        while len(content) <= limit and (more := opened.read(min(_CHUNK, limit + 1 - len(content)))):
            content += more
    if len(content) > limit:
        raise Refusal("too large", f"more than {limit:,} bytes when unpacked (max_document_bytes{_times(times)})")
    if not content.strip():
        raise Refusal("empty", fault=False)
    return bytes(content)


@contextlib.contextmanager
def seekable(file: File) -> Iterator[IO[bytes]]:
    """Yields the unpacked content of a file as a stream that can be read from anywhere.

    What lies packed, in an archive or behind a URL is copied, if it is long to a nameless temporary file.
    """
    opened = open_binary(file)
    if file.path is not None and opened.seekable():
        with opened:
            yield opened
        return
    with opened, tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spooled:
        while more := opened.read(_CHUNK):
            spooled.write(more)
            if spooled.tell() > _MAX_SPOOLED:
                raise Refusal("too large", f"more than {_MAX_SPOOLED:,} bytes inside an archive")
        spooled.seek(0)
        yield spooled


def _times(times: int) -> str:
    return f" times {times}" if times > 1 else ""


def licence_of(text: str, *told: str | None) -> str:
    """Returns the first licence that `told` or an SPDX tag near the start of `text` names, or "unknown"."""
    for words in told:
        found = licences.from_text(words)
        if found != UNKNOWN_LICENCE:
            return found
    return licences.from_tag(text)
