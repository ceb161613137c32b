"""DOCX, through python-docx (the extra `files`)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from gristlm.collect.document import Document, Drop
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, seekable
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.zip_directory import check_directory
from gristlm.errors import missing_extra

_MAX_UNPACKED = 20  # times max_document_bytes: the XML of a DOCX file is that much longer than its text at most


def read_docx(file: File) -> Iterator[Document | Drop]:
    """Yields the paragraphs and tables of a DOCX file, in order."""
    try:
        import docx
        from docx.table import Table
    except ImportError as error:
        raise missing_extra("python-docx", "files") from error
    try:
        with seekable(file) as opened:
            check_directory(opened)
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
