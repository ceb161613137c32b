"""What a step learns from its rollouts: one or more optimizer updates over micro-batches.

Every rank knows all rollouts of the step and computes its share of the micro-batches. A micro-batch's loss is divided
by the totals of the whole update, so the gradient, summed over micro-batches and ranks, depends on neither.

The first forward pass sees the very weights that sampled, so its log-probabilities must be those of the engine; they
are compared before anything is changed.

Shapes: N rollouts, L the longest answer.
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
from gristlm.rlhf.rollouts import Batch, Scored, dealt, in_micro_batches
from gristlm.training.distributed import Ranks
from gristlm.training.optimizer import Optimizer

# On a CPU, in float32, generation and training give the same log-probabilities up to this, mean nats per token of a
# step; elsewhere it is only logged.
MAX_MISMATCH = 1e-5
# No single token may differ by more: where a policy is sure, a very unlikely token's logit has more rounding.
MAX_TOKEN_MISMATCH = 1e-3


@dataclasses.dataclass
class _Sums:
    """Sums over the tokens of a step, on one rank or, from `over`, on all."""

    loss: float = 0.0
    tokens: int = 0
    clipped: float = 0.0
    mismatch: float = 0.0
    mismatch_sum: float = 0.0
    mismatch_kl: float = 0.0
    compared: int = 0

    def over(self, ranks: Ranks) -> _Sums:
        """Returns the sums over all ranks; every rank must call it."""
        loss, tokens, clipped, mismatch_sum, mismatch_kl, compared = ranks.sum(
            self.loss, self.tokens, self.clipped, self.mismatch_sum, self.mismatch_kl, self.compared
        )
        largest = max(ranks.gathered([self.mismatch]))
        return _Sums(loss, int(tokens), clipped, largest, mismatch_sum, mismatch_kl, int(compared))


def learn_policy(
    policy: Model,
    optimizer: Optimizer,
    scored: Scored,
    advantages: list[list[float]],
    config: RLHFConfig,
    *,
    learning_rate: float,
    rng: np.random.Generator,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
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
        rng: divides the rollouts among several updates; the same on every rank.
        ranks: who shares the work; the policy is sharded over them.

    Raises:
        TrainingError: the loss or its gradient is not finite, or generation and training disagree about a
            log-probability.
    """
    optimizer.set_learning_rate(learning_rate)
    mine, sums, grad_norm = _Sums(), _Sums(), 0.0
    for number, share in enumerate(np.array_split(rng.permutation(len(scored.rollouts)), config.updates_per_step)):
        optimizer.zero_grad()
        learnt = _accumulate(policy, scored, advantages, config, sorted(share.tolist()), mine, ranks, first=number == 0)
        sums = mine.over(ranks)
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
    ranks: Ranks,
    *,
    first: bool,
) -> bool:
    """Adds this rank's part of the gradient of one update's rollouts; returns whether there was anything to learn.

    A sharded policy's gradient is the mean over the ranks, so each rank's loss counts `world_size` times.
    """
    kl_in_loss = scored.kl_coef if config.kl_in == "loss" else 0.0
    # Without a KL term, what has no advantage has no gradient; it still counts in the totals.
    useful = [i for i in share if kl_in_loss or any(advantages[i])]
    total_tokens = sum(len(scored.rollouts[i].tokens) for i in share)
    pieces = list(in_micro_batches(scored.rollouts, useful, config.micro_batch_size))
    for piece, counts in dealt(pieces, ranks):
        rollouts = [scored.rollouts[i] for i in piece]
        batch = Batch.of(rollouts, policy.config, policy.device)
        logprobs, mask = batch.logprobs(policy, config.temperature), batch.mask
        old_logprobs = batch.aligned([rollout.logprobs for rollout in rollouts])
        if first and counts:
            _compare(logprobs.detach()[mask], old_logprobs[mask], sums)
        if config.updates_per_step == 1:
            old_logprobs = logprobs.detach()
        loss = policy_loss(
            logprobs,
            old_logprobs,
            batch.aligned([advantages[i] for i in piece]),
            mask,
            algorithm=config.algorithm,
            total_tokens=total_tokens,
            total_sequences=len(share),
            clip_range=config.clip_range,
            max_tokens=config.max_new_tokens,
        )
        if kl_in_loss:
            ref_logprobs = batch.aligned([scored.ref_logprobs[i] for i in piece])
            loss = loss + kl_in_loss * (kl_loss(logprobs, ref_logprobs) * mask).sum() / total_tokens
        (loss * (ranks.world_size if counts else 0)).backward()  # type: ignore[no-untyped-call]
        if not counts:
            continue
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
