"""tar and zip archives: each member is read as a file of its own, as it comes; nothing is ever written by its name."""

from __future__ import annotations

import contextlib
import datetime
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, Self
from urllib.parse import quote

from gristlm.collect.document import Drop, Entry
from gristlm.collect.files.formats import kind
from gristlm.collect.files.reading import File, open_binary, seekable
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.unpack import FREE_BYTES, MAX_RATIO
from gristlm.collect.files.zip_directory import check_directory

MAX_DEPTH = 3
_MAX_HEADER = 1 << 20  # of a tar member: its long name, its extended attributes
_WHOLE_KINDS = ("text", "markdown", "rst", "code", "html", "pdf", "docx", "epub")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_TIMES = 16  # how many times longer than a document a file of one may be, in the most verbose format

Read = Callable[[File], Iterator[Entry]]


def read_tar(file: File, read: Read) -> Iterator[Entry]:
    """Yields what the members of a tar archive hold, in order; links and devices are drops."""
    _check_depth(file)
    number = 0
    try:
        with (
            open_binary(file) as opened,
            tarfile.open(fileobj=opened, mode="r|", tarinfo=_Member, errorlevel=0, errors="backslashreplace") as tar,
        ):
            for number, member in enumerate(tar, start=1):
                tar.members = []  # type: ignore[attr-defined]  # the archive may have any number of them
                if member.isdir():
                    continue
                about = _member(file, number, member.name, member.size, _time(file, member.mtime))
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    yield Drop(file.source, about.uri, "link or device in an archive", member.name, fault=False)
                else:
                    yield from _contained(about, content, read)
    except tarfile.TarError as error:
        raise Refusal("damaged file", f"after {number:,} members: {error}") from error
    if not number:
        raise Refusal("empty", fault=False)


def read_zip(file: File, read: Read) -> Iterator[Entry]:
    """Yields what the members of a zip archive hold, in the order of its directory."""
    _check_depth(file)
    with seekable(file) as opened:
        size = check_directory(opened)
        budget = FREE_BYTES + MAX_RATIO * size
        try:
            with zipfile.ZipFile(opened) as archive:
                for number, member in enumerate(archive.infolist(), start=1):
                    if member.is_dir():
                        continue
                    made = file.fetched_at.timestamp()
                    with contextlib.suppress(ValueError):
                        made = datetime.datetime(*member.date_time, tzinfo=datetime.UTC).timestamp()
                    about = _member(file, number, member.filename, member.file_size, _time(file, made))
                    if member.flag_bits & 1 or member.compress_type not in _METHODS:
                        what = "encrypted" if member.flag_bits & 1 else f"method {member.compress_type}"
                        yield Drop(file.source, about.uri, "unsupported archive member", what, member.compress_size)
                        continue
                    with _Metered(archive.open(member), budget) as content:
                        yield from _contained(about, content, read)
                    budget -= content.given
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise Refusal("damaged file", str(error)) from error


def _contained(about: File, content: IO[bytes], read: Read) -> Iterator[Entry]:
    """Yields what a member holds. A file of one document is taken into memory, so that it can wait for a thread."""
    if about.kind in _WHOLE_KINDS:
        limit = about.limits.max_document_bytes * _TIMES
        if about.size > limit:
            detail = f"{about.size:,} bytes; at most {limit:,} (max_document_bytes times {_TIMES})"
            yield Drop(about.source, about.uri, "too large", detail, about.size)
            return
        try:
            whole = content.read(limit + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            yield Drop(about.source, about.uri, "damaged file", str(error), about.size)
            return
        content = io.BytesIO(whole)
    yield from read(_opened_once(about, content))


def _opened_once(about: File, content: IO[bytes]) -> File:
    return File(
        about.name, about.source, about.id, about.uri, about.kind, about.size, about.limits, about.fetched_at,
        lambda: content, None, about.depth,
    )  # fmt: skip


def _member(file: File, number: int, name: str, size: int, fetched_at: datetime.datetime) -> File:
    """Returns a member as a file, without content. Its number keeps members of one name apart."""
    name = name.encode("utf-8", "backslashreplace").decode()
    last = PurePosixPath(name.replace("\\", "/")).name or "unnamed"
    return File(
        last,
        file.source,
        f"{file.id}!{number}/{name}".replace("#", "%23"),
        f"{file.uri}!/{quote(name)}",
        kind(last),
        size,
        file.limits,
        fetched_at,
        io.BytesIO,
        None,
        file.depth + 1,
    )


def _check_depth(file: File) -> None:
    if file.depth >= MAX_DEPTH:
        raise Refusal("nested archive", f"inside {file.depth} archives; at most {MAX_DEPTH} are opened")


def _time(file: File, seconds: float) -> datetime.datetime:
    try:
        return datetime.datetime.fromtimestamp(int(seconds), tz=datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return file.fetched_at


class _Member(tarfile.TarInfo):
    """A tar member whose headers are not longer than `_MAX_HEADER`: the module would take any into memory.

    Nor does it take a damaged or missing header, after the first, for the end of the archive, as the module does.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the two empty blocks of a whole archive
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}, where a member or the archive's end should be") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        named = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.type in (*extended, *named) and self.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes; at most {_MAX_HEADER:,}")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a sparse file")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class _Metered(io.BufferedReader):
    """A member of a zip archive that may give no more than `budget` bytes."""

    def __init__(self, content: IO[bytes], budget: int) -> None:
        super().__init__(content, 1 << 18)  # type: ignore[arg-type]
        self.given = 0
        self._budget = budget

    def read(self, size: int | None = -1, /) -> bytes:
        return self._spend(super().read(size))

    def read1(self, size: int = -1, /) -> bytes:
        return self._spend(super().read1(size))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._spend(super().readline(-1 if size is None else size))

    def _spend(self, content: bytes) -> bytes:
        self.given += len(content)
        if self.given > self._budget:
            raise Refusal("decompression bomb", f"more than {MAX_RATIO} times as many bytes as the archive has")
        return content
