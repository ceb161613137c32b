"""Plain text, Markdown, reStructuredText and source code."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Iterator, Mapping

from gristlm.collect import charset
from gristlm.collect.document import NO_LANGUAGE, UNKNOWN_LICENCE, Document, Drop
from gristlm.collect.files import gutenberg
from gristlm.collect.files.formats import programming_language
from gristlm.collect.files.pieces import cut
from gristlm.collect.files.reading import File, licence_of, read_whole
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.headers import from_header

_UNDERLINE = re.compile(r"([=\-~^\"'#*+])\1{2,}\s*")
_MAX_TITLE = 100


def read(file: File) -> Iterator[Document | Drop]:
    """Yields a file's one document, or the pieces of a long text."""
    try:
        text, encoding = _text(read_whole(file))
    except charset.BinaryFileError as error:
        raise Refusal("binary file", str(error)) from error
    licence = licence_of(text)
    if file.kind == "code":
        code = programming_language(file.name)
        about = {"code": code, "charset": encoding}
        licence = from_header(text) if licence == UNKNOWN_LICENCE else licence
        yield file.document(text, title=file.name, licence=licence, language=NO_LANGUAGE, metadata=about)
        return
    book = gutenberg.book(text)
    if book is not None:
        told: dict[str, object] = {"charset": encoding, **book.metadata}
        yield from in_pieces(
            file, book.text, title=book.title or file.stem, licence=book.licence, language=book.language, metadata=told
        )
        return
    title = heading(text, file.kind) or file.stem
    yield from in_pieces(file, text, title=title, licence=licence, metadata={"charset": encoding})


def in_pieces(
    file: File,
    text: str,
    *,
    title: str,
    part: str = "",
    uri: str = "",
    licence: str = "",
    language: str = "",
    fetched_at: datetime.datetime | None = None,
    metadata: Mapping[str, object] | None = None,
) -> Iterator[Document]:
    """Yields `text` as one document of `file`, or as several where it is longer than a piece may be.

    `part` names what the text is within the file, where that holds several.
    """
    about = metadata or {}
    pieces = list(cut(text, file.limits.piece_bytes))
    if len(pieces) == 1:
        yield file.document(
            text, title=title, part=part, uri=uri, licence=licence, language=language, fetched_at=fetched_at,
            metadata=about,
        )  # fmt: skip
        return
    for number, piece in enumerate(pieces, start=1):
        yield file.document(
            piece, title=title, part=f"{part}:{number}" if part else str(number), uri=uri, licence=licence,
            language=language, fetched_at=fetched_at, metadata={**about, "piece": number, "pieces": len(pieces)},
        )  # fmt: skip


def heading(text: str, kind: str) -> str:
    """Returns the title a text begins with: a Markdown or reStructuredText heading, or a short first line; else ""."""
    lines = [line.strip() for line in text[:4000].splitlines()]
    if kind == "markdown":
        return next((line.lstrip("# ").rstrip("# ") for line in lines if line.startswith("# ")), "")
    if kind == "rst":
        for line, below in itertools.pairwise(lines):
            if line and not _UNDERLINE.fullmatch(line) and _UNDERLINE.fullmatch(below) and len(below) >= len(line) // 2:
                return line
        return ""
    first = next((line for line in lines if line), "")
    return first if len(first) <= _MAX_TITLE else ""


def _text(content: bytes) -> tuple[str, str]:
    decoded = charset.decode(content)
    return decoded.text, decoded.encoding
