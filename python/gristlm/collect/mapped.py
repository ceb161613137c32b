"""Arrow files, and arrays with an element for each document, looked at through the page cache.

No more of them is resident than was touched just now, so the process stays small however many documents there are.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristlm import _core

_EVERY_SECONDS = 0.01
_MAX_RESIDENT_BYTES = 64 << 20
_ROWS = 1 << 16


@contextlib.contextmanager
def tables(paths: Sequence[Path]) -> Iterator[list[pa.Table]]:
    """Yields the tables of Arrow files, mapped into memory.

    What was touched, of these and of all `array`s, is let go as soon as it is more than 64 MiB (`MADV_DONTNEED`: the
    pages stay in the system's cache, which shrinks when memory is short). It is looked at a hundred times a second,
    because a fast pass touches several gigabytes in one. No file stays open: there may be any number of them.

    Raises:
        StorageError: a file cannot be read.
    """
    done = threading.Event()
    before = _resident_bytes()

    def let_go() -> None:
        while not done.wait(_EVERY_SECONDS):
            if _resident_bytes() > before + _MAX_RESIDENT_BYTES:
                _core.let_go()

    thread = threading.Thread(target=let_go, name="collect-mapped", daemon=True)
    thread.start()
    try:
        yield [_table(path) for path in paths]
    finally:
        done.set()
        thread.join()


def _table(path: Path) -> pa.Table:
    file = _core.MappedFile(path)
    return pa.ipc.open_file(pa.BufferReader(pa.foreign_buffer(file.address, len(file), base=file))).read_all()


def array(folder: Path, length: int, dtype: Literal["bool", "int32", "int64", "float64"]) -> npt.NDArray[Any]:
    """Returns zeros, dtype[length], in a file in `folder` that goes with them; a short array is held.

    Raises:
        StorageError: the file cannot be written; its room on the disk is taken at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return _core.mapped_array(folder, length, dtype)


def slices(length: int) -> Iterator[slice]:
    """Yields the parts of an array that are worked on at a time."""
    for start in range(0, length, _ROWS):
        yield slice(start, min(start + _ROWS, length))


def chosen(folder: Path, values: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Returns int64[M]: those of `values` (int64[N]) for which `mask`, indexed by them, holds; in their order."""
    found, count = array(folder, len(values), "int64"), 0
    for rows in slices(len(values)):
        here = values[rows]
        here = here[mask[here]]
        found[count : count + len(here)] = here
        count += len(here)
    return found[:count]


def _resident_bytes() -> float:
    """Returns how much of all mapped files is resident; infinity where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[2]) * mmap.PAGESIZE
    except OSError:
        return float("inf")
