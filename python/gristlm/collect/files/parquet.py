"""Parquet in bounded memory: a file that unpacks to far more than it takes is refused.

A dictionary page can give one long value to every row, so rows may hold many times what the file says it unpacks to:
the larger a column's chunk, the fewer rows are read at once, and what they hold is added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.unpack import FREE_BYTES, MAX_RATIO

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch
    from pyarrow.parquet import ParquetFile

_MOST_ROWS, _FEWEST_ROWS = 1024, 16
_BATCH_BYTES = 1 << 30
"""A batch stays below this where a chunk unpacks to no more than a sixteenth of it."""


def batches(parquet: ParquetFile, columns: Sequence[str] | None = None) -> Iterator[RecordBatch]:
    """Yields the rows of a file, of the named columns or of all.

    Raises:
        Refusal: a column's chunk, or all that was read, is more than 200 times as large as in the file (the first
            64 MiB are free).
    """
    import pyarrow as pa

    metadata, packed, given = parquet.metadata, 0, 0
    for group in range(metadata.num_row_groups):
        row_group, largest = metadata.row_group(group), 0
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            if column.total_uncompressed_size > max(FREE_BYTES, MAX_RATIO * column.total_compressed_size):
                sizes = f"{column.total_uncompressed_size:,} bytes from {column.total_compressed_size:,}"
                raise Refusal("decompression bomb", f"row group {group}: {sizes}")
            packed += column.total_compressed_size
            if column.has_dictionary_page:
                largest = max(largest, column.total_uncompressed_size)
        rows = max(_FEWEST_ROWS, min(_MOST_ROWS, _BATCH_BYTES // max(1, largest)))
        for batch in parquet.iter_batches(batch_size=rows, row_groups=[group], columns=columns):
            schema = pa.schema([field.with_type(_spelled_out(field.type)) for field in batch.schema])
            batch = batch.cast(schema)
            given += batch.nbytes
            if given > max(FREE_BYTES, MAX_RATIO * packed):
                raise Refusal("decompression bomb", f"row group {group}: {given:,} bytes or more from {packed:,}")
            yield batch


def _spelled_out(kind: DataType) -> DataType:
    """Returns the type with every value in full: as a dictionary, a value that is repeated would be counted once."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _spelled_out(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_spelled_out(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        made = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return made(kind.value_field.with_type(_spelled_out(kind.value_type)))
    return kind
