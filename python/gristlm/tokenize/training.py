"""Where training texts come from: lists, iterators, Arrow, files."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from gristlm import _core
from gristlm.errors import InputError
from gristlm.runs import progress
from gristlm.tokenize import text_files

BATCH_BYTES = 16 << 20
_log = logging.getLogger(__name__)


@runtime_checkable
class ArrowStream(Protocol):
    """A column of texts with the Arrow PyCapsule interface: a pyarrow ChunkedArray, a Polars Series."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


@runtime_checkable
class ArrowArray(Protocol):
    """An array of texts with the Arrow PyCapsule interface: a pyarrow Array."""

    def __arrow_c_array__(self, requested_schema: object = None) -> object: ...


Texts: TypeAlias = Sequence[str] | ArrowStream | ArrowArray
Paths: TypeAlias = str | os.PathLike[str] | Sequence[os.PathLike[str]]
Source: TypeAlias = Texts | Iterable[str] | Paths


def count(
    source: Source, *, pattern: str, num_threads: int | None, max_memory_bytes: int | None = None
) -> _core.TokenizerTrainer:
    """Returns the counts of all pretokens of `source`.

    Args:
        source: texts (a list or an Arrow array), an iterator of texts, or files: one path, or a list of them. Paths are
            `pathlib.Path` objects; a single string, and a list of strings that all name existing files, are paths too.
        pattern: how to cut texts.
        num_threads: None is all cores. The result is the same on any number.
        max_memory_bytes: what counts and merging may take, beside the texts of one batch; None is 4 GiB. Past it the
            rarest words are forgotten (ours, after Manku and Motwani 2002) and a warning says how many; before it,
            nothing is.

    Raises:
        InputError: `source` is none of these, `pattern` is unknown, or `max_memory_bytes` is below 1 MiB.
    """
    trainer = _core.TokenizerTrainer(pattern, max_memory_bytes)
    with progress.bar("count words", None, "bytes") as bar:
        for texts in _batches(source):
            trainer.add(texts, num_threads)
            bar.update(trainer.num_bytes)
    if trainer.num_forgotten:
        _log.warning(
            "the words did not fit into max_memory_bytes: %s rare ones were forgotten, so the merges are not exactly "
            "those of all text; raise max_memory_bytes",
            f"{trainer.num_forgotten:,}",
        )
    return trainer


def word_frequencies(
    source: Source, *, pattern: str = "o200k", num_threads: int | None = None
) -> list[tuple[bytes, int]]:
    """Returns each pretoken of `source` with how often it stands there: what training merges by.

    The most frequent first, equals by their bytes. Arguments as in `Tokenizer.train`.
    """
    return count(source, pattern=pattern, num_threads=num_threads).counts()


def _batches(source: Source) -> Iterator[Texts]:
    if isinstance(source, (str, os.PathLike)):
        yield from text_files.blocks(Path(source))
    elif isinstance(source, (ArrowStream, ArrowArray)):
        yield source
    elif isinstance(source, Sequence) and _are_paths(source):
        for path in source:
            yield from text_files.blocks(Path(path))
    elif isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray)):
        yield from _gathered(iter(source))
    else:
        raise InputError(f"source is {type(source).__name__}; give texts, an iterator of texts, or paths")


def _are_paths(source: Sequence[object]) -> bool:
    if not source:
        return False
    if any(isinstance(item, os.PathLike) for item in source):
        return True
    return all(
        isinstance(item, str) and 0 < len(item) < 4096 and "\n" not in item and _is_file(item) for item in source
    )


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _gathered(texts: Iterator[str | os.PathLike[str]]) -> Iterator[Texts]:
    """Yields lists of about 16 MB of the texts; an iterator of paths is read."""
    first = next(texts, None)
    if isinstance(first, os.PathLike):
        for path in itertools.chain([first], texts):
            yield from text_files.blocks(Path(path))
        return
    batch: list[str] = []
    size = 0
    for text in itertools.chain([] if first is None else [first], texts):
        if not isinstance(text, str):
            raise InputError(f"source holds {type(text).__name__}; give texts (str), or paths only")
        batch.append(text)
        size += len(text)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
