"""Rows of deduplication and, through `data_cleaning`, of cleaning; one thread, results asserted before timing."""

from __future__ import annotations

import functools
import importlib
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristlm import dedup
from gristlm.bench import data_cleaning, duplicate_peers, duplicates, language_peers
from gristlm.bench.frame import OURS, BenchTable, Contender, Row
from gristlm.errors import InputError

PEERS = (*duplicate_peers.FINDERS, "python", *language_peers.PEERS)
NOT_HERE = {
    "text-dedup": "its package holds urllib3 and rich at old versions, so it cannot be installed beside the rest",
    "Google's deduplicate-text-datasets": "a program of its own; not on a package registry",
    "decon, minhash-rs, whatlang, whichlang": "Rust, without a Python package",
}
"""Peers of the published tables that cannot take part, and why."""
NUM_PERM, THRESHOLD = duplicate_peers.NUM_PERM, 0.8
MAX_DOCUMENTS = 600
LIKELY = 0.85
"""Of pairs at least this similar, 14 bands of 8 find 97 % and more."""
PAIRS = 6000
"""Of each bin of the recall."""
FLOORS = {0.70: 0.63, 0.75: 0.85, 0.80: 0.97, 0.85: 0.998}
"""The recall that the best peers reach in each bin with the same bands."""


def measure(table: BenchTable, texts: list[str], vocabulary: Path | None, peers: Sequence[str] | None) -> None:
    """Adds every row to `table`; `vocabulary` plays no part here.

    Raises:
        InputError: a name in `peers` is unknown.
    """
    del vocabulary
    for name in peers or ():
        if name not in PEERS:
            raise InputError(f"peers has {name!r}; known are {', '.join(PEERS)}")
    table.skipped |= NOT_HERE
    modules = {name: module for name in duplicate_peers.FINDERS if (module := load(name, peers, table)) is not None}
    python = peers is None or "python" in peers
    known = duplicates.make(texts[:MAX_DOCUMENTS])
    size = sum(len(text.encode()) for text in known.texts)
    table.text = f"{table.text}; {len(known.pairs)} known near duplicates added; one thread"
    signatures(table, known, size, modules)
    near_duplicates(table, known, size, modules)
    recall(table, {name: duplicate_peers.finder(name, of) for name, of in modules.items() if name != "datatrove"})
    exact(table, texts, python)
    spans(table, known, texts, size, python)
    data_cleaning.measure(table, texts, modules.get("datatrove"), peers)


def load(name: str, peers: Sequence[str] | None, table: BenchTable) -> Any:
    """Returns the module called `name`, or None, and then says why in the table."""
    if peers is not None and name not in peers:
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        table.skipped[name] = "not installed"
        return None


def row(
    run: Callable[[], object], check: Callable[[Any], object], library: str = OURS, note: str = ""
) -> Contender[None]:
    """Returns a contender whose result is what `check` makes of what `run` returns."""
    return Contender(library, prepare=lambda: None, run=lambda _: run(), result=check, note=note)


def must(fact: bool, what: str) -> bool:
    """Raises AssertionError where `what` is not so: a step that is wrong is not timed."""
    if not fact:
        raise AssertionError(what)
    return True


def signatures(table: BenchTable, known: duplicates.Known, size: int, modules: dict[str, Any]) -> None:
    """Adds the row of signatures: from each, the similarity of the known pairs is estimated rightly."""

    def estimates(matrix: Any) -> bool:
        signed = np.asarray(matrix)
        errors = [float((signed[a] == signed[b]).mean()) - similar for a, b, similar in known.pairs]
        return must(abs(float(np.mean(errors))) < 0.02, "the signatures estimate the known similarities wrongly")

    rows = [row(lambda: dedup.signatures(known.texts, num_perm=NUM_PERM, num_threads=1), estimates)]
    if of := modules.get("datasketch"):
        sign = functools.partial(duplicate_peers.datasketch_sign, of, known.texts)
        rows.append(row(sign, lambda signed: estimates([each.digest() for each in signed]), "datasketch"))
    if of := modules.get("rensa"):
        sign = functools.partial(duplicate_peers.rensa_sign, of, known.texts)
        rows.append(row(sign, lambda signed: estimates(signed.to_rows()), "rensa"))
    if of := modules.get("gaoya"):
        index = functools.partial(duplicate_peers.gaoya_sign, of, known.texts)
        rows.append(row(index, lambda count: count == len(known.texts), "gaoya", "indexes them, too"))
    if "datatrove" in modules:
        matrix = functools.partial(duplicate_peers.datatrove_sign, duplicate_peers.datatrove_signer(), known.texts)
        rows.append(row(matrix, lambda signed: signed.shape == (len(known.texts), NUM_PERM), "datatrove", "lower case"))
    table.compare(f"MinHash signatures, {NUM_PERM}", size, rows)


