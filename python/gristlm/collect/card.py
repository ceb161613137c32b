"""The data card: what the kept documents are, by source, domain, licence, language and year, and how diverse.

The figures go into `report.json` (from where a run's report draws them) and, for people, into `data_card.md`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from gristlm import _core
from gristlm.collect.report import Tally

AXES = ("source", "domain", "licence", "language", "year")
CURVE_WORDS = 1 << 20  # of the type-token curve: the set of types stays in memory
MAX_ROWS = 25
_HOST = re.compile(r"https?://([a-z0-9.-]+)(?:/|$)")  # as nearly all are spelled; the rest is taken apart
_URL = re.compile(r'"url": "(https?://[^"\\]+)"')
Amounts = dict[str, list[int]]  # name to documents, bytes, words


class Card:
    """Counts documents as they are written."""

    def __init__(self) -> None:
        self._by: dict[str, Amounts] = {axis: {} for axis in AXES}
        self._texts: dict[bool, list[pa.ChunkedArray]] = {False: [], True: []}  # of the type-token curve
        self._words = {False: 0, True: 0}

    def add(self, table: pa.Table, *, heldout: bool) -> None:
        """Counts documents that are written, in their order."""
        texts = table.column("text")
        words = _core.count_words(texts)
        if self._words[heldout] < CURVE_WORDS:
            self._texts[heldout].append(texts)
            self._words[heldout] += int(words.sum())
        uris, metadata = (table.column(name).to_pylist() for name in ("uri", "metadata"))
        counted = table.select([name for name in AXES if name in table.column_names])
        counted = counted.append_column("domain", [list(map(_domain, uris, metadata))])
        counted = counted.append_column("year", [list(map(_year, metadata))])
        counted = counted.append_column("bytes", pc.binary_length(texts)).append_column("words", [words])
        sums = [("bytes", "count"), ("bytes", "sum"), ("words", "sum")]
        for axis in AXES:
            grouped = counted.group_by(axis, use_threads=False).aggregate(sums)
            for name, *more in zip(*(column.to_pylist() for column in grouped.columns), strict=True):
                amounts = self._by[axis].setdefault(name, [0, 0, 0])
                for index, amount in enumerate(more):
                    amounts[index] += amount

    def figures(self, tally: Tally) -> dict[str, object]:
        """Returns the figures of all documents.

        `by`: for each of `AXES`, name to `documents`, `bytes` and `words`, most bytes first. The domain is the host of
        a document's address on the web, "" where it has none; the year is that of its own date, "unknown" where it has
        none; words are what white space separates. `diversity`: `entropy_bits` (Shannon, of the shares in bytes) and
        `largest_share` over sources and domains (of what has one; None where nothing has), `type_token` (words read,
        distinct ones in lower case, at powers of two of the first 2^20 words, held-out documents last), and
        `near_duplicate_share` of all documents found.
        """
        by = self._by
        named = {"source": by["source"], "domain": {name: each for name, each in by["domain"].items() if name}}
        found, near = tally.total("found").documents, tally.total("dropped", "near duplicate").documents
        chunks = [chunk for held in (False, True) for texts in self._texts[held] for chunk in texts.chunks]
        curve = _core.type_token_curve(pa.chunked_array(chunks, pa.large_string()), CURVE_WORDS)
        return {
            "by": {axis: _sorted(amounts) for axis, amounts in by.items()},
            "diversity": {
                "entropy_bits": {axis: entropy(_bytes(each)) if each else None for axis, each in named.items()},
                "largest_share": {axis: largest_share(_bytes(each)) if each else None for axis, each in named.items()},
                "type_token": [list(point) for point in curve],
                "near_duplicate_share": round(near / found, 6) if found else 0.0,
            },
        }


def entropy(amounts: Iterable[int]) -> float:
    """Returns the Shannon entropy of shares, in bits: 0 for one, log2(n) for n equal ones."""
    positive = [amount for amount in amounts if amount > 0]
    whole = sum(positive)
    return round(math.fsum(-each / whole * math.log2(each / whole) for each in positive) + 0.0, 6) if whole else 0.0


def largest_share(amounts: Iterable[int]) -> float:
    """Returns the share of the largest, 0 of nothing."""
    listed = list(amounts)
    return round(max(listed, default=0) / (sum(listed) or 1), 6)


def markdown(report: Mapping[str, object]) -> str:
    """Returns the data card of a finished `report.json` (with the figures of a `Card` in it)."""
    total = cast("dict[str, dict[str, object]]", report["total"])
    kept, found = total["kept"], total["found"]
    lines = [
        "# Data card", "",
        f"{kept['documents']:,} documents, {kept['bytes']:,} bytes of text, kept of {found['documents']:,} found.", "",
    ]  # fmt: skip
    by = cast("dict[str, dict[str, dict[str, int]]]", report["by"])
    for axis in AXES:
        rows = [(name or "none", *amounts.values()) for name, amounts in by[axis].items()]
        lines += [f"## By {axis}", "", *_table((axis, "documents", "bytes", "words"), rows), ""]
    diversity = cast("dict[str, object]", report["diversity"])
    entropies = cast("dict[str, float | None]", diversity["entropy_bits"])
    shares = cast("dict[str, float]", diversity["largest_share"])
    rows = [
        (axis, "none", "none") if bits is None else (axis, f"{bits:.2f}", f"{100 * shares[axis]:.1f} %")
        for axis, bits in entropies.items()
    ]
    lines += ["## Diversity", "", *_table(("over", "entropy (bits)", "share of the largest"), rows), ""]
    lines += [f"Near duplicates: {100 * cast('float', diversity['near_duplicate_share']):.2f} % of what was found.", ""]
    curve = cast("list[list[int]]", diversity["type_token"])
    lines += [*_table(("words read", "distinct words"), [tuple(point) for point in curve]), ""]
    changes = cast("dict[str, int]", total["changes"])
    lines += ["## Changed by cleaning", "", *_table(("rule", "texts, lines or places"), list(changes.items())), ""]
    dropped = cast("dict[str, dict[str, int]]", total["dropped"])
    lines += [
        "## Dropped",
        "",
        *_table(("reason", "documents", "bytes"), [(k, *v.values()) for k, v in dropped.items()]),
    ]
    for reason, examples in cast("dict[str, list[dict[str, str]]]", report["examples"]).items():
        lines += ["", f"### {_cell(reason)}", ""]
        lines += [
            f"- `{_cell(each['uri']).replace('`', '')}` {_cell(each['detail'])}".rstrip() for each in examples[:10]
        ]
    return "\n".join(lines) + "\n"


def _domain(uri: str, metadata: str) -> str:
    if not uri.startswith(("http://", "https://")):
        told = _URL.search(metadata)  # of a row of a file, or of a page that was saved
        if told is None:
            return ""
        uri = told[1]
    plain = _HOST.match(uri)
    if plain:
        return plain[1]
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""


def _year(metadata: str) -> str:
    date = str(json.loads(metadata).get("date") or "") if '"date"' in metadata else ""
    return date[:4] if date[:4].isdecimal() and date[:4].isascii() and date[4:5] in ("", "-") else "unknown"


def _bytes(amounts: Amounts) -> list[int]:
    return [each[1] for each in amounts.values()]


def _sorted(amounts: Amounts) -> dict[str, dict[str, int]]:
    ordered = sorted(amounts.items(), key=lambda item: (-item[1][1], item[0]))
    return {name: dict(zip(("documents", "bytes", "words"), each, strict=True)) for name, each in ordered}


def _table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    shown = [
        tuple(f"{cell:,}" if isinstance(cell, int) else _cell(str(cell)) for cell in row) for row in rows[:MAX_ROWS]
    ]
    if len(rows) > MAX_ROWS:
        shown.append((f"{len(rows) - MAX_ROWS:,} more", *[""] * (len(header) - 1)))
    return [f"| {' | '.join(row)} |" for row in (header, ("---", *["---:"] * (len(header) - 1)), *shown)]


def _cell(words: str) -> str:
    """Returns words on one line that no table or markup of Markdown breaks at."""
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;")[:300]
