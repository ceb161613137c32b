"""Documents that are cleaned together, and the table they become."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from gristlm.cleaning import clean, identify_language
from gristlm.collect import contamination, judge, loud, optout
from gristlm.collect.config import CollectConfig, Rule
from gristlm.collect.document import NO_LANGUAGE, Document, Drop, Item
from gristlm.collect.dropped import Ledger
from gristlm.collect.licences import allows
from gristlm.collect.report import Tally, drop_of
from gristlm.errors import InputError

CODE_RULES: tuple[Rule, ...] = ("encoding", "unicode")
MAX_BATCH_ITEMS = 20_000
MIN_CONFIDENCE = 0.5  # ours: below it, one-line English texts are called French or Danish as often as not
UNDETERMINED = "und"
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
    """Documents that are cleaned together."""

    def __init__(self, config: CollectConfig) -> None:
        self._config = config
        self.tally = Tally(config.examples_per_reason)
        self.ledger = self.tally.ledger = Ledger(config.keep_dropped)
        self._opt_out = optout.read([Path(file) for file in config.opt_out])
        self._documents: list[Document] = []
        self._positions: list[int] = []  # of each document, among the items
        self._bytes = self._items = 0
        self._full_bytes = config.batch_bytes

    @property
    def full(self) -> bool:
        """Whether it is time to clean and to write."""
        return self._bytes >= self._full_bytes or self._items >= MAX_BATCH_ITEMS

    def add(self, item: Item) -> int:
        """Takes an item; returns the bytes of text that it has.

        Raises:
            InputError: `strict`, and the item is a fault.
        """
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

    def _take(self, document: Document) -> int:
        """Takes a document into the batch, unless it is not wanted; returns its bytes."""
        try:
            text, size = document.text, len(document.text.encode())
        except UnicodeEncodeError:
            text = _encodable(document.text)
            size = len(text.encode())
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
            self._documents.append(document if text is document.text else dataclasses.replace(document, text=text))
            self._positions.append(self._items)
            self._bytes += size
        return size

    def cleaned(self) -> pa.Table:
        """Returns the cleaned documents, in the order they were read; what is dropped is counted in `tally`."""
        kept: dict[int, Document] = {}
        together: dict[tuple[str, bool], list[int]] = {}
        for index, document in enumerate(self._documents):
            together.setdefault((document.source, document.language == NO_LANGUAGE), []).append(index)
        for (source, is_code), indices in together.items():
            kept.update(self._clean(source, indices, CODE_RULES if is_code else tuple(self._config.rules)))
        self._judge(kept)
        self._decontaminate(kept)
        languages = self._languages(kept)
        for index in sorted(kept) if self._config.languages else ():
            language = languages[index]
            if language != NO_LANGUAGE and not _covered(language, self._config.languages):
                self.ledger.position = self._positions[index]
                self.tally.drop_found(drop_of(kept[index], "language", language), kept[index].text)
                del kept[index]
        return pa.Table.from_pylist([_row(kept[index], languages[index]) for index in sorted(kept)], schema=SCHEMA)

    def _languages(self, kept: Mapping[int, Document]) -> dict[int, str]:
        """Returns the language of each document: what its source said, else what its text looks like."""
        languages = {index: document.language for index, document in kept.items()}
        unknown = [index for index, language in sorted(languages.items()) if not language]
        if unknown:
            found = identify_language([kept[index].text for index in unknown], num_threads=self._config.num_threads)
            for index, language, confidence in zip(unknown, found.languages, found.confidences, strict=True):
                languages[index] = language if confidence >= MIN_CONFIDENCE else UNDETERMINED
        return languages

    def _clean(self, source: str, indices: Sequence[int], rules: Sequence[Rule]) -> Iterator[tuple[int, Document]]:
        """Yields those documents of one source that the rules keep, in order."""
        documents = [self._documents[index] for index in indices]
        if not rules:
            yield from zip(indices, documents, strict=True)
            return
        result = clean(
            [document.text for document in documents], rules=list(rules), num_threads=self._config.num_threads
        )
        for name, times in result.changes.items():
            self.tally.count(source, "changes", name, 0, times)
        for index, document, text, reason, why in zip(
            indices, documents, result.texts, result.reasons, result.drops, strict=True
        ):
            if reason or not text.strip():
                rule, _, detail = (reason or "empty after cleaning").partition(": ")
                drop = drop_of(document, rule, detail)
                if why is not None:
                    drop = dataclasses.replace(drop, value=why.value, threshold=why.threshold, limit=why.limit)
                self.ledger.position = self._positions[index]
                self.tally.drop_found(drop, document.text)
                continue
            if text == document.text:
                yield index, document
                continue
            if text.strip() != document.text.strip():
                self.tally.count(document.source, "changed", "", len(text.encode()))
            yield index, dataclasses.replace(document, text=text)

    def _judge(self, kept: dict[int, Document]) -> None:
        """Takes out of `kept` the prose that the quality model does not want."""
        model = self._config.quality_model
        prose = [index for index in sorted(kept) if kept[index].language != NO_LANGUAGE]
        if model is None or not prose:
            return
        texts = [kept[index].text for index in prose]
        scores = judge.load(model.path).score(texts, label=model.label, num_threads=self._config.num_threads)
        for index, score in zip(prose, scores.tolist(), strict=True):
            if score < model.min_score:
                drop = drop_of(kept[index], loud.MODEL, f"score {score:.4f} < min_score {model.min_score}")
                drop = dataclasses.replace(drop, value=score, threshold="min_score", limit=model.min_score)
                self.ledger.position = self._positions[index]
                self.tally.drop_found(drop, kept.pop(index).text)

    def _decontaminate(self, kept: dict[int, Document]) -> None:
        """Takes out of `kept` what shares words with an evaluation set."""
        if not self._config.evaluation_sets or not kept:
            return
        sets = contamination.load(self._config.evaluation_sets, self._config.contamination_ngram)
        indices = sorted(kept)
        for hit in contamination.find([kept[index].text for index in indices], sets, self._config.num_threads):
            index = indices[hit.index]
            document = kept.pop(index)
            drop = dataclasses.replace(drop_of(document, contamination.REASON, hit.detail), value=hit.overlap)
            self.ledger.position = self._positions[index]
            self.tally.drop_found(drop, document.text)
            for file in hit.files:
                self.tally.count(document.source, "contaminated", file, drop.bytes)


def _covered(language: str, wanted: Sequence[str]) -> bool:
    tag = language.lower()
    return any(tag == name.lower() or tag.startswith(f"{name.lower()}-") for name in wanted)


def _addresses(document: Document) -> list[str]:
    """Returns the other addresses that a document says it has."""
    return [str(document.metadata[name]) for name in ("canonical", "url") if document.metadata.get(name)]


def _row(document: Document, language: str) -> dict[str, object]:
    return {
        "id": _encodable(document.id),
        "text": document.text,
        "source": document.source,
        "uri": _encodable(document.uri),
        "title": _encodable(" ".join(document.title.split())),
        "licence": document.licence,
        "language": language,
        "fetched_at": document.fetched_at,
        "metadata": json.dumps(document.metadata, ensure_ascii=True) if document.metadata else "{}",
    }


def _encodable(text: str) -> str:
    """Returns `text` with U+FFFD for each lone surrogate, which no file format holds."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
