"""Web archives: WARC and WET (ISO 28500, through FastWARC, the extra `warc`) and the older ARC.

A page's HTML is read by `extract_text` on any thread; the text of a WET record and other plain text is taken as it is.
What is no page (a request, an image, a redirect) is left out: counted, by reason.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, BinaryIO, Protocol, cast

from gristlm.cleaning import extract_text
from gristlm.collect import charset
from gristlm.collect.document import Document, Drop, Entry, Task
from gristlm.collect.files.plain import heading, in_pieces
from gristlm.collect.files.reading import File, licence_of, open_binary
from gristlm.collect.files.refusal import Refusal
from gristlm.errors import InputError, missing_extra

_HTML = ("text/html", "application/xhtml+xml")
_TEXT = ("text/plain",)
_TIMES = 3  # as for a page in a file of its own
_CODINGS = frozenset(("identity", "chunked", "gzip", "x-gzip", "deflate", "br"))
_MAX_HEADER = 1 << 20
_ARC_LINE = 1 << 16


def read(file: File) -> Iterator[Entry]:
    """Yields the pages of a WARC or WET file, in order."""
    try:
        from fastwarc.warc import ArchiveIterator, WarcHeader, WarcRecordType
    except ImportError as error:
        raise missing_extra("fastwarc", "warc") from error
    limit = file.limits.max_document_bytes * _TIMES
    number = 0
    packed = file.name.lower().endswith(".zst")  # by FastWARC, which knows the dictionaries of web archives
    with file.open() if packed else open_binary(file) as opened:
        stream = _Stream(opened)
        records = ArchiveIterator(
            cast("BinaryIO", stream),
            record_types=WarcRecordType.response | WarcRecordType.conversion | WarcRecordType.resource,
            parse_http=True,
            max_header_len=_MAX_HEADER,
        )
        try:
            for number, record in enumerate(records, start=1):
                headers = record.headers
                uri = (headers.get(WarcHeader.WARC_TARGET_URI) or "").strip("<>") or f"{file.uri}#record={number}"
                codings: list[str] = []
                if record.is_http and (http := record.http_headers) is not None:
                    status, mime = http.status_code or 0, (record.http_content_type or "").lower()
                    for name in ("Transfer-Encoding", "Content-Encoding"):
                        if given := http.get(name):
                            codings += reversed(given.lower().replace(",", " ").split())  # the last was applied last
                else:
                    mime = (headers.get(WarcHeader.CONTENT_TYPE) or "").partition(";")[0].strip().lower()
                    status = 200
                refused = _refused(file, uri, status, mime)
                if refused is None and codings and (unknown := sorted(set(codings) - _CODINGS)):
                    refused = Drop(file.source, uri, "unknown content encoding", ", ".join(unknown))
                if refused is not None:
                    yield refused
                    continue
                wanted = min(record.content_length, limit + 1)
                content = record.reader.read(wanted)
                if len(content) < wanted:
                    raise EOFError(f"record {number} is cut off")
                if codings and len(content) <= limit:
                    content = _decoded(content, codings, limit)
                part = f"{number}/{record.record_id or ''}".rstrip("/")
                yield _page(file, part, uri, mime, content, limit, _when(headers.get(WarcHeader.WARC_DATE) or ""))
            if number and not packed and not stream.ends_with_a_record:
                raise EOFError("the archive is cut off")
        except (Refusal, OSError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = error.reason if isinstance(error, Refusal) else "damaged file"
            yield file.drop(f"record={number + 1}", reason, f"{file.where}: after record {number}: {error}")
            return
    if not number:
        raise Refusal("no records", f"{file.where} holds no page of a WARC file", fault=False)


class _Stream:
    """A file as FastWARC reads it, from any kind of stream; it knows how it ended."""

    def __init__(self, opened: IO[bytes]) -> None:
        # One piece at a time, so that what stands before damage is given before the damage is met.
        self._read = cast("Callable[[int], bytes]", getattr(opened, "read1", opened.read))
        self._count, self._last = 0, b""

    def read(self, size: int = -1, /) -> bytes:
        content = self._read(size)
        self._count += len(content)
        self._last = (self._last + content[-4:])[-4:]
        return content

    def tell(self) -> int:
        return self._count

    @property
    def ends_with_a_record(self) -> bool:
        """Whether two line ends close the file, as they close each record (ISO 28500, 4)."""
        return self._last.replace(b"\r", b"").endswith(b"\n\n")


def read_arc(file: File) -> Iterator[Entry]:
    """Yields the pages of an ARC file (version 1: lines `URL IP date type length`, that many bytes after each)."""
    limit = file.limits.max_document_bytes * _TIMES
    number = 0
    with open_binary(file) as opened:
        while line := opened.readline(_ARC_LINE):
            if not line.strip():
                continue
            fields = line.decode("utf-8", "replace").split()
            if len(fields) < 5 or not fields[-1].isdecimal() or not line.endswith(b"\n"):
                yield file.drop(f"record={number + 1}", "damaged file", f"{file.where}: after record {number}")
                return
            number += 1
            uri, date, mime, length = fields[0], fields[-3], fields[-2].lower(), int(fields[-1])
            content = opened.read(min(length, limit + _MAX_HEADER))
            rest = length - len(content)
            while rest > 0 and (skipped := opened.read(min(rest, 1 << 20))):
                rest -= len(skipped)
            if rest or uri.startswith("filedesc:"):
                if rest:
                    yield file.drop(f"record={number}", "damaged file", f"{file.where}: record {number} is cut off")
                continue
            status = 200
            if content.startswith(b"HTTP/"):
                top, _, content = (
                    re.sub(rb"\r\n", b"\n", content[:_MAX_HEADER]).partition(b"\n\n")[0],
                    0,
                    _body(content),
                )
                found = re.match(rb"HTTP/\S+ (\d{3})", top)
                status = int(found[1]) if found else 0
            refused = _refused(file, uri, status, mime)
            yield refused or _page(file, str(number), uri, mime, content, limit, _when(date))
    if not number:
        raise Refusal("no records", f"{file.where} holds no page of an ARC file", fault=False)


def _refused(file: File, uri: str, status: int, mime: str) -> Drop | None:
    limits = file.limits
    if status not in limits.statuses:
        return Drop(file.source, uri, "status", str(status), fault=False)
    if mime not in (limits.mimes or (*_HTML, *_TEXT)):
        return Drop(file.source, uri, "media type", mime or "none", fault=False)
    if limits.url_pattern is not None and not limits.url_pattern.search(uri):
        return Drop(file.source, uri, "url pattern", fault=False)
    return None


def _decoded(content: bytes, codings: Sequence[str], limit: int) -> bytes:
    """Returns at most `limit` + 1 bytes of a body, its transfer and content codings undone in this order."""
    from fastwarc.stream_io import BrotliReader, ChunkedReader, GzipReader

    readers = {"chunked": ChunkedReader, "br": BrotliReader}
    reader: _Readable = io.BytesIO(content)
    for coding in codings:
        if coding not in ("", "identity"):
            reader = readers.get(coding, GzipReader)(cast("BinaryIO", reader))
    whole = bytearray()
    while len(whole) <= limit and (more := reader.read(limit + 1 - len(whole))):
        whole += more
    return bytes(whole)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _body(content: bytes) -> bytes:
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if (at := content.find(mark, 0, _MAX_HEADER)) >= 0]
    return content[min(ends) :] if ends else b""


def _page(
    file: File, part: str, uri: str, mime: str, content: bytes, limit: int, when: datetime.datetime | None
) -> Entry:
    if len(content) > limit:
        detail = f"more than {limit:,} bytes (max_document_bytes times {_TIMES})"
        return Drop(file.source, uri, "too large", detail, len(content))
    return Task(lambda: _texts(file, part, uri, mime, content, when), len(content) + 1)


def _texts(
    file: File, part: str, uri: str, mime: str, content: bytes, when: datetime.datetime | None
) -> Iterator[Document | Drop]:
    about: Mapping[str, object] = {"mime": mime, "archive": file.uri}
    title = language = licence = ""
    try:
        if mime in _HTML:
            page = extract_text(content, uri)
            if page is None or not page.text.strip():
                yield Drop(file.source, uri, "no main content", bytes=len(content), fault=False)
                return
            text, title, language = page.text, page.title or "", page.language or ""
            licence = licence_of("", page.licence)
            about = {**about, **{name: told for name in ("author", "date") if (told := getattr(page, name))}}
        else:
            text = charset.decode(content).text
            title, licence = heading(text, "text"), licence_of(text)
    except (InputError, charset.BinaryFileError) as error:
        yield Drop(file.source, uri, "damaged page", str(error), len(content))
        return
    yield from in_pieces(
        file, text, title=title or uri, part=part, uri=uri, licence=licence, language=language, fetched_at=when,
        metadata=about,
    )  # fmt: skip


def _when(date: str) -> datetime.datetime | None:
    """Returns the time that `2024-05-01T12:00:00Z` (WARC) or `20240501120000` (ARC) says, in whole seconds."""
    if len(date) == 20 and date.endswith("Z"):  # as nearly all are spelled
        with contextlib.suppress(ValueError):
            return datetime.datetime.fromisoformat(date)
    digits = re.sub(r"\D", "", date)[:14]
    try:
        numbers = [int(digits[start:end]) for start, end in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))]
        return datetime.datetime(*numbers, tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]  # six numbers
    except ValueError:
        return None
