"""Parquet in bounded memory: a row group that unpacks to far more than it takes is refused.

A dictionary page can give one long value to every row, so rows may hold many times what the file says it unpacks to:
the larger that page, the fewer rows are read at once, and what they hold is added up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.unpack import FREE_BYTES, MAX_RATIO

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch
    from pyarrow.parquet import ColumnChunkMetaData, FileMetaData, ParquetFile, RowGroupMetaData

_MOST_ROWS, _FEWEST_ROWS = 4096, 16  # powers of two, as are the rows of a batch: parts end where batches do
_USUAL_BYTES = 4 << 20
"""About what a batch holds at most, where rows are as long as the mean of their row group."""
_BATCH_BYTES = 1 << 30
"""A batch stays below this where a chunk's dictionary takes no more than a sixteenth of it."""
_MOST_PARTS = 8
"""Of one row group: to begin within it, all before must be unpacked."""
_DICTIONARY, _INTEGER = 4, 0x15  # in the compact protocol of Thrift


def batches(
    parquet: ParquetFile, opened: IO[bytes], group: int, columns: Sequence[str] | None = None
) -> Iterator[RecordBatch]:
    """Yields the rows of a row group, of the named columns or of all.

    Args:
        parquet: the file.
        opened: the same file; where it stands does not matter.
        group: the row group.
        columns: by name; None takes all.

    Raises:
        Refusal: a column's chunk, or all that was read, is more than 200 times as large as in the file (64 MiB are
            free; of what was read, those 64 MiB are shared by the row groups).
    """
    import pyarrow as pa

    row_group, largest, given = parquet.metadata.row_group(group), 0, 0
    for index in range(row_group.num_columns):
        column = row_group.column(index)
        if column.total_uncompressed_size > max(FREE_BYTES, MAX_RATIO * column.total_compressed_size):
            sizes = f"{column.total_uncompressed_size:,} bytes from {column.total_compressed_size:,}"
            raise Refusal("decompression bomb", f"row group {group}: {sizes}")
        largest = max(largest, _dictionary_bytes(column, opened))
    packed = packed_bytes(row_group)
    most = MAX_RATIO * packed + FREE_BYTES // parquet.metadata.num_row_groups
    mean = row_group.total_byte_size // max(1, row_group.num_rows)
    rows = max(_FEWEST_ROWS, min(_MOST_ROWS, _BATCH_BYTES // max(1, largest), _USUAL_BYTES // max(1, mean)))
    rows = 1 << (rows.bit_length() - 1)
    schema, plain = None, False
    for batch in parquet.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False):
        if schema is None:
            schema = pa.schema([field.with_type(_spelled_out(field.type)) for field in batch.schema])
            plain = schema == batch.schema
        batch = batch if plain else batch.cast(schema)
        given += batch.nbytes
        if given > most:
            raise Refusal("decompression bomb", f"row group {group}: {given:,} bytes or more from {packed:,}")
        yield batch


def packed_bytes(row_group: RowGroupMetaData) -> int:
    """Returns how many bytes of the file a row group takes."""
    return sum(row_group.column(index).total_compressed_size for index in range(row_group.num_columns))


def parts(metadata: FileMetaData, size: int) -> Iterator[tuple[int, int]]:
    """Yields (first row, last row + 1) of parts that take about `size` bytes each."""
    first = at = taken = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        packed = packed_bytes(row_group)
        for start in range(0, row_group.num_rows, _MOST_ROWS):
            rows = min(_MOST_ROWS, row_group.num_rows - start)
            at += rows
            taken += packed * rows // row_group.num_rows
            if taken >= max(size, packed // _MOST_PARTS):
                yield first, at
                first, taken = at, 0
    if at > first:
        yield first, at


def _dictionary_bytes(column: ColumnChunkMetaData, opened: IO[bytes]) -> int:
    """Returns what the dictionary of a chunk takes: no value in it is longer. 0 where it has none.

    Its first page tells in its header, which begins with three integers: what it is, its bytes unpacked and packed.
    """
    named = column.dictionary_page_offset
    opened.seek(max(0, min(named or column.data_page_offset, column.data_page_offset)))
    head, values, at = opened.read(24), list[int](), 0
    while len(values) < 3 and at < len(head) and head[at] == _INTEGER:
        value = shift = 0
        at += 1
        while at < len(head):
            value |= (head[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if head[at - 1] < 0x80:
                values.append(value)
                break
    if len(values) == 3 and values[0] == _DICTIONARY:
        return max(values[1:]) >> 1  # zigzag: of what is not negative, twice as much
    return int(column.total_uncompressed_size) if named is not None else 0


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
