"""Which of two answers a vote prefers: one comparison of a pair, one for each two answers of a ranking."""

from __future__ import annotations

from itertools import combinations

from gristlm.serve.label.project import Vote


def comparisons(vote: Vote) -> list[tuple[int, int, str]]:
    """Returns (first answer, second answer, preferred) for each comparison; skips and ratings compare nothing.

    `preferred` is "a" where the first is better, "b" where the second is, "tie" or, of a pair, "both_bad".
    """
    if vote.preferred == "ranked":
        ranks = vote.ranks
        return [
            (i, j, "a" if ranks[i] < ranks[j] else "b" if ranks[i] > ranks[j] else "tie")
            for i, j in combinations(range(len(ranks)), 2)
        ]
    return [] if vote.preferred in ("skip", "rated") else [(0, 1, vote.preferred)]
