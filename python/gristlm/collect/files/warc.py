"""Web archives: WARC and WET (ISO 28500, through FastWARC, the extra `warc`) and the older ARC.

A page's HTML is read by `extract_text` on any thread; the text of a WET record and other plain text is taken as it is.
What is no page (a request, an image, a redirect) is left out: counted, by reason.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol, cast

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
_MAX_HEADER = 1 << 20
_ARC_LINE = 1 << 16


def read(file: File) -> Iterator[Entry]:
    """Yields the pages of a WARC or WET file, in order."""
    try:
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    except ImportError as error:
        raise missing_extra("fastwarc", "warc") from error
    limit = file.limits.max_document_bytes * _TIMES
    number = 0
    with file.open() as opened:
        records = ArchiveIterator(
            opened,
            record_types=WarcRecordType.response | WarcRecordType.conversion | WarcRecordType.resource,
            parse_http=True,
            max_header_len=_MAX_HEADER,
        )
        try:
            for number, record in enumerate(records, start=1):
                headers = record.headers
                uri = (headers.get("WARC-Target-URI") or "").strip("<>") or f"{file.uri}#record={number}"
                status, mime = 200, (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
                location = ""
                if record.is_http and record.http_headers is not None:
                    status = record.http_headers.status_code or 0
                    mime = (record.http_content_type or "").lower()
                    location = record.http_headers.get("Content-Encoding") or ""
                refused = _refused(file, uri, status, mime)
                if refused is None and location.lower() not in ("", "identity", "gzip", "x-gzip", "deflate", "br"):
                    refused = Drop(file.source, uri, "unknown content encoding", location)
                if refused is not None:
                    yield refused
                    continue
                content = _payload(record.reader, location.lower(), limit)
                part = f"{number}/{record.record_id or ''}".rstrip("/")
                yield _page(file, part, uri, mime, content, limit, _when(headers.get("WARC-Date") or ""))
        except (OSError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            yield file.drop(f"record={number + 1}", "damaged file", f"{file.where}: after record {number}: {error}")
            return
    if not number:
        raise Refusal("no records", f"{file.where} holds no page of a WARC file", fault=False)


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


def _refused(file: File, uri: str, status: int, mime: str) -> Drop | None:
    limits = file.limits
    if status not in limits.statuses:
        return Drop(file.source, uri, "status", str(status), fault=False)
    if mime not in (limits.mimes or (*_HTML, *_TEXT)):
        return Drop(file.source, uri, "media type", mime or "none", fault=False)
    if limits.url_pattern is not None and not limits.url_pattern.search(uri):
        return Drop(file.source, uri, "url pattern", fault=False)
    return None


def _payload(reader: _Readable, encoding: str, limit: int) -> bytes:
    """Returns at most `limit` + 1 bytes of a record's content, unpacked (FastWARC has joined its chunks)."""
    from fastwarc.stream_io import BrotliReader, GzipReader

    if encoding == "br":
        reader = BrotliReader(cast("BinaryIO", reader))
    elif encoding not in ("", "identity"):
        reader = GzipReader(cast("BinaryIO", reader))
    content = bytearray()
    while len(content) <= limit and (more := reader.read(limit + 1 - len(content))):
        content += more
    return bytes(content)


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
    """Returns the time that `2024-05-01T12:00:00Z` (WARC) or `20240501120000` (ARC) says."""
    digits = re.sub(r"\D", "", date)[:14]
    try:
        numbers = [int(digits[start:end]) for start, end in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))]
        return datetime.datetime(*numbers, tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]  # six numbers
    except ValueError:
        return None
