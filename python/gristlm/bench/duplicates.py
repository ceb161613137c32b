"""A corpus whose near duplicates are known: copies with changed words, each with its true Jaccard similarity."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

NGRAM = 5
MIN_WORDS = 60
TARGETS = (0.70, 0.75, 0.80, 0.85, 0.90, 0.95)


@dataclass(frozen=True)
class Known:
    """Texts, and which of them were made from which."""

    texts: list[str]
    pairs: list[tuple[int, int, float]]
    """(copy, original, Jaccard similarity of their sets of word 5-grams)."""


def shingles(text: str) -> set[tuple[str, ...]]:
    """Returns the runs of five words of `text`."""
    words = text.split()
    return {tuple(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)}


def make(texts: Sequence[str], *, seed: int = 0) -> Known:
    """Returns `texts` with a changed copy of every second one of at least 60 words.

    Words at random places are replaced until the similarity is at most the target, which goes round `TARGETS`.
    """
    rng = random.Random(seed)
    out = list(texts)
    pairs: list[tuple[int, int, float]] = []
    for original in range(0, len(texts), 2):
        words = texts[original].split()
        if len(words) < MIN_WORDS:
            continue
        left, target = shingles(texts[original]), TARGETS[len(pairs) % len(TARGETS)]
        similarity = 1.0
        while similarity > target:
            words[rng.randrange(len(words))] = f"changed{rng.randrange(10**9)}"
            right = shingles(" ".join(words))
            similarity = len(left & right) / len(left | right)
        pairs.append((len(out), original, similarity))
        out.append(" ".join(words))
    return Known(out, pairs)
