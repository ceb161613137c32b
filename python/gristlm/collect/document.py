"""What a source yields: documents, one by one or as rows, and drops with a reason; and the protocol of a source.

A source lists *units* (a file, a module, an archive) in a stated order, and each unit can be read on its own. That is
what lets a run resume after the last unit, take every n-th unit of a shard, or read units on other machines.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pyarrow import Array

UNKNOWN_LICENCE = "unknown"
NO_LANGUAGE = "zxx"  # BCP 47: "no linguistic content"; what source code carries


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """A text, and where it comes from."""

    id: str
    """Unique in a run, the same on every run. Documents whose ids agree up to the first `#` fall in the same split."""
    text: str
    source: str
    """The name of the source, such as `python-docstrings`."""
    uri: str
    """Where it was read: a package URL (`pkg:`) for what a package carries, a `file:` URI for a local file."""
    title: str
    licence: str
    """An SPDX licence expression, or "unknown"; never a guess."""
    language: str
    """BCP 47, "" where it is to be identified, "zxx" for source code."""
    fetched_at: datetime.datetime
    """When it was fetched, in UTC; of a local file, the time of its last change."""
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """JSON-able; whatever else the source knows. `code` names the programming language of source code."""


@dataclasses.dataclass(frozen=True, slots=True)
class Drop:
    """Something that a source had and that gave no document."""

    source: str
    uri: str
    """Where it is, down to the row where there is one (`file:///data.jsonl#row=3`)."""
    reason: str
    """A short fixed phrase that is counted, such as `binary file`."""
    detail: str = ""
    """What exactly was found, for a person to read."""
    bytes: int = 0
    fault: bool = True
    """Whether `strict` stops at it (an unreadable file), or it is merely not wanted (an empty one)."""
    id: str = ""
    """The document's id, where it had become a document."""
    value: float | None = None
    """What a rule measured."""
    threshold: str = ""
    """The name of the threshold that it misses."""
    limit: float | None = None
    """That threshold."""
    twin: str = ""
    """The id of the document of which this one is a duplicate."""
    similarity: float | None = None
    """How alike a near duplicate is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """A small part of a unit that can be read on another thread, beside others: a file, a page, a member of an archive.

    What it gives takes its place among what the unit yields, so the order never depends on the threads.
    """

    read: Callable[[], Iterator[Document | Drop]]
    """Gives its documents. A failure is a `Drop`, not an exception."""
    bytes: int = 0
    """About how much memory it holds until it is done."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """N documents of one file in columns, for the price of a few; what each column holds, `Document` says."""

    source: str
    fetched_at: datetime.datetime
    ids: list[str]
    texts: Array
    """string[N], none of them null or blank."""
    uris: list[str]
    titles: list[str]
    licences: list[str]
    languages: list[str]
    metadata: list[str]
    """JSON of each."""

    def part(self, start: int, end: int) -> Rows:
        """Returns rows `start` to `end` - 1."""
        lists = (self.ids, self.uris, self.titles, self.licences, self.languages, self.metadata)
        ids, uris, titles, licences, languages, metadata = (values[start:end] for values in lists)
        texts = self.texts.slice(start, end - start)
        return Rows(self.source, self.fetched_at, ids, texts, uris, titles, licences, languages, metadata)

    def documents(self) -> Iterator[Document]:
        """Yields them one by one."""
        for identity, text, uri, title, licence, language, metadata in zip(
            self.ids, self.texts, self.uris, self.titles, self.licences, self.languages, self.metadata, strict=True
        ):
            yield Document(
                identity, text.as_py(), self.source, uri, title, licence, language, self.fetched_at,
                json.loads(metadata),
            )  # fmt: skip


Part = tuple[int, ...]
"""Where a part of a unit lies, in terms of its source."""
Item = Document | Drop
Entry = Document | Drop | Rows | Task


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """A part of a source that is read on its own."""

    key: str
    """Names the unit within its source; the same on every run."""
    read: Callable[[], Iterator[Entry]]
    """Reads it from its start. A failure is a `Drop`, not an exception."""
    bytes: int = 0
    """The size of its input, 0 where it is not known; what the remaining time is told from."""
    position: Callable[[], int] | None = None
    """How many of those bytes have been read by now; None where that cannot be told."""
    divide: Callable[[int], Sequence[Part]] | None = None
    """Returns parts of about so many bytes of input each, in order, which give together what `read` gives; none where
    it must be read as a whole. None: so it must be in any case."""
    read_part: Callable[[Part], Iterator[Entry]] | None = None
    """Reads such a part, and as little as its format allows of what lies before."""


class Source(Protocol):
    """Somewhere text comes from."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def units(self) -> Iterator[Unit]:
        """Lists the units, in the same order on every run over the same content."""
        ...


@runtime_checkable
class Sized(Protocol):
    """A source that can tell how much there is to read."""

    def input_bytes(self) -> int:
        """Returns the sum of its units' `bytes`, 0 where finding it would take long."""
        ...


def file_time(path: Path) -> datetime.datetime:
    """Returns a file's last change in UTC, in whole seconds; `SOURCE_DATE_EPOCH` (seconds), where set, replaces it."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(fixed) if fixed.isdecimal() else int(path.stat().st_mtime)
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
