"""Texts out of files: plain text, JSON lines and Parquet, packed or not, in batches of bounded size."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from gristlm.errors import FormatError, InputError, MissingArtifactError, missing_extra

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 4 << 20
MAX_TEXT_BYTES = 1 << 30
"""The longest text, and the longest line of a jsonl, so that a small packed file cannot fill the memory."""
PACKED = (".gz", ".zst")
JSON_LINES = (".jsonl", ".ndjson")


def documents(path: Path, *, text_column: str = "text") -> Iterator[list[str] | pa.ChunkedArray[pa.StringScalar]]:
    """Yields the texts of a file in batches of about 4 MB: the whole of a text file, the column of a jsonl or Parquet.

    Args:
        path: `.jsonl` and `.ndjson` (one object a line), `.parquet`; anything else is one text. `.gz` and `.zst` are
            unpacked.
        text_column: the field of jsonl and Parquet that holds the text.

    Raises:
        MissingArtifactError: there is no such file.
        FormatError: the file is not what its name says; names the line or the column.
    """
    kind = _kind(path)
    if kind == ".parquet":
        yield from _parquet(path, text_column)
    elif kind in JSON_LINES:
        yield from _json_lines(path, text_column)
    else:
        with _open(path) as file:
            yield [_decode(_bounded(file.read(MAX_TEXT_BYTES + 1), path), path)]


def blocks(path: Path, *, text_column: str = "text") -> Iterator[list[str] | pa.ChunkedArray[pa.StringScalar]]:
    """Yields as `documents`, but a text file in pieces: to count words, where a cut between lines changes nothing.

    A piece ends before a line that does not begin with white space: there every published pattern cuts anyway.
    """
    if _kind(path) in (".parquet", *JSON_LINES):
        yield from documents(path, text_column=text_column)
        return
    with _open(path) as file:
        held: list[bytes] = []
        size = 0
        for line in _lines(file, path):
            if size >= BATCH_BYTES and not line[:1].isspace():
                yield [_decode(b"".join(held), path)]
                held, size = [], 0
            held.append(line)
            size += len(line)
        if held:
            yield [_decode(b"".join(held), path)]


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextlib.contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    if not path.is_file():
        raise MissingArtifactError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as packed:
            try:
                yield packed  # type: ignore[misc]
            except (gzip.BadGzipFile, EOFError) as error:
                raise FormatError(f"{path} is not a whole gzip file: {error}") from error
    elif path.suffix.lower() == ".zst":
        try:
            import pyarrow as pa
        except ImportError:
            raise missing_extra("pyarrow", "data") from None
        import io

        try:
            with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd") as stream:
                yield io.BufferedReader(cast("io.RawIOBase", stream), 1 << 20)
        except pa.ArrowInvalid as error:
            raise FormatError(f"{path} is not a whole zstd file: {error}") from error
    else:
        with path.open("rb") as file:
            yield file


def _bounded(data: bytes, path: Path) -> bytes:
    if len(data) > MAX_TEXT_BYTES:
        raise FormatError(f"{path} holds a text or a line of more than {MAX_TEXT_BYTES:,} bytes (unpacked); cut it")
    return data


def _lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    while line := file.readline(MAX_TEXT_BYTES + 1):
        yield _bounded(line, path)


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8: {error}; convert it first") from error


def _json_lines(path: Path, text_column: str) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    with _open(path) as file:
        for number, line in enumerate(_lines(file, path), 1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)[text_column]
            except (ValueError, TypeError) as error:
                raise FormatError(f"{path}: line {number} is not a JSON object: {error}") from error
            except KeyError:
                raise FormatError(
                    f"{path}: line {number} has no field {text_column!r}; name the right one with text_column"
                ) from None
            if not isinstance(text, str):
                raise FormatError(f"{path}: line {number}: {text_column!r} is {type(text).__name__}, not a string")
            batch.append(text)
            size += len(line)
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _parquet(path: Path, text_column: str) -> Iterator[pa.ChunkedArray[pa.StringScalar]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    if not path.is_file():
        raise MissingArtifactError(f"{path} does not exist")
    try:
        with pq.ParquetFile(path) as file:
            if text_column not in file.schema_arrow.names:
                raise InputError(
                    f"{path} has no column {text_column!r}; its columns are {', '.join(file.schema_arrow.names)}"
                )
            for rows in file.iter_batches(batch_size=4096, columns=[text_column]):
                yield pa.chunked_array([rows.column(0)])
    except pa.ArrowInvalid as error:
        raise FormatError(f"{path} is not a Parquet file: {error}") from error
