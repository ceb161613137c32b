"""The policy-gradient losses: one weighted sum over tokens, normalised by counts of the whole step.

A loss of a micro-batch divides by `total_tokens` or `total_sequences` of the *whole* batch, so micro-batch losses (and
gradients) add up to the whole batch's, however it is cut. With r = p/p_old of a token, A its advantage and
c(r) = clip(r, 1 - low, 1 + high):

| algorithm | ratio | term | weight of a token | source |
|---|---|---|---|---|
| grpo | token | min(rA, c(r)A) | 1/(length · sequences) | Shao et al. 2024, DeepSeekMath, eq. 3 |
| dr_grpo | token | min(rA, c(r)A) | 1/(max_tokens · sequences) | Liu et al. 2025, Dr. GRPO, sec. 3 |
| dapo | token | min(rA, c(r)A), high > low | 1/tokens | Yu et al. 2025, DAPO, eq. 8 |
| gspo | sequence, geometric mean | min(sA, c(s)A) | 1/(length · sequences) | Zheng et al. 2025, GSPO, eq. 5-7 |
| cispo | token | stop(c(r)) · A · log p | 1/tokens | MiniMax 2025, M1, eq. 4-5 |
| rloo | sequence | min(sA, c(s)A) | once per sequence, 1/sequences | Ahmadian et al. 2024, Back to basics, eq. 8 |
| reinforce++ | token | min(rA, c(r)A) | 1/tokens | Hu et al. 2025, REINFORCE++, eq. 4 |
| ppo | token | min(rA, c(r)A) | 1/tokens | Schulman et al. 2017, PPO, eq. 7 |
| best_of_n | - | A · log p, A = 1 for the best answer | 1/tokens | Stiennon et al. 2020, sec. 4; distilled as SFT |
| online_dpo | - | A · log p, A = ±beta · sigmoid(-margin) | 1/sequences | Guo et al. 2024, OAIF, eq. 3 |

Where we leave the papers:
1. rloo keeps the clipped sequence ratio, so that several updates per step stay near the sampling policy (with one
   update, s = 1 and it is the paper's gradient).
2. dr_grpo without `max_tokens` divides by sequences only, as the paper's equation (its code has a constant length too).
3. online_dpo has the gradient of the DPO loss of each group's best and worst answer, summed over pairs and divided by
   sequences; its value is not that loss. The margin is that of the policy that sampled (`dpo_weights`), so it is exact
   with one update per step.
4. Log-ratios are cut at ±20 before exp, so one impossible token cannot make a loss infinite.

Shapes: N sequences, T tokens. Padding may be on either side; masked places may hold anything but NaN.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from gristlm.errors import InputError
from gristlm.rlhf.divergence import MAX_LOG_RATIO

Algorithm = Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "reinforce++", "ppo", "best_of_n", "online_dpo"]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
# (low, high) of the clip where the caller gives none: each paper's own.
CLIP_RANGES: dict[str, tuple[float, float]] = {
    "grpo": (0.2, 0.2),
    "dr_grpo": (0.2, 0.2),
    "dapo": (0.2, 0.28),
    "gspo": (3e-4, 4e-4),
    "cispo": (1.0, 4.0),
    "rloo": (0.2, 0.2),
    "reinforce++": (0.2, 0.2),
    "ppo": (0.2, 0.2),
    "best_of_n": (1.0, float("inf")),
    "online_dpo": (1.0, float("inf")),
}
_PER_SEQUENCE = ("gspo", "rloo")
_PER_TOKEN_MEAN = ("dapo", "cispo", "reinforce++", "ppo", "best_of_n")
_WITHOUT_RATIO = ("best_of_n", "online_dpo")


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    *,
    algorithm: Algorithm,
    total_tokens: float,
    total_sequences: float,
    clip_range: float | tuple[float, float] | None = None,
    max_tokens: int | None = None,
) -> torch.Tensor:
    """Returns the loss of a micro-batch, a scalar; the losses of all micro-batches of a step add up to the step's.

    Args:
        logprobs: [N, T], the policy's log-probabilities of the sampled tokens, with gradient.
        old_logprobs: [N, T], those of the policy that sampled them.
        advantages: [N], or [N, T] for one per token (as `gae` gives).
        mask: bool (or 0/1) [N, T], true at sampled tokens.
        algorithm: a row of the table above.
        total_tokens: sampled tokens in the whole step, over all micro-batches and ranks.
        total_sequences: sequences in the whole step.
        clip_range: (low, high), or one number for both; None is the paper's (`CLIP_RANGES`).
        max_tokens: the constant length that "dr_grpo" divides by; None divides by sequences only.

    Raises:
        InputError: an unknown algorithm, shapes that do not fit, or a total that is not positive.
    """
    mask = torch.as_tensor(mask).to(logprobs.dtype)
    low, high = _clip_range(algorithm, clip_range)
    advantages_NT = _per_token(torch.as_tensor(advantages), logprobs)
    if not logprobs.shape == old_logprobs.shape == mask.shape or logprobs.ndim != 2:
        shapes = ", ".join(str(tuple(given.shape)) for given in (logprobs, old_logprobs, mask))
        raise InputError(f"logprobs, old_logprobs and mask must be [N, T] alike; given {shapes}")
    if not (total_tokens > 0 and total_sequences > 0):
        raise InputError(
            f"total_tokens and total_sequences must be positive; given {total_tokens} and {total_sequences}"
        )
    lengths_N1 = mask.sum(dim=1, keepdim=True).clamp(min=1)
    log_ratio_NT = (logprobs - old_logprobs.detach()).masked_fill(mask == 0, 0.0)
    if algorithm in _PER_SEQUENCE:
        log_ratio_N1 = log_ratio_NT.sum(dim=1, keepdim=True)
        log_ratio_NT = (log_ratio_N1 / lengths_N1 if algorithm == "gspo" else log_ratio_N1).expand_as(mask)
    ratio_NT = log_ratio_NT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    clipped_NT = ratio_NT.clamp(1 - low, 1 + high)
    if algorithm in _WITHOUT_RATIO:
        gain_NT = advantages_NT * logprobs.masked_fill(mask == 0, 0.0)
    elif algorithm == "cispo":
        gain_NT = clipped_NT.detach() * advantages_NT * logprobs.masked_fill(mask == 0, 0.0)
    else:
        gain_NT = torch.minimum(ratio_NT * advantages_NT, clipped_NT * advantages_NT)
    if algorithm in _PER_TOKEN_MEAN:
        weight_NT = mask / total_tokens
    elif algorithm == "dr_grpo":
        weight_NT = mask / (total_sequences * (max_tokens or 1))
    elif algorithm == "online_dpo":
        weight_NT = mask / total_sequences
    else:  # grpo, gspo: mean over tokens; rloo: the sequence's one term, spread evenly over its tokens
        weight_NT = mask / lengths_N1 / total_sequences
    return -(gain_NT * weight_NT).sum()


def _clip_range(algorithm: str, clip_range: float | tuple[float, float] | None) -> tuple[float, float]:
    if algorithm not in CLIP_RANGES:
        raise InputError(f"algorithm must be one of {', '.join(ALGORITHMS)}; given {algorithm!r}")
    if clip_range is None:
        return CLIP_RANGES[algorithm]
    return (clip_range, clip_range) if isinstance(clip_range, int | float) else clip_range


def _per_token(advantages: torch.Tensor, logprobs: torch.Tensor) -> torch.Tensor:
    advantages = advantages.detach().to(logprobs.dtype)
    if advantages.ndim == 1:
        advantages = advantages[:, None].expand(-1, logprobs.shape[-1])
    if advantages.shape != logprobs.shape:
        raise InputError(f"advantages must be [N] or [N, T] = {tuple(logprobs.shape)}; given {tuple(advantages.shape)}")
    return advantages
