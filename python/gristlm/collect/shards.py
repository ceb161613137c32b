"""Parquet files of one kind, written as their rows come: what is held is one row group."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gristlm.collect.config import CollectConfig
from gristlm.runs.files import atomic_path

GROUP_ROWS, GROUP_BYTES = 1000, 32_000_000
"""Most rows, and most bytes of text, in a row group (a single row may be longer)."""


class Shards:
    """Files `NAME-NNNNN.ENDING`, each of at most so many rows and bytes; there is always a first, if without rows.

    What stands in them does not depend on how the rows were handed over. Each is whole or absent; on an error the one
    that was being written is gone.
    """

    def __init__(self, output_dir: Path, name: str, config: CollectConfig, schema: pa.Schema, ending: str) -> None:
        self._output_dir, self._name, self._config = output_dir, name, config
        self._schema, self._ending = schema, ending
        self._number = self._rows = self._bytes = 0  # of the shard that is written
        self._waiting: list[pa.Table] = []  # the rows of its next group, and how many and how long they are
        self._group_rows = self._group_bytes = 0
        self._open: contextlib.ExitStack | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Shards:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if self._rows or not self._number:
                self._close()
        elif self._open is not None:
            if self._writer is not None:
                with contextlib.suppress(OSError):  # of a full disk, which `error` tells
                    self._writer.close()
            self._open.__exit__(kind, error, trace)

    def add(self, table: pa.Table) -> None:
        """Adds rows, in their order."""
        start, config = 0, self._config
        for row, size in enumerate(pc.fill_null(pc.binary_length(table.column("text")), 0).to_pylist()):
            whole = self._rows and (self._rows >= config.shard_rows or self._bytes + size > config.shard_bytes)
            if whole or self._group_rows >= GROUP_ROWS or self._group_bytes + size > GROUP_BYTES:
                self._waiting.append(table.slice(start, row - start))
                start = row
                self._write_group()
                if whole:
                    self._close()
            self._rows += 1
            self._bytes += size
            self._group_rows += 1
            self._group_bytes += size
        self._waiting.append(table.slice(start))

    def _write_group(self) -> None:
        table = pa.concat_tables([self._schema.empty_table(), *self._waiting]).combine_chunks()
        self._waiting, self._group_rows, self._group_bytes = [], 0, 0
        if self._writer is None:
            self._open = contextlib.ExitStack()
            shard = self._output_dir / f"{self._name}-{self._number:05d}.{self._ending}"
            path = self._open.enter_context(atomic_path(shard))
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        if len(table):
            self._writer.write_table(table, row_group_size=GROUP_ROWS)

    def _close(self) -> None:
        self._write_group()
        assert self._open is not None
        assert self._writer is not None
        with self._open:
            self._writer.close()
        self._open = self._writer = None
        self._rows = self._bytes = 0
        self._number += 1
