"""DOCX (ECMA-376, WordprocessingML): paragraphs and tables, in order.

Ours, because the field's reader (python-docx) holds the tree of the whole file, many times its size, and every picture
in it. Here the main part streams through expat, and nothing but its text is held. What was deleted under "track
changes", field codes and the second copies of text boxes (`mc:Fallback`) are left out; a merged cell is written once.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.parsers import expat

from gristlm.collect.document import Document, Drop
from gristlm.collect.files.packed_xml import MAX_XML_BYTES, parsed, refuse_entities
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, seekable
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.zip_directory import check_directory

_TIMES = 40  # how many times longer than its text the markup of a document may be (ours)
_MAX_CELLS = 500_000
_MAX_DEPTH = 100  # of paragraphs in paragraphs (text boxes)
_CHUNK = 1 << 18
_WORD = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
)
_FALLBACK = "http://schemas.openxmlformats.org/markup-compatibility/2006 Fallback"
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_Cell = list[str]


def read_docx(file: File) -> Iterator[Document | Drop]:
    """Yields the text of a DOCX file, as one document or in pieces."""
    try:
        with seekable(file) as opened:
            check_directory(opened)
            with zipfile.ZipFile(opened) as archive:
                text = "\n\n".join(_blocks(archive, _main_part(archive), file.limits.max_document_bytes))
                title = _title(archive)
    except (
        zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, RuntimeError, EOFError, ElementTree.ParseError,
        expat.ExpatError,
    ) as error:  # fmt: skip
        raise Refusal("damaged file", str(error)) from error
    if not text:
        raise Refusal("empty", fault=False)
    yield from in_pieces(file, text, title=title or file.stem)


def _main_part(archive: zipfile.ZipFile) -> str:
    """Returns the name of the part that holds the text (ECMA-376-2, 9.3: the relationship of the package)."""
    for found in parsed(archive, "_rels/.rels").iter():
        if found.get("Type", "").endswith("/officeDocument"):
            return posixpath.normpath(found.get("Target", "").lstrip("/"))
    raise Refusal("damaged file", "no part of it is named as the document")


def _title(archive: zipfile.ZipFile) -> str:
    try:
        core = parsed(archive, "docProps/core.xml")
    except KeyError:
        return ""
    return next((" ".join((found.text or "").split()) for found in core.iter() if found.tag.endswith("}title")), "")


def _blocks(archive: zipfile.ZipFile, name: str, max_bytes: int) -> list[str]:
    body, limit, given = _Body(max_bytes), max(MAX_XML_BYTES, _TIMES * max_bytes), 0
    with archive.open(name) as member:
        while content := member.read(_CHUNK):
            given += len(content)
            if given > limit:
                raise Refusal("too large", f"more than {limit:,} bytes when unpacked: {name}")
            body.feed(content)
    body.feed(b"")
    return body.blocks


class _Body:
    """Blocks of text from the events of the parser."""

    def __init__(self, max_characters: int) -> None:
        self.blocks: list[str] = []
        self._left, self._cells = max_characters, _MAX_CELLS
        self._paragraphs: list[list[str]] = []  # those that are open
        self._tables: list[list[list[_Cell]]] = []  # those that are open: rows of cells
        self._runs = self._texts = self._skipped = 0  # how deep in each
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        refuse_entities(parser, "it")
        self._parser = parser

    def feed(self, content: bytes) -> None:
        """Parses some more; nothing is the end."""
        self._parser.Parse(content, not content)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        del attributes
        space, _, local = name.rpartition(" ")
        if name == _FALLBACK or (space in _WORD and local in ("del", "moveFrom")):
            self._skipped += 1
        elif space not in _WORD:
            return
        elif local == "p":
            self._paragraphs.append([])
            if len(self._paragraphs) > _MAX_DEPTH:
                raise Refusal("damaged file", f"more than {_MAX_DEPTH} paragraphs in one another")
        elif local == "r":
            self._runs += 1
        elif local == "t":
            self._texts += 1
        elif local in _BREAKS and self._runs:
            self._write(_BREAKS[local])
        elif local in ("tbl", "tr", "tc"):
            self._open(local)

    def _open(self, local: str) -> None:
        self._cells -= 1
        if self._cells < 0:
            raise Refusal("too large", f"more than {_MAX_CELLS:,} cells")
        if local == "tbl":
            self._tables.append([])
        elif local == "tr":
            self._tables[-1].append([])
        else:
            self._tables[-1][-1].append([])

    def _end(self, name: str) -> None:
        space, _, local = name.rpartition(" ")
        if name == _FALLBACK or (space in _WORD and local in ("del", "moveFrom")):
            self._skipped -= 1
        elif space not in _WORD:
            return
        elif local == "p":
            self._block("".join(self._paragraphs.pop()))
        elif local == "r":
            self._runs -= 1
        elif local == "t":
            self._texts -= 1
        elif local == "tbl":
            rows = self._tables.pop()
            self._block("\n".join(" | ".join("\n".join(cell) for cell in row) for row in rows))

    def _block(self, text: str) -> None:
        if not text.strip():
            return
        if self._tables:
            self._tables[-1][-1][-1].append(text)
        else:
            self.blocks.append(text)

    def _text(self, text: str) -> None:
        if self._texts:
            self._write(text)

    def _write(self, text: str) -> None:
        if self._skipped or not self._paragraphs:
            return
        self._left -= len(text)
        if self._left < 0:
            raise Refusal("too large", "more text than a document may have (max_document_bytes)")
        self._paragraphs[-1].append(text)
