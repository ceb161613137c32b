"""What to measure on: the user's files, or text that every Python carries."""

from __future__ import annotations

import pydoc_data.topics
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from gristlm.errors import InputError, MissingArtifactError
from gristlm.tokenize import text_files

MAX_BYTES = 8 << 20
DOCUMENT_CHARACTERS = 4096
VOCABULARIES = (".tiktoken", ".tiktoken.gz")


def read_texts(files: Sequence[Path]) -> tuple[list[str], Path | None, str]:
    """Returns documents of about 4 KB (8 MB together at most), a vocabulary among the files, and a description.

    Raises:
        MissingArtifactError: a file is not there.
        InputError: the files hold no text.
    """
    vocabulary = next((path for path in files if is_vocabulary(path)), None)
    given = [path for path in files if path != vocabulary]
    if given:
        source, described = _from_files(given), ", ".join(str(path) for path in given)
    else:
        source, described = _from_python(), "the standard library's documentation and source"
    documents: list[str] = []
    size = 0
    for text in source:
        for start in range(0, len(text), DOCUMENT_CHARACTERS):
            documents.append(text[start : start + DOCUMENT_CHARACTERS])
            size += len(documents[-1].encode(errors="replace"))
        if size >= MAX_BYTES:
            break
    if not documents:
        raise InputError(f"there is no text in {described}")
    return documents, vocabulary, f"{described}: {len(documents):,} documents, {size / 1e6:.1f} MB"


def is_vocabulary(path: Path) -> bool:
    """Whether the name is that of a vocabulary rather than of a text."""
    return path.name.endswith(VOCABULARIES) or path.name in ("tokenizer.json", "tekken.json")


def _from_files(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if not path.exists():
            raise MissingArtifactError(f"{path} does not exist")
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            for texts in text_files.documents(file):
                yield from (texts if isinstance(texts, list) else [str(text) for text in texts.to_pylist()])


def _from_python() -> Iterator[str]:
    yield from pydoc_data.topics.topics.values()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield path.read_text(encoding="utf-8", errors="replace")
