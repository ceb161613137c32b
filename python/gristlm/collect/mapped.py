"""Arrow files looked at through the page cache, so that no more of them is resident than was touched just now."""

from __future__ import annotations

import contextlib
import mmap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

_EVERY_SECONDS = 0.01
_MAX_RESIDENT_BYTES = 64 << 20


@contextlib.contextmanager
def tables(paths: Sequence[Path]) -> Iterator[list[pa.Table]]:
    """Yields the tables of Arrow files, mapped into memory.

    What was touched is let go as soon as it is more than 64 MiB (`MADV_DONTNEED`: the file's pages stay in the system's
    cache, which shrinks when memory is short), so the process stays small however long the files are. It is looked at a
    hundred times a second, because a fast pass touches several gigabytes in one.
    """
    maps: list[mmap.mmap] = []
    found: list[pa.Table] = []
    for path in paths:
        with path.open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        found.append(pa.ipc.open_file(pa.BufferReader(pa.py_buffer(maps[-1]))).read_all())
    done = threading.Event()
    before = _resident_bytes()

    def let_go() -> None:
        while not done.wait(_EVERY_SECONDS):
            if _resident_bytes() > before + _MAX_RESIDENT_BYTES:
                for each in maps:
                    each.madvise(mmap.MADV_DONTNEED)

    thread = threading.Thread(target=let_go, name="collect-mapped", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _resident_bytes() -> float:
    """Returns how much of all mapped files is resident; infinity where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[2]) * mmap.PAGESIZE
    except OSError:
        return float("inf")
