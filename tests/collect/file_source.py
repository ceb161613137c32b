"""Reads a path as the file source does."""

from gristlm.collect.document import Document, Drop, Rows, Task
from gristlm.collect.files import FileSource
from gristlm.collect.files.reading import Limits

LIMITS = Limits(max_document_bytes=200_000, piece_bytes=None, text_column="text")


def expand(entries):
    for entry in entries:
        if isinstance(entry, Task):
            yield from entry.read()
        elif isinstance(entry, Rows):
            yield from entry.documents()
        else:
            yield entry


def read(path, limits=LIMITS):
    items = [item for unit in FileSource(path, path.name, limits).units() for item in expand(unit.read())]
    return [item for item in items if isinstance(item, Document)], [item for item in items if isinstance(item, Drop)]


def only_drop(path, limits=LIMITS):
    documents, (drop,) = read(path, limits)
    assert not documents
    return drop
