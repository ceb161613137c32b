"""Compressed streams, unpacked with bounded memory: gzip, bzip2, xz and Zstandard, told by the file's name.

What is unpacked may be at most 200 times as long as what was read, past the first 64 MiB (ours: logs and dumps stay
under 50; a bomb is at 1,000 and more). Dictionaries of xz are capped at 128 MiB, windows of Zstandard at the decoder's
own 128 MiB.
"""

from __future__ import annotations

import abc
import bz2
import io
import lzma
from collections.abc import Callable
from pathlib import PurePath
from typing import IO, Protocol, cast

from gristlm import _core
from gristlm.collect.files.refusal import Refusal
from gristlm.errors import FormatError

MAX_RATIO = 200
FREE_BYTES = 64 << 20
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
_SHORT = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz"}
_XZ_MEMORY = 160 << 20  # a dictionary of 128 MiB, and what the decoder needs besides
_CHUNK = 1 << 18
_PACKED = 1 << 15  # of the input at a time: what follows a member in it is copied


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Inflater:
    """A member of gzip, with the interface of the decompressors of bz2 and lzma."""

    def __init__(self) -> None:
        self._member = _core.GzipMember()
        self.needs_input, self.eof, self.unused_data = True, False, b""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        content, self.needs_input, after = self._member.unpack(data, max_length)
        if after is not None:
            self.eof, self.unused_data = True, after
        return content


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    ".gz": _Inflater,
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


def unpacked(raw: IO[bytes], name: str) -> IO[bytes]:
    """Returns a stream of what `raw` holds, unpacked where `name` ends as one of `COMPRESSED`, else `raw` itself.

    Reading from it raises `Refusal` where the data are damaged or unpack to much more than they are.
    """
    suffix = PurePath(name).suffix.lower()
    suffix = _SHORT.get(suffix, suffix)
    if suffix not in COMPRESSED:
        return raw
    counted = _Counted(raw)
    if suffix == ".zst":
        import pyarrow as pa

        inner = pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), "zstd")
        return io.BufferedReader(_Zstandard(counted, inner), _CHUNK)
    return io.BufferedReader(_Unpacked(counted, _DECOMPRESSORS[suffix]), _CHUNK)


class _Counted(io.RawIOBase):
    """A stream that says how much was read of it; closing it closes the stream."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        content = self._raw.read(size)
        self.count += len(content)
        return content

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Guarded(io.RawIOBase):
    """A stream of unpacked data that refuses bombs."""

    def __init__(self, packed: _Counted) -> None:
        self._packed = packed
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: object, /) -> int:
        view = memoryview(cast("bytearray", target)).cast("B")
        content = self._more(len(view))
        view[: len(content)] = content
        self._given += len(content)
        if self._given > FREE_BYTES and self._given > MAX_RATIO * self._packed.count:
            raise Refusal(
                "decompression bomb",
                f"{self._given:,} bytes from {self._packed.count:,}; at most {MAX_RATIO} times as many",
            )
        return len(content)

    def close(self) -> None:
        self._packed.close()
        super().close()

    @abc.abstractmethod
    def _more(self, size: int) -> bytes:
        """Returns at most `size` more unpacked bytes, none at the end."""


class _Unpacked(_Guarded):
    """gzip, bzip2 or xz; members that follow one another are one stream."""

    def __init__(self, packed: _Counted, make: Callable[[], _Decompressor]) -> None:
        super().__init__(packed)
        self._make = make
        self._decompressor: _Decompressor | None = None
        self._input = b""
        self._members = 0

    def _more(self, size: int) -> bytes:
        while True:
            fed = self._input
            if not fed and (self._decompressor is None or self._decompressor.needs_input):
                fed = self._packed.read(_PACKED)
                if not fed:
                    if self._decompressor is not None:
                        raise Refusal("damaged file", "the compressed data end too early")
                    return b""
            if self._decompressor is None:
                if self._members and not fed.strip(b"\0"):  # padding after the last member
                    self._input = b""
                    continue
                self._decompressor = self._make()
            try:
                content = self._decompressor.decompress(fed, size)
            except (FormatError, OSError, lzma.LZMAError) as error:
                raise Refusal("damaged file", str(error)) from error
            self._input = b""
            if self._decompressor.eof:
                self._input = self._decompressor.unused_data
                self._decompressor = None
                self._members += 1
            if content:
                return content


class _Zstandard(_Guarded):
    """Zstandard, frames that follow one another included."""

    def __init__(self, packed: _Counted, inner: IO[bytes]) -> None:
        super().__init__(packed)
        self._inner = inner

    def _more(self, size: int) -> bytes:
        try:
            return self._inner.read(size)
        except OSError as error:
            if error.errno is not None:  # pyarrow sets none for damaged data, the operating system does
                raise
            raise Refusal("damaged file", str(error)) from error
