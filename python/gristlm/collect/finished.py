"""A finished "documents" artifact as a source: to merge several, to take what was opted out from one, or to mix.

Its documents keep their id, source, licence and time; they pass the same filters, cleaning and search for duplicates
as any others, so that shards that were collected apart become one artifact.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.collect.document import Document, Drop, Entry, Unit
from gristlm.collect.select import SPLITS
from gristlm.errors import DamagedArtifactError
from gristlm.runs import artifact

_ROWS = 64


def is_finished(path: Path) -> bool:
    """Returns whether `path` is a finished artifact of documents."""
    return artifact.is_complete(path) and artifact.load(path).kind == "documents"


class FinishedSource:
    """The documents of an artifact; one unit per Parquet file."""

    def __init__(self, path: Path, name: str) -> None:
        """Reads the artifact at `path`.

        Raises:
            DamagedArtifactError, MissingArtifactError: a file is not as it was written; names it.
        """
        artifact.verify(path)
        self._path, self._name = path, name

    @property
    def name(self) -> str:
        """The name given to it; its documents keep the source they came from."""
        return self._name

    def units(self) -> Iterator[Unit]:
        """Lists the files: what is for training, then what was held out."""
        for split in SPLITS:
            for file in sorted(self._path.glob(f"{split}-*.parquet")):
                yield Unit(file.name, functools.partial(_read, file), file.stat().st_size)

    def input_bytes(self) -> int:
        """Returns the bytes of all files."""
        return sum(unit.bytes for unit in self.units())


def _read(file: Path) -> Iterator[Entry]:
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    metadata = json.loads(row.pop("metadata"))
                    # A copy that a mixture made counts as the document that it repeats.
                    if metadata.get("epoch", 1) == 1:
                        yield Document(**row, metadata=metadata)
                    else:
                        yield Drop(row["source"], row["uri"], "repeated by a mixture", row["id"], fault=False)
    except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise DamagedArtifactError(f"{file} is damaged: {error}") from error
