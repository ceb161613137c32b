"""How good a reward model is on pairs it has not seen: accuracy, calibration, length bias, agreement of its members."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gristlm.errors import ConfigError
from gristlm.rlhf.data import Pair
from gristlm.rlhf.reward_model import RewardModel
from gristlm.verify.calibration import calibration

_Z95 = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


@torch.no_grad()
def measure(model: RewardModel, pairs: Sequence[Pair], limit: int) -> dict[str, object]:
    """Returns the figures of a reward model on held-out pairs of at most `limit` tokens.

    `accuracy` with its 95 % interval (a tie is wrong); `calibration` of sigmoid(|chosen - rejected|), what the model
    of Bradley and Terry (1952) says of the pair being in the right order; `longer_preferred`, the share of pairs of
    unequal lengths whose longer answer gets the higher reward, beside `longer_chosen`, the share that people prefer;
    and `length_correlation` of reward and tokens over all answers. An ensemble has the accuracy of each member, and
    `spread`, the mean standard deviation between members.
    """
    model.eval()
    encoded = [(model.encode(pair.chosen), model.encode(pair.rejected)) for pair in pairs]
    fitting = [pair for pair in encoded if max(map(len, pair)) <= limit]
    if not fitting:
        raise ConfigError(
            f"heldout_data: none of its {len(encoded)} pairs fits into {limit} tokens; raise reward.max_seq_len"
        )
    sequences = [ids for pair in fitting for ids in pair]
    members_KN = model.score_members(sequences).astype(np.float64)
    rewards_N = model.combined(members_KN)
    differences = _differences(rewards_N)
    right, count = int((differences > 0).sum()), len(fitting)
    low, high = wilson_interval(right, count)
    tokens = np.array([len(ids) for ids in sequences], dtype=np.float64)
    longer = _differences(tokens)
    unequal = max(1, int((longer != 0).sum()))
    found: dict[str, object] = {
        "heldout_pairs": count,
        "accuracy": right / count,
        "accuracy_low": low,
        "accuracy_high": high,
        "mean_difference": float(differences.mean()),
        "mean_reward": float(rewards_N.mean()),
        "calibration": calibration((1 / (1 + np.exp(-np.abs(differences)))).tolist(), (differences > 0).tolist()),
        "longer_preferred": float((differences * longer > 0).sum() / unequal),
        "longer_chosen": float((longer > 0).sum() / unequal),
        "length_correlation": _correlation(rewards_N, tokens),
    }
    if len(members_KN) > 1:
        found["members_accuracy"] = [float((_differences(row) > 0).mean()) for row in members_KN]
        found["spread"] = float(members_KN.std(axis=0).mean())
    return found


def _differences(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns chosen less rejected of values in which they take turns."""
    both = values.reshape(-1, 2)
    less: NDArray[np.float64] = both[:, 0] - both[:, 1]
    return less


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Returns Pearson's correlation; 0 where one does not vary."""
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share of which `right` of `count` were seen (Wilson 1927)."""
    share = right / count
    scale = 1 + _Z95**2 / count
    middle = (share + _Z95**2 / (2 * count)) / scale
    half = _Z95 * math.sqrt(share * (1 - share) / count + _Z95**2 / (4 * count**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)
