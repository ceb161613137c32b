"""How well confidence fits what is right: expected calibration error, Brier score, the bins of a reliability plot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 10


def calibration(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, object]:
    """Returns `ece`, `brier` and `bins` of confidences within 0 and 1.

    ECE is the mean over ten equal bins of |share right - mean confidence|, weighted by cases (Guo et al. 2017, eq. 3);
    Brier is the mean of (confidence - right)². A bin that is not empty is
    `[mean confidence, share right, cases]`.
    """
    if not confidences:
        return {"ece": None, "brier": None, "bins": []}
    sure, hits = np.array(confidences, dtype=np.float64), np.array(right, dtype=np.float64)
    places = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    bins = []
    for place in range(BINS):
        inside = places == place
        if inside.any():
            bins.append([round(float(sure[inside].mean()), 6), round(float(hits[inside].mean()), 6), int(inside.sum())])
    ece = sum(abs(confidence - share) * count for confidence, share, count in bins) / len(sure)
    return {"ece": round(ece, 6), "brier": round(float(((sure - hits) ** 2).mean()), 6), "bins": bins}
