"""Files behind URLs, through fsspec: `s3://`, `gs://`, `hf://`, `https://`, `memory://` and whatever else it knows."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any, cast

from gristlm.collect.document import Drop, Entry, Unit
from gristlm.collect.files import readers
from gristlm.collect.files.formats import kind
from gristlm.collect.files.reading import File, Limits
from gristlm.errors import InputError, missing_extra

UNCHANGED = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)


class RemoteSource:
    """One URL, a pattern with `*`, or a folder behind one; one unit per file, in sorted order."""

    def __init__(self, url: str, name: str, limits: Limits) -> None:
        """Reads `url`; `name` starts the ids of its documents.

        Raises:
            InputError: fsspec knows no such protocol.
            MissingExtraError: fsspec, or the package for the protocol, is not installed.
        """
        try:
            import fsspec
        except ImportError as error:
            raise missing_extra("fsspec", "warc") from error
        try:
            system, path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise InputError(f"source {url!r}: {error}") from error
        except ValueError as error:
            raise InputError(f"source {url!r}: {error}; give a protocol that fsspec knows") from error
        self._system: Any = system
        self._url, self._path = url, path
        self._name, self._limits = name, limits

    @property
    def name(self) -> str:
        """The name given to it."""
        return self._name

    def units(self) -> Iterator[Unit]:
        """Lists the files by path; a URL that cannot be listed is a unit that gives a drop."""
        try:
            for path in self._paths():
                yield Unit(self._key(path), functools.partial(self._read, path))
        except OSError as error:
            drop = Drop(self._name, self._url, "unreadable source", f"{type(error).__name__}: {error}")
            yield Unit(self._url, lambda: iter((drop,)))

    def _paths(self) -> list[str]:
        if "*" in self._path:
            return sorted(self._system.glob(self._path))
        if self._system.isfile(self._path):
            return [self._path]
        return sorted(self._system.find(self._path)) or [self._path]

    def _key(self, path: str) -> str:
        return cast("str", self._system.unstrip_protocol(path))

    def _read(self, path: str) -> Iterator[Entry]:
        uri = self._key(path)
        try:
            about = self._system.info(path)
        except OSError as error:
            yield Drop(self._name, uri, "unreadable file", f"{type(error).__name__}: {error}")
            return
        name = PurePosixPath(path.partition("?")[0]).name or "index"
        changed = next(
            (about[key] for key in ("mtime", "LastModified", "last_modified", "created") if about.get(key)), 0
        )
        yield from readers.read(
            File(
                name, self._name, f"{self._name}/{path.lstrip('/')}".replace("#", "%23"), uri, kind(name),
                int(about.get("size") or 0), self._limits, _time(changed), functools.partial(self._open, path),
            )
        )  # fmt: skip

    def _open(self, path: str) -> IO[bytes]:
        return cast("IO[bytes]", self._system.open(path, "rb"))


def _time(changed: object) -> datetime.datetime:
    """Returns a file system's time of change in UTC; 1970 where it tells none, so that every run gives the same."""
    if isinstance(changed, datetime.datetime):
        return changed.astimezone(datetime.UTC) if changed.tzinfo else changed.replace(tzinfo=datetime.UTC)
    if isinstance(changed, int | float) and changed > 0:
        return datetime.datetime.fromtimestamp(int(changed), tz=datetime.UTC)
    return UNCHANGED