def near_duplicates(table: BenchTable, known: duplicates.Known, size: int, modules: dict[str, Any]) -> None:
    """Adds the row of near deduplication, from a file to a file where pyarrow is here, and as a call."""
    likely = [copy for copy, _, similar in known.pairs if similar >= LIKELY]

    def finds(found: set[int]) -> bool:
        missed = sum(copy not in found for copy in likely)
        return must(missed <= 0.06 * len(likely), f"{missed} of {len(likely)} likely pairs were missed")

    def verified(found: dedup.MinHashResult) -> bool:
        dropped = (~found.keep).nonzero()[0].tolist()
        for copy in dropped:
            similar = duplicates.similarity(known.texts[copy], known.texts[int(found.twin[copy])])
            must(similar >= THRESHOLD, f"a pair of similarity {similar} was dropped")
        return finds(set(dropped))

    def call() -> dedup.MinHashResult:
        return dedup.minhash(known.texts, threshold=THRESHOLD, num_threads=1)

    others = [
        row(functools.partial(duplicate_peers.finder(name, of), known.texts), finds, name, "candidates, not verified")
        for name, of in modules.items()
    ]
    table.compare("near duplicates", size, [row(call, verified), *others], rounds=2)
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        table.skipped["near duplicates, file to file"] = "pyarrow is not installed"
        return
    with tempfile.TemporaryDirectory(prefix="gristlm-bench-") as folder:
        parquet.write_table(arrow.table({"text": known.texts}), f"{folder}/in.parquet")

        def files() -> dedup.MinHashResult:
            read = parquet.read_table(f"{folder}/in.parquet", use_threads=False)
            found = dedup.minhash(read["text"], threshold=THRESHOLD, num_threads=1)
            parquet.write_table(read.filter(arrow.array(found.keep)), f"{folder}/out.parquet")
            return found

        table.compare("near duplicates, file to file", size, [row(files, verified)])


def recall(table: BenchTable, finders: dict[str, duplicate_peers.Find]) -> None:
    """Adds a row for each bin of similarity: the share of its pairs that is found; and the precision of each library.

    Raises:
        AssertionError: we find less than the floor of a bin by more than two standard errors, or drop a text that
            resembles none.
    """
    corpora = duplicates.exact_similarities(PAIRS)

    def ours(texts: Sequence[str]) -> set[int]:
        found = dedup.minhash(texts if isinstance(texts, list) else list(texts), threshold=min(FLOORS), num_threads=1)
        return set((~found.keep).nonzero()[0].tolist())

    shares: dict[str, dict[float, float]] = {}
    for name, find in {OURS: ours, **finders}.items():
        found = {bin_: find(known.texts) for bin_, known in corpora.items()}
        shares[name] = {
            bin_: sum(copy in found[bin_] for copy, _, _ in known.pairs) / PAIRS for bin_, known in corpora.items()
        }
    for bin_, floor in FLOORS.items():
        similar = corpora[bin_].pairs[0][2]
        task = f"pairs of similarity {similar:.3f} found"
        least = floor - 2 * (floor * (1 - floor) / PAIRS) ** 0.5  # which pairs are found is a matter of chance
        must(shares[OURS][bin_] >= least, f"{task}: {shares[OURS][bin_]:.4f}, under the floor of {floor}")
        for name, share in shares.items():
            ratio = shares[OURS][bin_] / max(share[bin_], 1e-9)
            table.rows.append(Row(task, name, PAIRS / 1e6, share[bin_], share[bin_], ratio, f"floor {floor}", "%"))
    must(shares[OURS][0.0] == 0, "a text that resembles none was dropped")
    for name, share in shares.items():
        true = sum(share[bin_] for bin_ in FLOORS)
        precision = true / max(true + share[0.0], 1e-9)
        table.rows.append(Row("precision", name, PAIRS / 1e6, precision, precision, 1 / max(precision, 1e-9), "", "%"))


def exact(table: BenchTable, texts: list[str], python: bool) -> None:
    """Adds the rows of equal documents and lines, beside a set of hashes in Python."""
    rng = random.Random(0)
    texts = [*texts, *rng.sample(texts, len(texts) // 5)]
    size = sum(len(text.encode()) for text in texts)
    documents = [row(lambda: dedup.exact(texts, num_threads=1), lambda found: found.keep.tolist())]
    lines = [row(lambda: dedup.exact(texts, unit="line", num_threads=1), lambda found: dedup.cut(texts, found))]
    if python:
        documents.append(row(lambda: data_cleaning.unique_documents(texts), list, "python", "a set of BLAKE2b"))
        lines.append(row(lambda: data_cleaning.unique_lines(texts), list, "python", "a set of lines"))
    table.compare("exact, document", size, documents)
    table.compare("exact, line", size, lines)


def spans(table: BenchTable, known: duplicates.Known, texts: list[str], size: int, python: bool) -> None:
    """Adds the rows of repeated substrings and of contamination, beside the definition in Python."""

    def cuts(found: dedup.SpanResult) -> bool:
        again = dedup.substrings(dedup.cut(known.texts, found), num_threads=1)
        # What is left beside a cut may make a new repetition; hardly any does.
        return must(len(found.spans) > 0 and len(again.spans) <= 0.05 * len(found.spans), "repetitions are left")

    def found_any(found: dedup.SpanResult) -> bool:
        return must(len(found.spans) > 0, "no repetition was found")

    table.compare(
        "repeated substrings, 200 bytes", size, [row(lambda: dedup.substrings(known.texts, num_threads=1), cuts)]
    )
    tokens = row(lambda: dedup.substrings(known.texts, min_tokens=50, num_threads=1), found_any)
    table.compare("repeated substrings, 50 tokens", size, [tokens])
    against = [" ".join(text.split()[:60]) for text in texts[:: max(1, len(texts) // 200)]]
    rows = [
        row(
            lambda: dedup.contamination(known.texts, against, num_threads=1),
            lambda found: found.contaminated.nonzero()[0].tolist(),
        )
    ]
    if python:
        rows.append(row(lambda: data_cleaning.contaminated(known.texts, against), list, "python", "sets of tuples"))
    table.compare("contamination, 13 words", size, rows, unit="µs/doc", calls=len(known.texts))
