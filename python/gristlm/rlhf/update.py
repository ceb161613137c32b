"""What a step learns from its rollouts: one or more optimizer updates over length-sorted micro-batches.

The first forward pass sees the very weights that sampled, so its log-probabilities must be those of the engine; they
are compared before anything is changed.

Shapes: N sequences, T positions.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from gristlm.errors import TrainingError
from gristlm.model import Model
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.divergence import kl, kl_loss
from gristlm.rlhf.losses import CLIP_RANGES, policy_loss
from gristlm.rlhf.rollouts import NO_LABEL, Scored, aligned, in_micro_batches, padded
from gristlm.training.optimizer import Optimizer

# On a CPU, in float32, generation and training give the same log-probabilities up to this, mean nats per token of a
# step; elsewhere it is only logged.
MAX_MISMATCH = 1e-5
# No single token may differ by more: where a policy is sure, a very unlikely token's logit has more rounding.
MAX_TOKEN_MISMATCH = 1e-3


@dataclasses.dataclass
class _Sums:
    """Sums over the tokens of a step."""

    loss: float = 0.0
    tokens: int = 0
    clipped: float = 0.0
    mismatch: float = 0.0
    mismatch_sum: float = 0.0
    mismatch_kl: float = 0.0
    compared: int = 0


def learn_policy(
    policy: Model,
    optimizer: Optimizer,
    scored: Scored,
    advantages: list[list[float]],
    config: RLHFConfig,
    *,
    learning_rate: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Changes `policy` by one step's updates and returns figures for the log.

    They are loss, grad_norm, lr, clipped (share of tokens outside the clip range), logprob_mismatch (the largest
    difference between the engine's and the trainer's log-probability of a token), logprob_mismatch_mean and mismatch_kl
    (its k3, per token).

    Args:
        policy: the model that sampled the rollouts, unchanged since.
        optimizer: its optimizer.
        scored: the rollouts.
        advantages: per rollout, one for each of its tokens.
        config: the run's settings.
        learning_rate: this step's.
        rng: divides the rollouts among several updates.

    Raises:
        TrainingError: the loss or its gradient is not finite, or generation and training disagree about a
            log-probability.
    """
    optimizer.set_learning_rate(learning_rate)
    sums, grad_norm = _Sums(), 0.0
    for number, share in enumerate(np.array_split(rng.permutation(len(scored.rollouts)), config.updates_per_step)):
        optimizer.zero_grad()
        learnt = _accumulate(policy, scored, advantages, config, sorted(share.tolist()), sums, first=number == 0)
        if number == 0 and policy.device.type == "cpu":
            _refuse_mismatch(sums)
        if not learnt:
            continue
        grad_norm = optimizer.clip_grad_norm(config.grad_clip)
        if not (math.isfinite(grad_norm) and math.isfinite(sums.loss)):
            raise TrainingError(
                f"loss {sums.loss} with gradient norm {grad_norm}: learning has diverged; lower rlhf.learning_rate"
            )
        optimizer.step()
    return {
        "loss": sums.loss / config.updates_per_step,
        "grad_norm": grad_norm,
        "lr": learning_rate,
        "clipped": sums.clipped / max(1, sums.tokens),
        "logprob_mismatch": sums.mismatch,
        "logprob_mismatch_mean": sums.mismatch_sum / max(1, sums.compared),
        "mismatch_kl": sums.mismatch_kl / max(1, sums.compared),
    }


def _accumulate(
    policy: Model,
    scored: Scored,
    advantages: list[list[float]],
    config: RLHFConfig,
    share: list[int],
    sums: _Sums,
    *,
    first: bool,
) -> bool:
    """Adds the gradient of one update's rollouts; returns whether there was anything to learn."""
    kl_in_loss = scored.kl_coef if config.kl_in == "loss" else 0.0
    # Without a KL term, what has no advantage has no gradient; it still counts in the totals.
    useful = [i for i in share if kl_in_loss or any(advantages[i])]
    total_tokens = sum(len(scored.rollouts[i].tokens) for i in share)
    for piece in in_micro_batches(scored.rollouts, useful, config.micro_batch_size):
        rollouts = [scored.rollouts[i] for i in piece]
        input_ids, labels = padded(rollouts, policy.device)
        mask = labels != NO_LABEL
        logprobs = policy.token_logprobs(input_ids, labels, temperature=config.temperature)
        old_logprobs = aligned(rollouts, [rollout.logprobs for rollout in rollouts], logprobs)
        if first:
            _compare(logprobs.detach()[mask], old_logprobs[mask], sums)
        if config.updates_per_step == 1:
            old_logprobs = logprobs.detach()
        loss = policy_loss(
            logprobs,
            old_logprobs,
            aligned(rollouts, [advantages[i] for i in piece], logprobs),
            mask,
            algorithm=config.algorithm,
            total_tokens=total_tokens,
            total_sequences=len(share),
            clip_range=config.clip_range,
            max_tokens=config.max_new_tokens,
        )
        if kl_in_loss:
            ref_logprobs = aligned(rollouts, [scored.ref_logprobs[i] for i in piece], logprobs)
            loss = loss + kl_in_loss * (kl_loss(logprobs, ref_logprobs) * mask).sum() / total_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        sums.loss += loss.item()
        sums.tokens += int(mask.sum())
        sums.clipped += _clipped(logprobs.detach() - old_logprobs, mask, config)
    return bool(useful)


def _compare(logprobs: torch.Tensor, engine_logprobs: torch.Tensor, sums: _Sums) -> None:
    differences = (logprobs - engine_logprobs).abs()
    sums.mismatch = max(sums.mismatch, float(differences.max()))
    sums.mismatch_sum += float(differences.sum())
    sums.mismatch_kl += float(kl(engine_logprobs, logprobs, "k3").sum())
    sums.compared += len(logprobs)


def _refuse_mismatch(sums: _Sums) -> None:
    mean = sums.mismatch_sum / max(1, sums.compared)
    if not (mean <= MAX_MISMATCH and sums.mismatch <= MAX_TOKEN_MISMATCH):
        raise TrainingError(
            f"generation and training disagree about the log-probabilities of sampled tokens by {mean:.2g} on average "
            f"and {sums.mismatch:.2g} at most (allowed: {MAX_MISMATCH} and {MAX_TOKEN_MISMATCH}); the rollouts of this "
            "step are saved"
        )


def _clipped(log_ratio: torch.Tensor, mask: torch.Tensor, config: RLHFConfig) -> float:
    """Returns how many tokens' ratios are outside the clip range."""
    low, high = config.clip_range or CLIP_RANGES[config.algorithm]
    ratio = log_ratio.exp()
    return float(((ratio < 1 - low) | (ratio > 1 + high))[mask].sum())
