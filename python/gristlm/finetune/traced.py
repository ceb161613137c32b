"""Text that remembers where each character came from, through everything a chat template does to it.

A chat template is a program: it trims, splits and glues what people wrote to its own words. To know, without
searching the result, which characters are its own and which message the others came from, the messages are handed to
it as `Traced` strings. Each carries a second string of the same length, `marks`, one mark per character, and every
operation that templates use cuts and joins both alike. An operation that is not traced here gives a plain string,
which counts as the template's own text; `chat.py` notices when a message's words went missing that way.
"""

# ruff: noqa: D102 - the methods are those of str, traced
from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import SupportsIndex

TEMPLATE = "\0"
"""The mark of the template's own characters."""
PLAIN = "\1"
"""The mark of plain text that belongs to no message (tool descriptions, variables)."""
_FIRST_MESSAGE = 2


def message_mark(index: int) -> str:
    """Returns the mark of the characters of message `index`."""
    return chr(_FIRST_MESSAGE + index)


class Traced(str):
    """A string whose characters carry marks; marks of the wrong length are replaced by `PLAIN`."""

    __slots__ = ("marks",)
    opaque = False
    """Whether the words are not known yet (`symbolic.py`)."""
    marks: str

    def __new__(cls, text: str, marks: str = "") -> Traced:
        traced = super().__new__(cls, text)
        traced.marks = marks if len(marks) == len(text) else PLAIN * len(text)
        return traced

    def combine(self, text: str, marks: str) -> Traced:
        """Returns a text that this one has gone into."""
        return Traced(text, marks)

    def __str__(self) -> Traced:
        return self

    def __add__(self, other: str) -> Traced:
        return Traced(str.__add__(self, other), self.marks + marks_of(other))

    def __radd__(self, other: str) -> Traced:
        return Traced(str.__add__(other, self), marks_of(other) + self.marks)

    def __getitem__(self, key: SupportsIndex | slice) -> Traced:
        return Traced(str.__getitem__(self, key), self.marks[key])

    def __iter__(self) -> Iterator[Traced]:
        return (self[index] for index in range(len(self)))

    def __mod__(self, values: object) -> Traced:
        return Traced(str.__mod__(self, values), PLAIN)

    def strip(self, chars: str | None = None, /) -> Traced:
        return self.rstrip(chars).lstrip(chars)

    def lstrip(self, chars: str | None = None, /) -> Traced:
        return self[len(self) - len(str.lstrip(self, chars)) :]

    def rstrip(self, chars: str | None = None, /) -> Traced:
        return self[: len(str.rstrip(self, chars))]

    def removeprefix(self, prefix: str, /) -> Traced:
        return self[len(self) - len(str.removeprefix(self, prefix)) :]

    def removesuffix(self, suffix: str, /) -> Traced:
        return self[: len(str.removesuffix(self, suffix))]

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._located(str.split(self, sep, maxsplit), gap=len(sep or ""))

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        return self._located(str.rsplit(self, sep, maxsplit), gap=len(sep or ""))

    def splitlines(self, keepends: bool = False) -> list[str]:
        whole = self._located(str.splitlines(self, keepends=True), gap=0)
        return (
            whole if keepends else [line[: len(bare)] for line, bare in zip(whole, str.splitlines(self), strict=True)]
        )

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, _ = str.partition(self, sep)
        return self[: len(before)], self[len(before) : len(before) + len(found)], self[len(before) + len(found) :]

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        before, found, _ = str.rpartition(self, sep)
        return self[: len(before)], self[len(before) : len(before) + len(found)], self[len(before) + len(found) :]

    def replace(self, old: str, new: str, count: SupportsIndex = -1, /) -> Traced:
        if not old:
            return self._recased(str.replace(self, old, new, count))
        return join(new, self.split(old, count))

    def join(self, parts: Iterable[str], /) -> Traced:
        return join(self, parts)

    def lower(self) -> Traced:
        return self._recased(str.lower(self))

    def upper(self) -> Traced:
        return self._recased(str.upper(self))

    def title(self) -> Traced:
        return self._recased(str.title(self))

    def capitalize(self) -> Traced:
        return self._recased(str.capitalize(self))

    def _recased(self, text: str) -> Traced:
        return Traced(text, self.marks if len(text) == len(self) else self.marks[:1] * len(text))

    def _located(self, parts: list[str], gap: int) -> list[str]:
        """Returns `parts` of this text, each found where it stands: `gap` characters, or any white space, apart."""
        located: list[str] = []
        at = 0
        for part in parts:
            at = at if gap else str.find(self, part, at)
            located.append(self[at : at + len(part)])
            at += len(part) + gap
        return located


def marks_of(text: str) -> str:
    """Returns the marks of `text`; plain strings are the template's own."""
    return text.marks if isinstance(text, Traced) else TEMPLATE * len(text)


def join(separator: str, parts: Iterable[str]) -> Traced:
    """Returns `separator.join(parts)`, traced."""
    pieces = list(parts)
    text, marks = str.join(separator, pieces), marks_of(separator).join(map(marks_of, pieces))
    unknown = next((piece for piece in (separator, *pieces) if isinstance(piece, Traced) and piece.opaque), None)
    return Traced(text, marks) if unknown is None else unknown.combine(text, marks)


def concatenate(parts: Iterable[str]) -> Traced:
    """Returns `"".join(parts)`, traced."""
    return join("", parts)


def runs(marks: str) -> Iterator[tuple[str, int, int]]:
    """Yields (mark, start, end) of each longest run of equal marks."""
    at = 0
    for mark, same in itertools.groupby(marks):
        end = at + sum(1 for _ in same)
        yield mark, at, end
        at = end
