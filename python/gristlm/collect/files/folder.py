"""A file, or every file under a folder, in sorted order."""

from __future__ import annotations

import errno
import functools
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from gristlm.collect.document import Drop, Entry, Part, Unit, file_time
from gristlm.collect.files import readers
from gristlm.collect.files.formats import kind
from gristlm.collect.files.reading import File, Limits
from gristlm.errors import InputError

_SKIPPED = frozenset(("__pycache__", "node_modules"))
_SIZING_SECONDS = 2.0


class FileSource:
    """A local file or folder; one unit per file.

    Hidden entries, `__pycache__` and `node_modules` are left out. Links are followed, each folder is read once.
    """

    def __init__(self, path: Path, name: str, limits: Limits) -> None:
        """Reads `path`; `name` starts the ids of its documents.

        Raises:
            InputError: there is nothing at `path`.
        """
        if not os.path.lexists(path):
            raise InputError(
                f"source {str(path)!r} does not exist; give files, folders, or python: for the Python on this machine"
            )
        self._path = path
        self._name = name
        self._limits = limits

    @property
    def name(self) -> str:
        """The name given to it."""
        return self._name

    def units(self) -> Iterator[Unit]:
        """Lists the files by path, and what is in the way as units that give a drop."""
        if self._path.is_dir():
            yield from self._folder(self._path, "", frozenset(), set())
        else:
            yield self._unit(self._path, _readable(self._path.name))

    def _folder(
        self, folder: Path, prefix: str, above: frozenset[tuple[int, int]], seen: set[tuple[int, int]]
    ) -> Iterator[Unit]:
        try:
            found = folder.stat()
            names = sorted(entry.name for entry in os.scandir(folder))
        except OSError as error:
            yield self._drop(folder, prefix, "unreadable folder", str(error))
            return
        here = (found.st_dev, found.st_ino)
        if here in above:
            yield self._drop(folder, prefix, "symlink loop", f"it leads back to {os.path.realpath(folder)}")
            return
        if here in seen:
            yield self._drop(folder, prefix, "folder already read", fault=False)
            return
        seen.add(here)
        for name in names:
            path = folder / name
            key = prefix + _readable(name)
            if name.startswith(".") or name in _SKIPPED:
                yield self._drop(path, key, "hidden file or folder", fault=False)
            elif path.is_dir():
                yield from self._folder(path, f"{key}/", above | {here}, seen)
            else:
                yield self._unit(path, key)

    def input_bytes(self) -> int:
        """Returns the bytes of all files, 0 where looking at them takes more than two seconds."""
        deadline, whole = time.monotonic() + _SIZING_SECONDS, 0
        for unit in self.units():
            whole += unit.bytes
            if time.monotonic() > deadline:
                return 0
        return whole

    def _unit(self, path: Path, key: str) -> Unit:
        opened = _Opened(path)
        try:
            size = path.stat().st_size
        except OSError:
            size = 0
        read = functools.partial(self._read, path, key, opened)
        return Unit(key, read, size, opened.position, functools.partial(self._divide, path), read)

    def _divide(self, path: Path, size: int) -> Sequence[Part]:
        try:
            return readers.divide(path, self._limits, size) if path.is_file() else ()
        except OSError:
            return ()  # reading it will tell

    def _drop(self, path: Path, key: str, reason: str, detail: str = "", *, fault: bool = True) -> Unit:
        drop = Drop(self.name, path.absolute().as_uri(), reason, detail, fault=fault)
        return Unit(key, lambda: iter((drop,)))

    def _read(self, path: Path, key: str, opened: _Opened, part: Part = ()) -> Iterator[Entry]:
        uri = path.absolute().as_uri()
        try:
            found = path.stat()
            changed = file_time(path)
        except OSError as error:
            reason = "symlink loop" if error.errno == errno.ELOOP else "unreadable file"
            yield Drop(self.name, uri, reason, str(error))
            return
        if not stat.S_ISREG(found.st_mode):
            yield Drop(self.name, uri, "not a regular file", "a pipe, socket or device", found.st_size)
            return
        prefix = self.name if self._path.name == key and not self._path.is_dir() else f"{self.name}/{key}"
        identity = prefix.replace("#", "%23")
        yield from readers.read(
            File(
                path.name, self.name, identity, uri, kind(path.name), found.st_size, self._limits, changed,
                opened.open, path, part=part,
            )
        )  # fmt: skip


class _Opened:
    """A file as it is being read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def open(self) -> IO[bytes]:
        self._file = self._path.open("rb")
        return self._file

    def position(self) -> int:
        """Returns how much of it has been read, 0 where it is not open."""
        return 0 if self._file is None or self._file.closed else self._file.tell()


def _readable(name: str) -> str:
    """Returns a file's name as text that is valid Unicode, also where the name is not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
