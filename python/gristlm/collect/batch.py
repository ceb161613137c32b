"""Documents that are cleaned together, and the table they become."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gristlm._core import utf8_bytes
from gristlm.cleaning import clean, identify_language
from gristlm.collect import contamination, judge, loud, optout
from gristlm.collect.config import CollectConfig, Rule
from gristlm.collect.document import NO_LANGUAGE, Document, Drop, Item, Rows
from gristlm.collect.dropped import Ledger
from gristlm.collect.licences import allows
from gristlm.collect.report import Tally, drop_of
from gristlm.errors import InputError

CODE_RULES: tuple[Rule, ...] = ("encoding", "unicode")
MAX_BATCH_ITEMS = 20_000
MIN_CONFIDENCE = 0.5  # ours: below it, one-line English texts are called French or Danish as often as not
UNDETERMINED = "und"
_JSON = json.JSONEncoder()
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("id", pa.string()),
    ("text", pa.large_string()),
    ("source", pa.string()),
    ("uri", pa.string()),
    ("title", pa.string()),
    ("licence", pa.string()),
    ("language", pa.string()),
    ("fetched_at", pa.timestamp("ms", tz="UTC")),
    ("metadata", pa.string()),
]
SCHEMA = pa.schema(_FIELDS)


class Batch:
    """Documents that are cleaned together, in columns of `SCHEMA`; of each dropped one the place stays, unused."""

    def __init__(self, config: CollectConfig) -> None:
        self._config = config
        self.tally = Tally(config.examples_per_reason)
        self.ledger = self.tally.ledger = Ledger(config.keep_dropped)
        self._opt_out = optout.read([Path(file) for file in config.opt_out])
        self._columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        self._texts: list[str] = self._columns["text"]
        self._positions: list[int] = []  # of each document, among the items
        self._bytes = self._items = 0
        self._full_bytes = config.batch_bytes

    @property
    def full(self) -> bool:
        """Whether it is time to clean and to write."""
        return self._bytes >= self._full_bytes or self._items >= MAX_BATCH_ITEMS

    def add(self, item: Item | Rows) -> int:
        """Takes an item; returns the bytes of text that it has.

        Raises:
            InputError: `strict`, and the item is a fault.
        """
        if isinstance(item, Rows):
            sizes = pc.binary_length(item.texts)
            return (
                self._take_all(item, pc.sum(sizes).as_py())
                if self._wants_all(item, sizes)
                else sum(map(self.add, item.documents()))
            )
        self._items += 1
        self.ledger.position = self._items
        if isinstance(item, Document):
            return self._take(item)
        self._refuse(item)
        return 0

    def _refuse(self, drop: Drop) -> None:
        if self._config.strict and drop.fault:
            detail = f": {drop.detail}" if drop.detail else ""
            raise InputError(f"{drop.uri}: {drop.reason}{detail} (strict; without it, this is counted and left out)")
        self.tally.drop(drop)

    def _wants_all(self, rows: Rows, sizes: pa.Array) -> bool:
        """Returns whether nothing would keep `_take` from taking each of the rows."""
        if self._opt_out or pc.max(sizes).as_py() > self._config.max_document_bytes:
            return False
        wanted = self._config.licences
        return not wanted or all(allows(licence, wanted) for licence in set(rows.licences))

    def _take_all(self, rows: Rows, size: int) -> int:
        count = len(rows.ids)
        values = {
            "id": rows.ids,
            "text": rows.texts.to_pylist(),
            "source": [rows.source] * count,
            "uri": rows.uris,
            "title": rows.titles,
            "licence": rows.licences,
            "language": rows.languages,
            "fetched_at": [rows.fetched_at] * count,
            "metadata": rows.metadata,
        }
        for name, column in self._columns.items():
            column += values[name]
        self._positions += range(self._items + 1, self._items + 1 + count)
        self._items += count
        self._bytes += size
        self.tally.count(rows.source, "found", "", size, count)
        return size

    def _take(self, document: Document) -> int:
        """Takes a document into the batch, unless it is not wanted; returns its bytes."""
        try:
            text, size = document.text, utf8_bytes(document.text)
        except UnicodeEncodeError:
            text = _encodable(document.text)
            size = utf8_bytes(text)
        self.tally.count(document.source, "found", "", size)
        if not text.strip():
            self.tally.drop_found(drop_of(document, "empty"))
        elif size > self._config.max_document_bytes:
            detail = f"{size:,} bytes; at most {self._config.max_document_bytes:,} (max_document_bytes)"
            self.tally.drop_found(drop_of(document, "too large", detail), text)
        elif self._opt_out and self._opt_out.covers(document.id, document.uri, *_addresses(document)):
            self.tally.drop_found(drop_of(document, optout.REASON))
        elif self._config.licences and not allows(document.licence, self._config.licences):
            self.tally.drop_found(drop_of(document, "licence", document.licence), text)
        else:
            row = (
                document.id, text, document.source, document.uri, document.title, document.licence,
                document.language, document.fetched_at, _JSON.encode(document.metadata) if document.metadata else "{}",
            )  # fmt: skip
            for column, value in zip(self._columns.values(), row, strict=True):
                column.append(value)
            self._positions.append(self._items)
            self._bytes += size
        return size

    def cleaned(self) -> pa.Table:
        """Returns the cleaned documents, in the order they were read; what is dropped is counted in `tally`."""
        kept: list[int] = []
        together: dict[tuple[str, bool], list[int]] = {}
        named = zip(self._columns["source"], self._columns["language"], strict=True)
        for index, (source, language) in enumerate(named):
            together.setdefault((source, language == NO_LANGUAGE), []).append(index)
        for (source, is_code), indices in together.items():
            kept += self._clean(source, indices, CODE_RULES if is_code else tuple(self._config.rules))
        kept = self._decontaminated(self._judged(sorted(kept)))
        self._identify(kept)
        kept = self._of_languages(kept) if self._config.languages else kept
        arrays = [
            _column([values[index] for index in kept], SCHEMA.field(name)) for name, values in self._columns.items()
        ]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)

    def _identify(self, kept: Sequence[int]) -> None:
        """Puts the language of each document: what its source said, else what its text looks like."""
        languages = self._columns["language"]
        unknown = [index for index in kept if not languages[index]]
        if unknown:
            texts = [self._texts[index] for index in unknown]
            found = identify_language(texts, num_threads=self._config.num_threads)
            sure = (found.confidences >= MIN_CONFIDENCE).tolist()
            for index, language, is_sure in zip(unknown, found.languages, sure, strict=True):
                languages[index] = language if is_sure else UNDETERMINED

    def _of_languages(self, kept: Sequence[int]) -> list[int]:
        """Returns those of the languages that are wanted."""
        left = []
        for index in kept:
            language = self._columns["language"][index]
            if language != NO_LANGUAGE and not _covered(language, self._config.languages):
                self._drop(index, self._drop_of(index, "language", language))
            else:
                left.append(index)
        return left

    def _clean(self, source: str, indices: Sequence[int], rules: Sequence[Rule]) -> Iterator[int]:
        """Cleans the documents of one source; yields those that the rules keep, in order."""
        if not rules:
            yield from indices
            return
        before = [self._texts[index] for index in indices]
        result = clean(before, rules=list(rules), num_threads=self._config.num_threads)
        for name, times in result.changes.items():
            self.tally.count(source, "changes", name, 0, times)
        for index, old, text, reason, why in zip(
            indices, before, result.texts, result.reasons, result.drops, strict=True
        ):
            if reason or not text.strip():
                rule, _, detail = (reason or "empty after cleaning").partition(": ")
                drop = self._drop_of(index, rule, detail)
                if why is not None:
                    drop = dataclasses.replace(drop, value=why.value, threshold=why.threshold, limit=why.limit)
                self._drop(index, drop)
                continue
            if text != old:
                if text.strip() != old.strip():
                    self.tally.count(source, "changed", "", utf8_bytes(text))
                self._texts[index] = text
            yield index

    def _judged(self, kept: list[int]) -> list[int]:
        """Returns those that the quality model wants; it judges prose."""
        model, languages = self._config.quality_model, self._columns["language"]
        prose = [index for index in kept if languages[index] != NO_LANGUAGE]
        if model is None or not prose:
            return kept
        texts, gone = [self._texts[index] for index in prose], set[int]()
        scores = judge.load(model.path).score(texts, label=model.label, num_threads=self._config.num_threads)
        for index, score in zip(prose, scores.tolist(), strict=True):
            if score < model.min_score:
                drop = self._drop_of(index, loud.MODEL, f"score {score:.4f} < min_score {model.min_score}")
                drop = dataclasses.replace(drop, value=score, threshold="min_score", limit=model.min_score)
                self._drop(index, drop)
                gone.add(index)
        return [index for index in kept if index not in gone]

    def _decontaminated(self, kept: list[int]) -> list[int]:
        """Returns those that share no words with an evaluation set."""
        if not self._config.evaluation_sets or not kept:
            return kept
        sets, gone = contamination.load(self._config.evaluation_sets, self._config.contamination_ngram), set[int]()
        for hit in contamination.find([self._texts[index] for index in kept], sets, self._config.num_threads):
            index = kept[hit.index]
            drop = dataclasses.replace(self._drop_of(index, contamination.REASON, hit.detail), value=hit.overlap)
            self._drop(index, drop)
            gone.add(index)
            for file in hit.files:
                self.tally.count(drop.source, "contaminated", file, drop.bytes)
        return [index for index in kept if index not in gone]

    def _drop_of(self, index: int, reason: str, detail: str) -> Drop:
        """Returns the drop of a document as it is by now."""
        source, uri, identity = (self._columns[name][index] for name in ("source", "uri", "id"))
        return Drop(source, uri, reason, detail, len(self._texts[index].encode()), fault=False, id=identity)

    def _drop(self, index: int, drop: Drop) -> None:
        self.ledger.position = self._positions[index]
        self.tally.drop_found(drop, self._texts[index])


def _covered(language: str, wanted: Sequence[str]) -> bool:
    tag = language.lower()
    return any(tag == name.lower() or tag.startswith(f"{name.lower()}-") for name in wanted)


def _addresses(document: Document) -> list[str]:
    """Returns the other addresses that a document says it has."""
    return [str(document.metadata[name]) for name in ("canonical", "url") if document.metadata.get(name)]


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    if field.name == "title":
        values = [" ".join(value.split()) for value in values]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        return pa.array([_encodable(value) for value in values], field.type)


def _encodable(text: str) -> str:
    """Returns `text` with U+FFFD for each lone surrogate, which no file format holds."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
