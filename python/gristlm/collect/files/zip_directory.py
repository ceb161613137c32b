"""The directory at the end of a zip archive, which the standard library takes into memory whole, whatever its size."""

from __future__ import annotations

import io
import struct
from typing import IO

from gristlm.collect.files.refusal import Refusal

MAX_BYTES = 32 << 20
"""About 300,000 names as they are in practice; 700,000 of the shortest, which take 0.4 GB as Python objects."""


def check_directory(opened: IO[bytes]) -> int:
    """Returns the size of a zip archive whose directory can be held in memory.

    Raises:
        Refusal: it has none, or a longer one (the size is in the record at its end, APPNOTE 4.3.16 and 4.3.14).
    """
    size = opened.seek(0, io.SEEK_END)
    opened.seek(max(0, size - 65_557))
    tail = opened.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise Refusal("damaged file", "it is no zip archive, or its end is missing")
    directory = struct.unpack_from("<I", tail, at + 12)[0]
    wide = tail.rfind(b"PK\6\6", 0, at)
    if directory == 0xFFFFFFFF and wide >= 0 and len(tail) >= wide + 48:
        directory = struct.unpack_from("<Q", tail, wide + 40)[0]
    if directory > MAX_BYTES:
        raise Refusal("too large", f"a directory of {directory:,} bytes; at most {MAX_BYTES:,}")
    opened.seek(0)
    return size
