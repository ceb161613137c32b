"""Off-policy correction: answers that were not sampled by the very weights that learn from them.

Another engine rounds otherwise, and one that runs ahead has older weights. Each token's advantage is then weighed by
p_trainer/p_engine, cut at `importance_cap` (truncated importance sampling: Yao et al. 2025, "Your efficient RL
framework secretly brings you off-policy RL training"), and the ratio of the policy loss starts from the trainer's own
log-probabilities, so that its clip still measures how far the updates of the step have gone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gristlm.model import Model
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.divergence import MAX_LOG_RATIO
from gristlm.rlhf.rollouts import Scored, logprobs_under
from gristlm.training.distributed import Ranks

Advantages = list[list[float]]


def corrected(
    policy: Model,
    scored: Scored,
    advantages: Advantages,
    config: RLHFConfig,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> tuple[Scored, Advantages, dict[str, float]]:
    """Returns the rollouts with the trainer's log-probabilities, the weighed advantages, and figures for the log.

    They are engine_kl (k3 per token, of the engine's policy to the trainer's), importance (mean weight) and
    importance_capped (share of tokens at the cap).
    """
    mine = scored.rollouts[ranks.part(len(scored.rollouts))]
    trainer = ranks.gathered(
        logprobs_under(policy, mine, temperature=config.temperature, micro_batch_size=config.micro_batch_size)
    )
    weighed, ratios = [], []
    for rollout, own, values in zip(scored.rollouts, trainer, advantages, strict=True):
        log_ratio = np.clip(np.array(own) - np.array(rollout.logprobs), -MAX_LOG_RATIO, MAX_LOG_RATIO)
        weights = np.minimum(np.exp(log_ratio), config.importance_cap)
        weighed.append((weights * np.array(values)).tolist())
        ratios.append(log_ratio)
    log_ratios = np.concatenate(ratios)
    rollouts = [
        dataclasses.replace(rollout, logprobs=own) for rollout, own in zip(scored.rollouts, trainer, strict=True)
    ]
    figures = {
        "engine_kl": float((np.expm1(log_ratios) - log_ratios).mean()),
        "importance": float(np.minimum(np.exp(log_ratios), config.importance_cap).mean()),
        "importance_capped": float((np.exp(log_ratios) >= config.importance_cap).mean()),
    }
    return dataclasses.replace(scored, rollouts=rollouts), weighed, figures
