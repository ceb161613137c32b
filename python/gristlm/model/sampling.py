"""Choosing the next token: a pure function of the logits and one uniform number per row.

The uniform number is a pure function of (seed, which sample of the prompt, which position), so a completion does not
depend on what else is in the batch. (Where logits come from torch's products, those of a row may differ in the last bit
between batch sizes; a token could then change where the uniform number falls within ~1e-7 of a boundary.)

Shapes: R rows, V vocab.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gristlm import _core
from gristlm.errors import InputError, TrainingError

_NUMBERS_AT_ONCE = 2**16
"""On a CPU rows are drawn in pieces of so many logits: larger temporaries go back to the kernel every time."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to generate.

    Args:
        max_new_tokens: the most tokens of a completion.
        temperature: divides the logits; 0 is greedy.
        top_k: keep the k likeliest tokens.
        top_p: keep the likeliest tokens that together reach this probability (arXiv 1904.09751).
        min_p: keep tokens at least this fraction as likely as the likeliest (arXiv 2407.01082).
        stop: token ids, sequences of ids, or strings that end a completion.
        ignore_eos: do not end at the model's end-of-sequence tokens.
        logprobs: return log-probabilities.

    Raises:
        InputError: a value is out of range.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    stop: tuple[int | Sequence[int] | str, ...] = ()
    ignore_eos: bool = False
    logprobs: bool = False

    def __post_init__(self) -> None:
        checks = (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "at least 1"),
            ("temperature", self.temperature, 0 <= self.temperature < float("inf"), "0 (greedy) or more"),
            ("top_k", self.top_k, self.top_k is None or self.top_k >= 1, "at least 1, or None"),
            ("top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "in (0, 1], or None"),
            ("min_p", self.min_p, self.min_p is None or 0 <= self.min_p <= 1, "in [0, 1], or None"),
        )
        for name, value, good, allowed in checks:
            if not good:
                raise InputError(f"{name} is {value!r}; it must be {allowed}")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns SplitMix64's finaliser of each number (Steele et al., OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def row_key(seed: int, sample: int) -> int:
    """Returns the key of sample number `sample` of a prompt whose seed is `seed`."""
    prompt_key = _mix(np.array([(seed + int(_GOLDEN)) % 2**64], np.uint64))
    return int(_mix(prompt_key + np.array([(sample + 1) * int(_GOLDEN) % 2**64], np.uint64))[0])


def uniforms(keys: NDArray[np.uint64], positions: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Returns float64[R] in [0, 1): the number for each row key at each position of its completion."""
    bits = _mix(keys + (positions + np.uint64(1)) * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def choose(
    logits_RV: Tensor,
    uniform_R: Tensor,
    *,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
) -> tuple[Tensor, Tensor]:
    """Returns the chosen ids, int64[R], and their log-probabilities, float32[R].

    The log-probability is under softmax(logits / temperature) before any truncation (greedy: temperature 1), which is
    what `Model.token_logprobs` computes for the same tokens. Truncations apply in the order top-k, top-p, min-p, each
    on the renormalised rest, and always keep the likeliest token.

    Raises:
        TrainingError: the logits are not finite.
    """
    logits_RV = logits_RV.float()
    if temperature not in (0, 1):
        logits_RV = logits_RV / temperature
    ids_R, sums_R = _likeliest(logits_RV)
    if temperature != 0:
        rows = max(1, _NUMBERS_AT_ONCE // logits_RV.shape[1]) if logits_RV.device.type == "cpu" else len(logits_RV)
        parts = [slice(start, start + rows) for start in range(0, len(logits_RV), rows)]
        drawn = [_drawn(logits_RV[part], uniform_R[part], top_k=top_k, top_p=top_p, min_p=min_p) for part in parts]
        ids_R = torch.cat(drawn)
    logprobs_R = logits_RV.gather(1, ids_R[:, None]).squeeze(1) - sums_R
    if not logprobs_R.isfinite().all():
        raise TrainingError("the model's logits are not finite: its weights are damaged or its training has diverged")
    return ids_R, logprobs_R


def _likeliest(logits_RV: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the likeliest ids, int64[R], and log Σ exp of each row, float32[R]."""
    if logits_RV.device.type == "cpu":
        ids, sums = _core.likeliest(logits_RV.contiguous().numpy())
        return torch.from_numpy(ids), torch.from_numpy(sums)
    return logits_RV.argmax(-1), logits_RV.logsumexp(-1)


def _drawn(
    logits_RV: Tensor, uniform_R: Tensor, *, top_k: int | None, top_p: float | None, min_p: float | None
) -> Tensor:
    kept_RV = truncate(logits_RV.softmax(-1), top_k=top_k, top_p=top_p, min_p=min_p)
    cumulative_RV = kept_RV.cumsum(-1, dtype=torch.float64)
    target_R1 = uniform_R[:, None] * cumulative_RV[:, -1:]
    return torch.searchsorted(cumulative_RV, target_R1, right=True).squeeze(1).clamp_(max=logits_RV.shape[1] - 1)


def truncate(probabilities_RV: Tensor, *, top_k: int | None, top_p: float | None, min_p: float | None) -> Tensor:
    """Returns the probabilities with the tokens that a truncation drops set to zero, not renormalised."""
    if top_k is not None and top_k < probabilities_RV.shape[1]:
        threshold = probabilities_RV.topk(top_k, -1).values[:, -1:]
        probabilities_RV = probabilities_RV.where(probabilities_RV >= threshold, 0.0)
    if top_p is not None and top_p < 1:
        ordered, order = probabilities_RV.sort(stable=True, dim=-1, descending=True)
        before = ordered.cumsum(-1, dtype=torch.float64) - ordered
        keep = before < top_p * ordered.sum(-1, keepdim=True, dtype=torch.float64)
        probabilities_RV = probabilities_RV.where(torch.zeros_like(keep).scatter_(1, order, keep), 0.0)
    if min_p is not None and min_p > 0:
        likeliest = probabilities_RV.amax(-1, keepdim=True)
        probabilities_RV = probabilities_RV.where(probabilities_RV >= min_p * likeliest, 0.0)
    return probabilities_RV
