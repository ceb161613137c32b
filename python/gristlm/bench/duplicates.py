"""Corpora whose near duplicates are known: given texts with changed copies, and made-up ones of exact similarity."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

NGRAM = 5
MIN_WORDS = 60
TARGETS = (0.70, 0.75, 0.80, 0.85, 0.90, 0.95)

WORDS = 83
"""Different words of a made-up text: 79 runs of five."""
BINS = {0.70: 9, 0.75: 6, 0.80: 3, 0.85: 1}
"""Of each bin, how many words in a row are changed: r of them change r + 4 runs of 79 on either side, which leaves a
Jaccard similarity of (79 - r - 4) / (79 + r + 4): 0.717, 0.775, 0.837 and 0.881."""
UNLIKE = 16
"""Words changed in copies that are no duplicates: a similarity of 0.596."""


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


def similarity(left: str, right: str) -> float:
    """Returns the Jaccard similarity of two texts' runs of five words; 1 where neither has any."""
    a, b = shingles(left), shingles(right)
    return len(a & b) / len(a | b) if a | b else 1.0


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
        similar = 1.0
        while similar > target:
            words[rng.randrange(len(words))] = f"changed{rng.randrange(10**9)}"
            right = shingles(" ".join(words))
            similar = len(left & right) / len(left | right)
        pairs.append((len(out), original, similar))
        out.append(" ".join(words))
    return Known(out, pairs)


def exact_similarities(pairs_per_bin: int, *, seed: int = 0) -> dict[float, Known]:
    """Returns a corpus for each bin, and one under 0.0 whose pairs are below every bin.

    All words are different, so a text resembles its copy alone. The texts are in random order.
    """
    rng = random.Random(seed)
    return {
        bin_: _bin(pairs_per_bin, changed, f"{number}", rng)
        for number, (bin_, changed) in enumerate([(0.0, UNLIKE), *BINS.items()])
    }


def _bin(count: int, changed: int, name: str, rng: random.Random) -> Known:
    order = list(range(2 * count))
    rng.shuffle(order)
    texts, pairs = [""] * (2 * count), []
    share = (WORDS - NGRAM + 1 - changed - NGRAM + 1) / (WORDS - NGRAM + 1 + changed + NGRAM - 1)
    for number in range(count):
        words = [f"b{name}n{number}r{rng.randrange(10**4)}w{at}" for at in range(WORDS)]
        start = rng.randrange(NGRAM - 1, WORDS - changed - NGRAM + 2)
        copy = [*words[:start], *(f"{word}x" for word in words[start : start + changed]), *words[start + changed :]]
        first, second = sorted(order[2 * number : 2 * number + 2])
        texts[first], texts[second] = " ".join(words), " ".join(copy)
        pairs.append((second, first, share))
    return Known(texts, pairs)
