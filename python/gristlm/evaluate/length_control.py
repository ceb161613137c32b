"""How often one of two checkpoints is preferred, and how often it would be if its answers were as long as the other's.

Judges and people like long answers, so a checkpoint can win by length alone. As in AlpacaEval 2 (Dubois et al. 2024,
"Length-Controlled AlpacaEval", arXiv 2404.04475) the preference is regressed on the difference of lengths,

    P(first preferred) = sigmoid(theta + phi · tanh(d / s)),

d the difference in characters, s its standard deviation over the cases; the length-controlled win rate is
sigmoid(theta), what is left where d = 0.

Where we leave the paper:
1. No term for how hard a prompt is: it takes the answers of many models to fit.
2. One imagined case of equal lengths, half won, and a ridge on phi of 0.1: without them both are infinite where one
   side always wins, or always by length. With equal lengths the figure is (wins + 1/2) / (cases + 1).
3. Intervals are percentiles of a bootstrap over units (prompts), each sample refitted. Where every case says the same,
   resampling says nothing: then there is none.

Shapes: N cases, U units, B bootstrap samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from gristlm.evaluate import intervals
from gristlm.evaluate.intervals import Estimate

SAMPLES = 1000
RIDGE = 0.1
_STEPS, _LONGEST_STEP = 60, 2.0
_CHUNK = 4_000_000  # cases times samples that are fitted at once
Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Cases:
    """Judged pairs of answers: how far the first is preferred (0 to 1, 0.5 is a tie), and the lengths in characters.

    `units` says which cases belong together (the votes of several people on one pair); None: each stands alone.
    """

    preferences: Sequence[float]
    first_lengths: Sequence[int]
    second_lengths: Sequence[int]
    units: Sequence[Hashable] | None = None


def win_rate(cases: Cases, *, seed: int) -> dict[str, object]:
    """Returns `win_rate` and `length_controlled` with their intervals, `length_effect` (phi), ties and mean lengths.

    Args:
        cases: at least one.
        seed: of the bootstrap.
    """
    preferences = np.asarray(cases.preferences, np.float64)
    features = _features(cases)
    theta, phi = fit(preferences, features, np.ones((1, len(preferences))))
    weights = _resampled(cases, seed)
    plain, controlled = weights @ preferences / weights.sum(axis=1), _sigmoid(fit(preferences, features, weights)[0])
    varied = preferences.min() < preferences.max()
    raw, fitted = float(preferences.mean()), float(_sigmoid(theta)[0])
    chance = {"chance": 0.5}
    return {
        "cases": len(preferences),
        "win_rate": _estimate(raw, plain, weights.shape[1], varied) | chance,
        "length_controlled": _estimate(fitted, controlled, weights.shape[1], varied) | chance,
        "length_effect": round(float(phi[0]), 6),
        "ties": int((preferences == 0.5).sum()),
        "characters": intervals.mean([float(length) for length in cases.first_lengths]).to_json(),
        "other_characters": intervals.mean([float(length) for length in cases.second_lengths]).to_json(),
    }


def fit(preferences_N: Floats, features_N: Floats, weights_BN: Floats) -> tuple[Floats, Floats]:
    """Returns theta and phi, float64[B], for each row of case weights: the maximum of the penalised likelihood.

    By Newton's method on a concave function of two variables, the step cut at 2 in each.
    """
    theta, phi = np.zeros((2, len(weights_BN)))
    size = max(1, _CHUNK // max(1, len(preferences_N)))
    for begin in range(0, len(weights_BN), size):
        part = slice(begin, begin + size)
        theta[part], phi[part] = _newton(preferences_N, features_N, weights_BN[part])
    return theta, phi


def _newton(preferences_N: Floats, features_N: Floats, weights_BN: Floats) -> tuple[Floats, Floats]:
    theta, phi = np.zeros((2, len(weights_BN)))
    for _ in range(_STEPS):
        expected_BN = _sigmoid(theta[:, None] + phi[:, None] * features_N)
        imagined = _sigmoid(theta)
        missed_BN = weights_BN * (preferences_N - expected_BN)
        slope_theta = missed_BN.sum(axis=1) + 0.5 - imagined
        slope_phi = missed_BN @ features_N - RIDGE * phi
        bend_BN = weights_BN * expected_BN * (1 - expected_BN)
        tt = bend_BN.sum(axis=1) + imagined * (1 - imagined)
        tp = bend_BN @ features_N
        pp = bend_BN @ features_N**2 + RIDGE
        determinant = tt * pp - tp**2
        step_theta = np.clip((pp * slope_theta - tp * slope_phi) / determinant, -_LONGEST_STEP, _LONGEST_STEP)
        step_phi = np.clip((tt * slope_phi - tp * slope_theta) / determinant, -_LONGEST_STEP, _LONGEST_STEP)
        theta, phi = theta + step_theta, phi + step_phi
        if max(np.abs(step_theta).max(), np.abs(step_phi).max()) < 1e-10:
            break
    return theta, phi


def _features(cases: Cases) -> Floats:
    differences = np.subtract(cases.first_lengths, cases.second_lengths).astype(np.float64)
    spread = float(differences.std()) or float(np.abs(differences).max())
    return np.tanh(differences / spread) if spread else differences


def _resampled(cases: Cases, seed: int) -> Floats:
    """Returns how often each sample has each case, float64[B, N]: units are drawn, with all their cases."""
    units = range(len(cases.preferences)) if cases.units is None else cases.units
    places: dict[Hashable, int] = {}
    belongs_N = np.array([places.setdefault(unit, len(places)) for unit in units])
    drawn_BU = np.random.default_rng(seed).multinomial(len(places), np.full(len(places), 1 / len(places)), size=SAMPLES)
    weights: Floats = drawn_BU[:, belongs_N].astype(np.float64)
    return weights


def _estimate(value: float, sampled_B: Floats, cases: int, varied: bool) -> dict[str, float | int | None]:
    if not varied:
        return Estimate(value, None, None, cases).to_json()
    low, high = np.quantile(sampled_B, (0.025, 0.975))
    return Estimate(value, float(min(low, value)), float(max(high, value)), cases).to_json()


def _sigmoid(x: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-x))
    return found
