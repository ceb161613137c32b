"""Files of training rows, in any of the formats of `gristlm.chat_formats`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

from gristlm.chat_formats import Example, unparse
from gristlm.errors import InputError, missing_extra
from gristlm.runs.files import write_atomic


def write(path: Path | str, examples: Iterable[Example], *, format: str) -> int:
    """Writes a file of training rows, whole or not at all; returns how many.

    Args:
        path: `.jsonl`, `.jsonl.gz`, `.jsonl.zst`, `.json` (an array) or `.parquet`.
        examples: what to write, as `read` gives it.
        format: one of `chat_formats.FORMATS`.

    Raises:
        InputError: an example cannot be said in that format (names it), or the file's name has another ending.
    """
    path = Path(path)
    rows = [unparse(example, format) for example in examples]
    if path.suffix == ".parquet":
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise missing_extra("pyarrow", "data") from None
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink, compression="zstd")
        write_atomic(path, sink.getvalue().to_pybytes())
    elif path.suffix == ".json":
        write_atomic(path, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    else:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        write_atomic(path, _compressed(path, lines))
    return len(rows)


def _compressed(path: Path, data: bytes) -> bytes:
    match path.suffix:
        case ".jsonl" | ".ndjson":
            return data
        case ".gz":
            return gzip.compress(data, mtime=0)
        case ".zst":
            try:
                import pyarrow
            except ImportError:
                raise missing_extra("pyarrow", "data") from None
            compressed = pyarrow.BufferOutputStream()
            with pyarrow.CompressedOutputStream(compressed, "zstd") as stream:
                stream.write(data)
            packed: bytes = compressed.getvalue().to_pybytes()
            return packed
    raise InputError(f"{path} must end in .jsonl, .jsonl.gz, .jsonl.zst, .json or .parquet")
