"""What the page of progress shows: each annotator's counts and pace, agreement, and how good the models are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import combinations

from gristlm.serve.label import agreement
from gristlm.serve.label.pairs import Pair
from gristlm.serve.label.project import Project, Vote
from gristlm.serve.label.ratings import ratings


def figures(project: Project, *, models: bool) -> dict[str, object]:
    """Returns the figures of a project; the models' only where `models`, for they end the blindness."""
    votes, pairs = project.votes(), project.pairs()
    gold = {number: pair.gold for number, pair in pairs.items() if pair.gold is not None}
    table = agreement.judgements([vote for vote in votes if vote.pair not in gold])
    names = sorted({vote.annotator for vote in votes})
    return {
        "annotators": [_annotator(name, [vote for vote in votes if vote.annotator == name], gold) for name in names],
        "cohen_kappa": [
            {
                "annotators": [first, second],
                "pairs": sum(first in row and second in row for row in table.values()),
                "kappa": agreement.cohen_kappa(table, first, second),
            }
            for first, second in combinations(names, 2)
        ],
        "krippendorff_alpha": agreement.krippendorff_alpha(table),
        "rating_alpha": agreement.krippendorff_alpha(agreement.rated(votes), agreement.interval),
        "rated": _rated(votes, pairs) if models else [],
        "models": [dataclasses.asdict(row) for row in ratings(votes, pairs)] if models else [],
    }


def _rated(votes: Sequence[Vote], pairs: Mapping[int, Pair]) -> list[dict[str, object]]:
    """Returns the mean rating of each model, the best first."""
    given: dict[str, list[int]] = {}
    for vote in votes:
        if vote.rating is not None:
            given.setdefault(pairs[vote.pair].model_a or "not named", []).append(vote.rating)
    rows = [(sum(values) / len(values), name, len(values)) for name, values in given.items()]
    return [{"model": name, "mean": mean, "count": count} for mean, name, count in sorted(rows, reverse=True)]


def _annotator(name: str, own: Sequence[Vote], gold: dict[int, str]) -> dict[str, object]:
    counts = {choice: sum(vote.preferred == choice for vote in own) for choice in ("tie", "both_bad", "skip")}
    decided = [vote for vote in own if vote.preferred in ("a", "b")]
    seconds = sorted(vote.seconds for vote in own)
    asked = [vote.preferred == gold[vote.pair] for vote in own if vote.pair in gold and vote.preferred != "skip"]
    return {
        "name": name,
        "votes": len(own) - counts["skip"],
        **counts,
        **{choice: sum(vote.preferred == choice for vote in own) for choice in ("ranked", "rated")},
        "left": sum(vote.preferred == vote.left_answer for vote in decided),
        "right": sum(vote.preferred != vote.left_answer for vote in decided),
        "median_seconds": seconds[len(seconds) // 2],
        "gold_asked": len(asked),
        "gold_right": sum(asked),
    }
