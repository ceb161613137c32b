"""Rows of cleaning and deduplication: one thread, what each step finds asserted before it is timed."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gristlm import cleaning, dedup
from gristlm.bench import duplicates
from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.errors import InputError

PEERS = ("datasketch", "py3langid", "rensa")
NUM_PERM, THRESHOLD = 112, 0.8
MAX_DOCUMENTS = 600
LIKELY = 0.85
"""Of pairs at least this similar, 14 bands of 8 find 97 % and more."""
QUALITY = ("gopher_quality", "gopher_repetition", "c4", "fineweb")


def measure(table: BenchTable, texts: list[str], vocabulary: Path | None, peers: Sequence[str] | None) -> None:
    """Adds every row to `table`; `vocabulary` plays no part here.

    Raises:
        InputError: a name in `peers` is unknown.
    """
    del vocabulary
    for name in peers or ():
        if name not in PEERS:
            raise InputError(f"peers has {name!r}; known are {', '.join(PEERS)}")
    modules = {name: module for name in PEERS if (module := _load(name, peers, table)) is not None}
    known = duplicates.make(texts[:MAX_DOCUMENTS])
    size = sum(len(text.encode()) for text in known.texts)
    table.text = f"{table.text}; {len(known.pairs)} known near duplicates added; one thread"

    near = [
        Contender[None](
            OURS,
            prepare=lambda: None,
            run=lambda _: dedup.minhash(known.texts, threshold=THRESHOLD, num_threads=1),
            result=lambda found: isinstance(found, dedup.MinHashResult) and _recalls(known, found),
        )
    ]
    if "datasketch" in modules:
        find = functools.partial(_datasketch, modules["datasketch"], known)
        near.append(_row(find, "datasketch", note="candidates, not verified"))
    if "rensa" in modules:
        find = functools.partial(_rensa, modules["rensa"], known)
        near.append(_row(find, "rensa", note="candidates, not verified; runs of words made in Python"))
    table.compare("near duplicates, end to end", size, near, rounds=2)

    language = [_row(lambda: cleaning.identify_language(known.texts, num_threads=1).languages[0] != "")]
    if "py3langid" in modules:
        classify = modules["py3langid"].classify
        language.append(_row(lambda: all(classify(text)[0] for text in known.texts), "py3langid"))
    table.compare("language", size, language, rounds=2)

    alone: dict[str, Callable[[], object]] = {
        "MinHash signatures, 112": lambda: len(dedup.signatures(known.texts, num_perm=NUM_PERM, num_threads=1)),
        "exact, document": lambda: bool(dedup.exact(known.texts, num_threads=1).keep.any()),
        "exact, line": lambda: bool(dedup.exact(known.texts, unit="line", num_threads=1).keep.any()),
        "repeated substrings, 200 bytes": lambda: len(dedup.substrings(known.texts, num_threads=1).spans),
        "contamination, 13 words": lambda: len(dedup.contamination(known.texts, texts[:20], num_threads=1).hits),
        "quality rules": lambda: len(cleaning.clean(known.texts, rules=QUALITY, num_threads=1).reasons),
        "personal data and secrets": lambda: len(
            cleaning.clean(known.texts, rules=["personal_data"], num_threads=1).texts
        ),
    }
    for task, run in alone.items():
        table.compare(task, size, [_row(run)], rounds=2)


def _row(run: Callable[[], object], library: str = OURS, note: str = "") -> Contender[None]:
    return Contender(library, prepare=lambda: None, run=lambda _: run(), note=note)


def _load(name: str, peers: Sequence[str] | None, table: BenchTable) -> Any:
    if peers is not None and name not in peers:
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        table.skipped[name] = "not installed"
        return None


def _recalls(known: duplicates.Known, found: dedup.MinHashResult) -> bool:
    """Whether the likely pairs were found, and every drop is as similar as it says."""
    likely = [copy for copy, _, similarity in known.pairs if similarity >= LIKELY]
    missed = [copy for copy in likely if found.keep[copy]]
    for copy in (~found.keep).nonzero()[0]:
        left, right = (duplicates.shingles(known.texts[at]) for at in (copy, found.twin[copy]))
        if left | right:
            assert len(left & right) / len(left | right) >= THRESHOLD
    return len(missed) <= 0.06 * len(likely)


def _datasketch(module: Any, known: duplicates.Known) -> bool:
    index = module.MinHashLSH(params=(14, 8), num_perm=NUM_PERM)
    found = set()
    for at, text in enumerate(known.texts):
        signed = module.MinHash(num_perm=NUM_PERM)
        signed.update_batch([" ".join(run).encode() for run in duplicates.shingles(text)])
        if index.query(signed):
            found.add(at)
        index.insert(at, signed)
    return _finds(known, found)


def _rensa(module: Any, known: duplicates.Known) -> bool:
    index = module.RMinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM, num_bands=14)
    found = set()
    for at, text in enumerate(known.texts):
        signed = module.RMinHash(num_perm=NUM_PERM, seed=1)
        signed.update([" ".join(run) for run in duplicates.shingles(text)])
        if index.query(signed):
            found.add(at)
        index.insert(at, signed)
    return _finds(known, found)


def _finds(known: duplicates.Known, found: set[int]) -> bool:
    likely = [copy for copy, _, similarity in known.pairs if similarity >= LIKELY]
    return len([copy for copy in likely if copy not in found]) <= 0.06 * len(likely)
