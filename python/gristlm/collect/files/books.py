"""EPUB books: a zip of XHTML pages with their reading order (https://www.w3.org/TR/epub-33/)."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree import ElementTree

from gristlm.cleaning import extract_text
from gristlm.collect.document import Document, Drop
from gristlm.collect.files.packed_xml import member, parsed
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, licence_of, seekable
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.zip_directory import check_directory
from gristlm.errors import InputError

_MAX_PAGES = 10_000
_DC = "{http://purl.org/dc/elements/1.1/}"


def read(file: File) -> Iterator[Document | Drop]:
    """Yields a book's pages in reading order, as one document or in pieces."""
    try:
        with seekable(file) as opened:
            check_directory(opened)
            with zipfile.ZipFile(opened) as archive:
                package = _package(archive)
                text = "\n\n".join(_pages(file, archive, package))
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ElementTree.ParseError,
        InputError,
    ) as error:
        raise Refusal("damaged file", str(error)) from error
    if not text.strip():
        raise Refusal("no main content", fault=False)
    root = package[1]
    yield from in_pieces(
        file,
        text,
        title=_about(root, "title") or file.stem,
        licence=licence_of("", _about(root, "rights")),
        language=_about(root, "language"),
        metadata={"author": _about(root, "creator")} if _about(root, "creator") else None,
    )


def _package(archive: zipfile.ZipFile) -> tuple[str, ElementTree.Element]:
    """Returns the folder of the package document, and its root element."""
    container = parsed(archive, "META-INF/container.xml")
    place = next((found.get("full-path", "") for found in container.iter() if found.tag.endswith("}rootfile")), "")
    return posixpath.dirname(place), parsed(archive, place)


def _pages(file: File, archive: zipfile.ZipFile, package: tuple[str, ElementTree.Element]) -> Iterator[str]:
    folder, root = package
    places = {found.get("id", ""): found.get("href", "") for found in root.iter() if found.tag.endswith("}item")}
    order = [found.get("idref", "") for found in root.iter() if found.tag.endswith("}itemref")]
    budget = file.limits.max_document_bytes * 4  # markup is longer than its text
    for reference in order[:_MAX_PAGES]:
        content = member(
            archive, posixpath.normpath(posixpath.join(folder, unquote(places.get(reference, "")))), budget
        )
        budget -= len(content)
        page = extract_text(content)
        if page is not None and page.text.strip():
            yield page.text.strip()


def _about(root: ElementTree.Element, name: str) -> str:
    return next(
        (" ".join(found.text.split()) for found in root.iter(f"{_DC}{name}") if found.text and found.text.strip()), ""
    )
