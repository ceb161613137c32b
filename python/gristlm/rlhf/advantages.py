"""Advantages: how much better a sample was than expected.

Shapes: G prompts, n samples of each; N sequences, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from gristlm.errors import InputError
from gristlm.rlhf.losses import ALGORITHMS, Algorithm

# Added to a standard deviation before dividing by it, as in DeepSeekMath's and TRL's code.
EPSILON = 1e-4


def group_advantages(rewards: torch.Tensor, algorithm: Algorithm, *, min_std: float = 0.0) -> torch.Tensor:
    """Returns the advantages of n samples of each of G prompts, [G, n], in the rewards' dtype (float32 for integers).

    grpo, dapo, gspo, cispo: (reward - group mean) / (group standard deviation + 1e-4), with n - 1 in the deviation's
    denominator; dr_grpo: reward - group mean; rloo: reward - mean of the group's *other* samples;
    best_of_n: 1 for the group's best, 0 for the others; online_dpo: also -1 for its worst;
    reinforce++: (reward - mean) / (standard deviation + 1e-4) over the whole batch.
    Papers as in `losses`. A group of equal rewards gets zeros.

    Args:
        rewards: [G, n], finite.
        algorithm: any but "ppo", whose advantages come from `gae`.
        min_std: a standard deviation below this is taken as this; 1.0 keeps small differences of a reward model small
            (ours, because plain division makes noise of groups that agree as loud as a real difference).

    Raises:
        InputError: not [G, n], n is 1 where a group is compared with itself, a reward is not finite, or the algorithm
            has no group advantages.
    """
    rewards = torch.as_tensor(rewards)
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    if rewards.ndim != 2 or rewards.numel() == 0:
        raise InputError(f"rewards must be [G, n] with at least one sample; given shape {tuple(rewards.shape)}")
    if not bool(torch.isfinite(rewards).all()):
        raise InputError("rewards must be finite; given NaN or infinity")
    if algorithm == "ppo" or algorithm not in ALGORITHMS:
        raise InputError(
            f"group advantages exist for {', '.join(name for name in ALGORITHMS if name != 'ppo')}; given {algorithm!r}"
        )
    group_size = rewards.shape[1]
    if algorithm == "reinforce++":
        centred = rewards - rewards.mean()
        return centred / (_std(rewards.flatten(), min_std) + EPSILON)
    if group_size < 2:
        raise InputError(
            f"{algorithm!r} compares samples of one prompt, so it needs n >= 2; given n = {group_size} "
            "(raise group_size, or use 'reinforce++')"
        )
    # A group of equal rewards is exactly zero, also where the mean is rounded.
    centred = torch.where(
        (rewards == rewards[:, :1]).all(dim=1, keepdim=True), 0.0, rewards - rewards.mean(dim=1, keepdim=True)
    )
    if algorithm in ("best_of_n", "online_dpo"):
        return _extremes(centred, worst=algorithm == "online_dpo")
    if algorithm == "dr_grpo":
        return centred
    if algorithm == "rloo":
        return centred * group_size / (group_size - 1)
    return centred / (_std(rewards, min_std) + EPSILON)


def _extremes(centred_Gn: torch.Tensor, *, worst: bool) -> torch.Tensor:
    """Returns 1 at each group's best sample (the first of equals), -1 at its worst if asked; zeros where all agree."""
    marks = torch.zeros_like(centred_Gn)
    marks.scatter_(1, centred_Gn.argmax(dim=1, keepdim=True), 1.0)
    if worst:
        marks.scatter_(1, centred_Gn.argmin(dim=1, keepdim=True), -1.0)
    return marks * (centred_Gn != 0).any(dim=1, keepdim=True)


def dpo_weights(marks: torch.Tensor, log_ratios: torch.Tensor, beta: float) -> torch.Tensor:
    """Returns the weights of log p that give the gradient of the DPO loss, [G, n].

    With m = beta · (log p/p_ref of the best - that of the worst), -log sigmoid(m) has the gradient
    -beta · sigmoid(-m) · (grad log p(best) - grad log p(worst)).

    Args:
        marks: [G, n], 1 at the best, -1 at the worst answer of a prompt, else 0 (`group_advantages`, "online_dpo").
        log_ratios: [G, n], log p - log p_ref of each answer.
        beta: DPO's beta.
    """
    margins = beta * (marks * log_ratios).sum(dim=1, keepdim=True)
    return marks * beta * torch.sigmoid(-margins)


def _std(values: torch.Tensor, minimum: float) -> torch.Tensor:
    if values.shape[-1] < 2:
        return torch.ones_like(values[..., :1])
    return values.std(dim=-1, keepdim=True).clamp(min=minimum)


class TokenAdvantages(NamedTuple):
    """What `gae` returns: both [N, T], zero where the mask is false."""

    advantages: torch.Tensor
    returns: torch.Tensor


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, *, gamma: float, lam: float
) -> TokenAdvantages:
    """Returns generalised advantage estimates and the returns (advantages + values) that the value head learns.

    With d_t = r_t + gamma·V_{t+1} - V_t over the sampled tokens, A_t = d_t + gamma·lam·A_{t+1}; after a sequence's last
    sampled token V and A are zero (Schulman et al. 2016, eq. 16). Masked places (a prompt, padding on any side) are
    stepped over.

    Args:
        rewards: [N, T], the reward for each token (usually all on the last one, minus the KL of each).
        values: [N, T], the value estimate before each token was sampled.
        mask: bool (or 0/1) [N, T], true at sampled tokens.
        gamma: discount per token, 0 to 1.
        lam: 0 (one-step) to 1 (Monte Carlo).

    Raises:
        InputError: the shapes differ or are not [N, T], or gamma or lam is outside 0 to 1.
    """
    rewards, values, mask = torch.as_tensor(rewards), torch.as_tensor(values), torch.as_tensor(mask).bool()
    if not rewards.shape == values.shape == mask.shape or rewards.ndim != 2:
        shapes = ", ".join(str(tuple(given.shape)) for given in (rewards, values, mask))
        raise InputError(f"rewards, values and mask must be [N, T] alike; given {shapes}")
    if not (0 <= gamma <= 1 and 0 <= lam <= 1):
        raise InputError(f"gamma and lam must be within 0 and 1; given {gamma} and {lam}")
    advantages = torch.zeros_like(values)
    next_value = torch.zeros_like(values[:, 0])
    next_advantage = torch.zeros_like(next_value)
    for t in reversed(range(values.shape[1])):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        advantages[:, t] = torch.where(here, advantage, 0.0)
        next_advantage = torch.where(here, advantage, next_advantage)
        next_value = torch.where(here, values[:, t], next_value)
    return TokenAdvantages(advantages, torch.where(mask, advantages + values, 0.0))
