"""What became of everything that was dropped: one row each, with reason, value and threshold, beside the documents.

The rows are in the order of the sources (duplicates last), so that they do not depend on batches, threads or workers.
With `CollectConfig.keep_dropped` they are `dropped-NNNNN.parquet`, with the texts; else `dropped-NNNNN.reasons`, which
is Parquet too, but is not taken for documents by who reads every `*.parquet` of the folder.
"""

from __future__ import annotations

import pyarrow as pa

from gristlm.collect.document import Drop

NAME = "dropped"
REASONS = "reasons"
"""What the files end in that hold no texts."""
SUFFIX = ".dropped"
"""Of the file beside a part that holds what was dropped while it was made."""
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("id", pa.string()),
    ("text", pa.large_string()),
    ("source", pa.string()),
    ("uri", pa.string()),
    ("reason", pa.string()),
    ("detail", pa.string()),
    ("bytes", pa.int64()),
    ("value", pa.float64()),
    ("threshold", pa.string()),
    ("limit", pa.float64()),
    ("twin", pa.string()),
    ("similarity", pa.float32()),
]
SCHEMA = pa.schema(_FIELDS)


class Ledger:
    """Drops as they come, and the table they become."""

    def __init__(self, keep_text: bool) -> None:
        """Keeps the texts, or only the reasons."""
        self._keep_text = keep_text
        self._rows: list[tuple[int, dict[str, object]]] = []
        self.position = 0
        """Of the item that is being judged, among those of a batch; rows are put in this order."""

    def add(self, drop: Drop, text: str) -> None:
        """Takes a drop."""
        row: dict[str, object] = {
            "id": _clean(drop.id) or None,
            "text": _clean(text) if self._keep_text and text else None,
            "source": drop.source,
            "uri": _clean(drop.uri),
            "reason": drop.reason,
            "detail": _clean(drop.detail) or None,
            "bytes": drop.bytes,
            "value": drop.value,
            "threshold": drop.threshold or None,
            "limit": drop.limit,
            "twin": _clean(drop.twin) or None,
            "similarity": drop.similarity,
        }
        self._rows.append((self.position, row))

    def table(self) -> pa.Table:
        """Returns what came since the last call, and forgets it."""
        rows = [row for _, row in sorted(self._rows, key=lambda item: item[0])]
        self._rows = []
        return pa.Table.from_pylist(rows, schema=SCHEMA)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
