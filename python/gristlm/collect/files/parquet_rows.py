"""Parquet as documents: one per row, with a column for the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gristlm.collect.document import Document, Drop, Part, Rows
from gristlm.collect.files import columns
from gristlm.collect.files.parquet import batches, packed_bytes, parts
from gristlm.collect.files.reading import File, Limits, seekable
from gristlm.collect.files.refusal import Refusal

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_BUFFER = 1 << 20
_DAMAGE = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def read(file: File) -> Iterator[Document | Drop | Rows]:
    """Yields a document per row. Damage costs the rest of its row group."""
    import pyarrow as pa

    with seekable(file) as opened:
        plain = file.path is not None and file.name.lower().endswith(".parquet")
        parquet = _open(file.path if plain and file.path is not None else opened)
        wanted = _columns(parquet, file.limits, file.where)
        if not parquet.metadata.num_rows:
            raise Refusal("empty", fault=False)
        first, end = file.part or (0, parquet.metadata.num_rows)
        after = packed = 0
        for group in range(parquet.num_row_groups):
            row_group = parquet.metadata.row_group(group)
            at, after = after, after + row_group.num_rows
            before, packed = packed, packed + packed_bytes(row_group)
            if after <= first or at >= end:
                continue
            try:
                for batch in batches(parquet, opened, group, wanted):
                    if at >= end:
                        break
                    if at >= first:
                        yield from (columns.one_by_one if file.limits.chats else columns.documents)(file, at + 1, batch)
                    at += len(batch)
                    if plain:  # tells how far it has come: pyarrow reads through a handle of its own
                        done = (packed - before) * (row_group.num_rows - (after - at)) // row_group.num_rows
                        opened.seek(max(0, before + done))
            except (*_DAMAGE, pa.ArrowException, Refusal) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of the system; pyarrow sets none for damaged data
                if first <= at < end:
                    reason, detail = error.args if isinstance(error, Refusal) else ("damaged file", str(error))
                    detail = f"{file.where}: after row {at}: {detail}"
                    yield file.drop(f"row={at + 1}", reason, detail, size=packed - before)


def divide(path: Path, limits: Limits, size: int) -> Sequence[Part]:
    """Returns (first row, last row + 1) of parts; none of a file that gives no rows."""
    try:
        with _open(path) as parquet:
            _columns(parquet, limits, str(path))
            return list(parts(parquet.metadata, size))
    except Refusal:
        return ()


def _open(file: Path | IO[bytes]) -> ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowException, ValueError) as error:
        raise Refusal("damaged file", str(error)) from error


def _columns(parquet: ParquetFile, limits: Limits, where: str) -> list[str] | None:
    """Returns the columns to read, that of the text first; None for all."""
    if limits.chats:
        return None
    names, column = parquet.schema_arrow.names, limits.text_column
    if column not in names or not _is_string(parquet.schema_arrow.field(column).type):
        raise Refusal(
            "no text column", f"{where} has no string column {column!r} (text_column); it has {', '.join(names)}"
        )
    return [column] + [name for group in limits.names.values() for name in group if name in names and name != column]


def _is_string(kind: object) -> bool:
    return str(kind) in ("string", "large_string", "string_view") or str(kind).startswith("dictionary<values=string")
