"""How good models are by the votes: Bradley-Terry strengths with bootstrap intervals, on the scale of Elo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gristlm.serve.label.comparisons import comparisons
from gristlm.serve.label.pairs import Pair
from gristlm.serve.label.project import Vote

ROUNDS = 200
"""Bootstrap samples."""
ITERATIONS = 100
SCALE, CENTRE = 400 / np.log(10), 1000.0
PRIOR = 0.5
"""Won and lost games added between each two models that met; ours, so that one who always wins stays finite."""


@dataclass(frozen=True)
class Rating:
    """A model's Elo figure with its 95 % interval, and the comparisons it rests on."""

    model: str
    elo: float
    low: float
    high: float
    comparisons: int


def ratings(votes: Sequence[Vote], pairs: Mapping[int, Pair], *, seed: int = 0) -> list[Rating]:
    """Returns the models, best first.

    Strengths are those of Bradley and Terry (Biometrika 1952), found by minorisation-maximisation (Hunter, Annals of
    Statistics 2004). A ranking is a game of each two of its answers. Ties and both-bad count as half a win for
    each, skips and gold questions not at all. Whole pairs are drawn for the bootstrap: votes on one pair are not
    independent.
    """
    games = [
        (answers[first][1], answers[second][1], {"a": 1.0, "b": 0.0}.get(preferred, 0.5), vote.pair)
        for vote in votes
        if pairs[vote.pair].gold is None
        for answers in [pairs[vote.pair].answers]
        for first, second, preferred in comparisons(vote)
    ]
    played = [(a, b, won, number) for a, b, won, number in games if a is not None and b is not None and a != b]
    names = sorted({name for a, b, _, _ in played for name in (a, b)})
    if not names:
        return []
    place = {name: index for index, name in enumerate(names)}
    groups = {number: index for index, number in enumerate(dict.fromkeys(number for *_, number in played))}
    wins_PMM = np.zeros((len(groups), len(names), len(names)))
    for a, b, won, number in played:
        wins_PMM[groups[number], place[a], place[b]] += won
        wins_PMM[groups[number], place[b], place[a]] += 1 - won
    total_MM = wins_PMM.sum(0)
    elo = _elo(total_MM[None])[0]
    generator = np.random.default_rng(seed)
    counts_RP = generator.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=ROUNDS)
    samples = _elo(np.tensordot(counts_RP.astype(float), wins_PMM, 1))
    low, high = np.percentile(samples, (2.5, 97.5), axis=0)
    counts = (total_MM + total_MM.T).sum(1)
    rows = [
        Rating(name, float(elo[i]), float(low[i]), float(high[i]), round(float(counts[i])))
        for i, name in enumerate(names)
    ]
    return sorted(rows, key=lambda row: (-row.elo, row.model))


def _elo(wins_RMM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the Elo figures, float64[R, M], of R tables of wins (row over column); their mean is 1000."""
    met_RMM = wins_RMM + wins_RMM.transpose(0, 2, 1)
    wins_RMM = wins_RMM + PRIOR * (met_RMM > 0)
    met_RMM = wins_RMM + wins_RMM.transpose(0, 2, 1)
    strength_RM = np.ones(wins_RMM.shape[:2])
    for _ in range(ITERATIONS):
        both = strength_RM[:, :, None] + strength_RM[:, None, :]
        shares = (met_RMM / both).sum(2)
        won = wins_RMM.sum(2)
        strength_RM = np.where(shares > 0, np.maximum(won, 1e-12) / np.where(shares > 0, shares, 1), strength_RM)
        strength_RM /= np.exp(np.log(strength_RM).mean(1, keepdims=True))
    return np.asarray(np.log(strength_RM) * SCALE + CENTRE)
