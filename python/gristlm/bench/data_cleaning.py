"""Rows of cleaning, and the definitions in Python that the exact steps are measured against."""

from __future__ import annotations

import functools
import hashlib
import importlib
import random
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from gristlm import cleaning
from gristlm.bench import language_peers, language_texts
from gristlm.bench.frame import OURS, BenchTable, Contender

QUALITY = {
    "gopher_quality": "GopherQualityFilter",
    "gopher_repetition": "GopherRepetitionFilter",
    "c4": "C4QualityFilter",
    "fineweb": "FineWebQualityFilter",
}
EQUAL = 0.99
"""The share of decisions that must be datatrove's."""


def measure(table: BenchTable, texts: list[str], datatrove: Any, peers: Sequence[str] | None) -> None:
    """Adds the rows of quality rules, personal data and language."""
    quality(table, texts, datatrove)
    personal_data(table, texts, datatrove)
    labelled = language_texts.read()
    if len(labelled) < 5:
        table.skipped["language"] = "no translated messages (LC_MESSAGES/*.mo) of five languages on this machine"
        return
    language_peers.measure(table, labelled, peers)


def quality(table: BenchTable, texts: list[str], datatrove: Any) -> None:
    """Adds the row of all four rules; a document counts as kept where every rule alone keeps it."""

    def ours() -> list[bool]:
        return [bool(kept) for kept in cleaning.clean(texts, rules=list(QUALITY), num_threads=1).keep]

    mine = ours()
    rows = [Contender[None](OURS, lambda: None, lambda _: ours(), result=lambda _: True)]
    if datatrove is not None:
        filters, document = importlib.import_module("datatrove.pipeline.filters"), _document()
        judges = [getattr(filters, name)() for name in QUALITY.values()]

        def theirs() -> list[bool]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return [all(_keeps(judge, page) for judge in judges) for page in map(document, texts)]

        def equal(found: Any) -> bool:
            return bool(sum(a == b for a, b in zip(found, mine, strict=True)) >= EQUAL * len(mine))

        rows.append(Contender("datatrove", lambda: None, lambda _: theirs(), result=equal))
    table.compare("quality rules", sum(len(text.encode()) for text in texts), rows)


def _document() -> Callable[[str], Any]:
    return functools.partial(importlib.import_module("datatrove.data").Document, id="")


def _keeps(judge: Any, page: Any) -> bool:
    try:
        return judge.filter(page) is True  # C4's takes the lines out of the page, as ours does
    except (ZeroDivisionError, IndexError, ValueError):
        return False


def personal_data(table: BenchTable, texts: list[str], datatrove: Any) -> None:
    """Adds the row of personal data: no planted address is left."""
    rng = random.Random(0)
    planted = [f"person{number}@mail{number % 7}.example.org" for number in range(len(texts))]
    planted_ips = [f"8.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}" for _ in texts]
    pages = [
        f"{text[: len(text) // 2]} Write to {email} from {ip} now. {text[len(text) // 2 :]}"
        if number % 5 == 0
        else text
        for number, (text, email, ip) in enumerate(zip(texts, planted, planted_ips, strict=True))
    ]
    secrets = re.compile("|".join(map(re.escape, [*planted, *planted_ips])))

    def clean(found: Any) -> bool:
        if any(secrets.search(page) for page in found):
            raise AssertionError("a planted address is left")
        return True

    def ours() -> list[str]:
        return cleaning.clean(pages, rules=["personal_data"], num_threads=1).texts

    rows = [Contender[None](OURS, lambda: None, lambda _: ours(), result=clean, note="eight kinds")]
    if datatrove is not None:
        replacer = importlib.import_module("datatrove.pipeline.formatters").PIIFormatter()
        rows.append(
            Contender(
                "datatrove",
                lambda: None,
                lambda _: [replacer.format(page) for page in pages],
                result=clean,
                note="e-mail and IPv4",
            )
        )
    table.compare("personal data and secrets", sum(len(page.encode()) for page in pages), rows)


def unique_documents(texts: Sequence[str]) -> list[bool]:
    """Returns which texts stand for the first time, by a set of hashes."""
    seen: set[bytes] = set()
    keep = []
    for text in texts:
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        keep.append(digest not in seen)
        seen.add(digest)
    return keep


def unique_lines(texts: Sequence[str]) -> list[str]:
    """Returns the texts without lines that stood before; blank ones stay."""
    seen: set[str] = set()
    left = []
    for text in texts:
        lines = []
        for line in text.split("\n"):
            stripped = line.rstrip()
            if not stripped or stripped not in seen:
                seen.add(stripped)
                lines.append(line + "\n")
        left.append("".join(lines)[: -1 if lines and lines[-1] == text[text.rfind("\n") + 1 :] + "\n" else None])
    return left


def contaminated(texts: Sequence[str], against: Sequence[str], ngram: int = 13) -> list[int]:
    """Returns the numbers of the texts that share a run of `ngram` words with one of `against`."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"[^\W_]+", text.lower())
        return {tuple(words[at : at + ngram]) for at in range(len(words) - ngram + 1)}

    wanted = set().union(*map(runs, against))
    return [number for number, text in enumerate(texts) if not wanted.isdisjoint(runs(text))]
