"""PDF and DOCX, through pypdfium2 and python-docx (the extra `files`)."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from types import ModuleType
from typing import IO

from gristlm.collect.document import Document, Drop
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, seekable
from gristlm.collect.files.refusal import Refusal
from gristlm.errors import missing_extra

_MAX_PAGES = 20_000
_PDFIUM = threading.Lock()  # PDFium is not safe to call from several threads
_MAX_UNPACKED = 20  # times max_document_bytes: the XML of a DOCX file is that much longer than its text at most


def read_pdf(file: File) -> Iterator[Document | Drop]:
    """Yields the text of a PDF's pages, as one document or in pieces."""
    try:
        import pypdfium2
    except ImportError as error:
        raise missing_extra("pypdfium2", "files") from error
    with _PDFIUM, seekable(file) as opened:
        texts, title = _pdf_pages(pypdfium2, opened, file.limits.max_document_bytes)
    text = "\n\n".join(text for text in texts if text)
    if not text:
        raise Refusal("no text in the pages", f"{len(texts):,} pages, probably scanned", fault=False)
    yield from in_pieces(file, text, title=title or file.stem, metadata={"pages": len(texts)})


def _pdf_pages(pypdfium2: ModuleType, opened: IO[bytes], limit: int) -> tuple[list[str], str]:
    """Returns the text of each page, and the title."""
    texts: list[str] = []
    if not opened.seek(0, io.SEEK_END):
        raise Refusal("empty", fault=False)
    opened.seek(0)
    try:
        with pypdfium2.PdfDocument(opened) as pdf:
            if len(pdf) > _MAX_PAGES:
                raise Refusal("too large", f"{len(pdf):,} pages; at most {_MAX_PAGES:,}")
            title = pdf.get_metadata_value("Title").strip()
            size = 0
            for page in pdf:
                text = page.get_textpage().get_text_bounded().replace("\r\n", "\n").strip()
                page.close()
                size += len(text)
                if size > limit:
                    raise Refusal("too large", f"more than {limit:,} bytes of text (max_document_bytes)")
                texts.append(text)
    except pypdfium2.PdfiumError as error:
        raise Refusal("damaged file", str(error)) from error
    return texts, title


def read_docx(file: File) -> Iterator[Document | Drop]:
    """Yields the paragraphs and tables of a DOCX file, in order."""
    try:
        import docx
        from docx.table import Table
    except ImportError as error:
        raise missing_extra("python-docx", "files") from error
    try:
        with seekable(file) as opened:
            with zipfile.ZipFile(opened) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > _MAX_UNPACKED * file.limits.max_document_bytes:
                raise Refusal("too large", f"{unpacked:,} bytes when unpacked")
            opened.seek(0)
            document = docx.Document(opened)
        parts = []
        for block in document.iter_inner_content():
            lines = (
                [" | ".join(cell.text for cell in row.cells) for row in block.rows]
                if isinstance(block, Table)
                else [block.text]
            )
            parts.append("\n".join(lines))
        title = document.core_properties.title or ""
    except (zipfile.BadZipFile, KeyError, ValueError, SyntaxError) as error:  # lxml's XMLSyntaxError is a SyntaxError
        raise Refusal("damaged file", str(error)) from error
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise Refusal("empty", fault=False)
    yield from in_pieces(file, text, title=title.strip() or file.stem)
