"""How far annotators agree beyond chance: on which answer is better, and on ratings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from gristlm.serve.label.comparisons import comparisons
from gristlm.serve.label.project import Vote

Judgements = Mapping[Hashable, Mapping[str, str]]
"""By question: what each annotator judged."""


def judgements(votes: Sequence[Vote]) -> dict[Hashable, dict[str, str]]:
    """Returns which of two answers each annotator preferred; of a ranking for each two of its answers."""
    table: dict[Hashable, dict[str, str]] = {}
    for vote in votes:
        for first, second, preferred in comparisons(vote):
            table.setdefault((vote.pair, first, second), {})[vote.annotator] = preferred
    return table


def rated(votes: Sequence[Vote]) -> dict[Hashable, dict[str, str]]:
    """Returns the ratings that annotators gave."""
    table: dict[Hashable, dict[str, str]] = {}
    for vote in votes:
        if vote.rating is not None:
            table.setdefault(vote.pair, {})[vote.annotator] = str(vote.rating)
    return table


def nominal(one: str, other: str) -> float:
    """Returns 0 for the same judgement, else 1."""
    return float(one != other)


def interval(one: str, other: str) -> float:
    """Returns the squared difference of two ratings: Krippendorff's interval metric."""
    return (float(one) - float(other)) ** 2


def cohen_kappa(table: Judgements, first: str, second: str) -> float | None:
    """Returns the agreement of two annotators on the pairs that both judged.

    (observed - expected) / (1 - expected), expected from each one's own frequencies: Cohen, A coefficient of agreement
    for nominal scales, 1960. 1 is full agreement, 0 is chance; None where both always said the same one thing, or where
    they share no pair: there is nothing to measure then.
    """
    both = [(row[first], row[second]) for row in table.values() if first in row and second in row]
    if not both:
        return None
    count = len(both)
    left, right = Counter(a for a, _ in both), Counter(b for _, b in both)
    observed = sum(a == b for a, b in both) / count
    expected = sum(left[value] * right[value] for value in left) / count**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(table: Judgements, distance: Callable[[str, str], float] = nominal) -> float | None:
    """Returns the agreement of any number of annotators, each of whom judged some of the pairs.

    1 - observed / expected disagreement, from the coincidence matrix: Krippendorff, Content Analysis, 3rd edition,
    2013, ch. 12, with disagreement as `distance` measures it. None where no pair has two judgements or all
    judgements are the same.
    """
    observed = 0.0
    totals: Counter[str] = Counter()
    for row in table.values():
        if (size := len(row)) < 2:
            continue
        counts = Counter(row.values())
        totals.update(counts)
        observed += _disagreement(counts, distance) / (size - 1)
    count = sum(totals.values())
    if count == 0:
        return None
    expected = _disagreement(totals, distance) / (count - 1)
    return None if expected == 0 else 1 - observed / expected


def _disagreement(counts: Mapping[str, int], distance: Callable[[str, str], float]) -> float:
    return sum(n * m * distance(one, other) for one, n in counts.items() for other, m in counts.items())
