"""HTML pages: their main content."""

from __future__ import annotations

from collections.abc import Iterator

from gristlm.cleaning import extract_text
from gristlm.collect.document import Document, Drop
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, licence_of, read_whole
from gristlm.collect.files.refusal import Refusal
from gristlm.errors import InputError

_TIMES = 3  # a page is about that much longer than its text; extract_text itself takes 32 MiB


def read(file: File) -> Iterator[Document | Drop]:
    """Yields the main content of a page."""
    try:
        page = extract_text(read_whole(file, _TIMES))
    except InputError as error:
        raise Refusal("damaged file", str(error)) from error
    if page is None or not page.text.strip():
        raise Refusal("no main content", fault=False)
    about = {"url": page.url, "author": page.author, "date": page.date}
    yield from in_pieces(
        file,
        page.text,
        title=page.title or file.stem,
        licence=licence_of("", page.licence),
        language=page.language or "",
        metadata={name: value for name, value in about.items() if value},
    )
