"""What a run found, kept, changed and dropped: counted while it works, written as `report.json`.

No figure depends on time or machine: the same documents give the same report. (Times are in `metrics.jsonl`.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

from gristlm.collect.document import Document, Drop
from gristlm.collect.dropped import Ledger

EXAMPLE_CHARACTERS = 300


@dataclasses.dataclass
class Count:
    """Documents and bytes of UTF-8."""

    documents: int = 0
    bytes: int = 0

    def add(self, size: int, documents: int = 1) -> None:
        """Counts `documents` more of `size` bytes together."""
        self.documents += documents
        self.bytes += size


class Tally:
    """Counts by (source, what, name).

    What: "found", "changed", "kept", "repeated", "dropped", "licence", "language" or "split"; "contaminated", by the
    file of the evaluation set (a document may be in several); and "changes", which
    counts not documents but what `gristlm.clean` counts in `changes` (texts, lines or places), of all that was found.
    """

    def __init__(self, examples_per_reason: int) -> None:
        """Keeps at most that many examples of each reason for dropping."""
        self.examples_per_reason = examples_per_reason
        self.counts: dict[tuple[str, str, str], Count] = {}
        self.examples: dict[str, list[dict[str, str]]] = {}
        self.ledger: Ledger | None = None
        """Where each drop is written down; None writes none."""

    def count(self, source: str, what: str, name: str, size: int, documents: int = 1) -> None:
        """Counts documents of one source."""
        key = source, what, name
        count = self.counts.get(key)
        if count is None:
            count = self.counts[key] = Count()
        count.add(size, documents)

    def drop(self, drop: Drop, text: str = "") -> None:
        """Counts a drop, found and dropped at once; `text` is shown as an example."""
        self.count(drop.source, "found", "", drop.bytes)
        self.drop_found(drop, text)

    def wants_example(self, reason: str) -> bool:
        """Returns whether fewer examples of the reason are kept than may be."""
        return len(self.examples.get(reason, ())) < self.examples_per_reason

    def drop_found(self, drop: Drop, text: str = "", twin: str = "") -> None:
        """Counts a drop of what was counted as found before; `twin` is the text of which it was a duplicate."""
        self.count(drop.source, "dropped", drop.reason, drop.bytes)
        if self.ledger is not None:
            self.ledger.add(drop, text)
        if self.wants_example(drop.reason):
            example = {
                "source": drop.source,
                "uri": drop.uri,
                "detail": drop.detail[:EXAMPLE_CHARACTERS],
                "text": text[:EXAMPLE_CHARACTERS],
            }
            if twin:
                example["twin"] = twin[:EXAMPLE_CHARACTERS]
            self.examples.setdefault(drop.reason, []).append(example)

    def merge(self, other: Tally) -> None:
        """Adds what `other` counted later."""
        for (source, what, name), count in other.counts.items():
            self.count(source, what, name, count.bytes, count.documents)
        for reason, examples in other.examples.items():
            shown = self.examples.setdefault(reason, [])
            shown += examples[: max(0, self.examples_per_reason - len(shown))]

    def total(self, what: str, name: str | None = None, source: str | None = None) -> Count:
        """Returns the sum over sources and names; `name` or `source` takes one alone."""
        whole = Count()
        for (of, kind, called), count in self.counts.items():
            if kind == what and name in (None, called) and source in (None, of):
                whole.add(count.bytes, count.documents)
        return whole

    def by_name(self, what: str, source: str | None = None) -> dict[str, Count]:
        """Returns the sums of each name, most documents first."""
        names = {called for of, kind, called in self.counts if kind == what and source in (None, of)}
        found = {name: self.total(what, name, source) for name in names}
        return dict(sorted(found.items(), key=lambda item: (-item[1].documents, item[0])))

    def sources(self) -> list[str]:
        """Returns the sources, as they came."""
        return list(dict.fromkeys(source for source, _, _ in self.counts))

    def to_json(self) -> dict[str, object]:
        """Returns what `from_json` takes."""
        counts = [[*key, count.documents, count.bytes] for key, count in self.counts.items()]
        return {"counts": counts, "examples": self.examples}

    @classmethod
    def from_json(cls, saved: Mapping[str, object], examples_per_reason: int) -> Tally:
        """Returns the tally that `to_json` described."""
        tally = cls(examples_per_reason)
        for source, what, name, documents, size in cast("list[tuple[str, str, str, int, int]]", saved["counts"]):
            tally.count(source, what, name, size, documents)
        tally.examples = cast("dict[str, list[dict[str, str]]]", saved["examples"])
        return tally

    def report(self) -> dict[str, object]:
        """Returns the content of `report.json`; in `total` and for each source, found = kept + dropped."""
        return {
            "total": self._section(None),
            "sources": {source: self._section(source) for source in self.sources()},
            "examples": {reason: self.examples[reason] for reason in sorted(self.examples)},
        }

    def _section(self, source: str | None) -> dict[str, object]:
        single = {
            what: dataclasses.asdict(self.total(what, source=source))
            for what in ("found", "changed", "kept", "repeated")
        }
        grouped = {
            "dropped": "dropped",
            "contaminated": "contaminated",
            "licences": "licence",
            "languages": "language",
            "split": "split",
        }
        many = {
            title: {name: dataclasses.asdict(count) for name, count in self.by_name(what, source).items()}
            for title, what in grouped.items()
        }
        changes = {name: count.documents for name, count in self.by_name("changes", source).items()}
        return {**single, "changes": changes, **many}


def drop_of(document: Document, reason: str, detail: str = "") -> Drop:
    """Returns the drop of a document that was read and is not wanted."""
    size = len(document.text.encode("utf-8", "replace"))
    return Drop(document.source, document.uri, reason, detail, size, fault=False, id=document.id)
