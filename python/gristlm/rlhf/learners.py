"""What learns in a step: the policy alone, from groups of answers, or the policy beside a critic (PPO).

Both have the same parts, so the loop does not know which it holds: `module` and `optimizer` to restore, `copied` to
checkpoint, `advantages` of a step's rollouts, and `learn` from them. Modules are sharded over the ranks, if there are
several, before they get here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import nn

from gristlm.model import Model
from gristlm.rlhf.advantages import dpo_weights, group_advantages
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.critic import ActorCritic, Copied, Estimates, TwoOptimizers, estimate, learn_values
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.rollouts import Scored
from gristlm.rlhf.update import learn_policy
from gristlm.training import optimizer, schedule
from gristlm.training.checkpoint import Saves, SavesState, Snapshot
from gristlm.training.distributed import Ranks
from gristlm.training.optimizer import Optimizer

_POLICY_SHARES, _CRITIC_SHARES = range(100, 102)
BETAS = (0.9, 0.99)
"""AdamW's averages: rewards are noisy, so the second moment is of more steps than in pretraining."""


class Learner(Protocol):
    """Turns scored rollouts into changed weights."""

    @property
    def module(self) -> Model | ActorCritic:
        """What to restore."""

    @property
    def optimizer(self) -> Optimizer:
        """Its optimizer."""

    def copied(self) -> tuple[Saves, SavesState]:
        """Returns copies of both to checkpoint, whole on each rank; every rank must call it."""

    def advantages(self, scored: Scored) -> list[list[float]]:
        """Returns the advantage of every sampled token, a list per rollout."""

    def learn(self, step: int, scored: Scored, advantages: list[list[float]]) -> dict[str, float]:
        """Changes the weights by one step's updates and returns figures for the log."""


class GroupLearner:
    """Compares the answers to one prompt with each other; every algorithm but PPO."""

    def __init__(self, policy: Model, config: RLHFConfig, ranks: Ranks = Ranks()) -> None:  # noqa: B008 - frozen
        self.module = policy
        self.optimizer = _build(policy, config.learning_rate, config)
        self._config, self._ranks = config, ranks

    def copied(self) -> tuple[Saves, SavesState]:
        """Returns copies of the policy and its optimizer."""
        kept = Snapshot.take(self.module, self.optimizer)
        return kept, kept

    def advantages(self, scored: Scored) -> list[list[float]]:
        """Returns one advantage per answer, on each of its tokens; KL's price is off the reward if it is paid there."""
        config = self._config
        price = scored.kl_coef if config.kl_in == "reward" else 0.0
        grouped = torch.from_numpy(scored.total - price * scored.kl).reshape(-1, config.group_size)
        found = group_advantages(grouped, config.algorithm, min_std=config.min_std)
        if config.algorithm == "online_dpo":
            found = dpo_weights(found, torch.from_numpy(scored.kl).reshape(found.shape), config.beta)
        per_answer = found.flatten().tolist()
        return [
            [advantage] * len(rollout.tokens) for advantage, rollout in zip(per_answer, scored.rollouts, strict=True)
        ]

    def learn(self, step: int, scored: Scored, advantages: list[list[float]]) -> dict[str, float]:
        """Updates the policy."""
        return _learn_policy(self.module, self.optimizer, step, scored, advantages, self._config, self._ranks)


class PPOLearner:
    """Compares each token's outcome with what a critic expected (Schulman et al. 2017; Ouyang et al. 2022)."""

    def __init__(
        self,
        policy: Model,
        critic: RewardModel,
        config: RLHFConfig,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
        *,
        reward_mean: float,
        reward_std: float,
    ) -> None:
        """Takes the reward's mean and standard deviation before training, by which rewards are shifted and scaled."""
        self._policy, self._critic, self._config, self._ranks = policy, critic, config, ranks
        self._reward_mean, self._reward_std = reward_mean, reward_std
        self._policy_optimizer = _build(policy, config.learning_rate, config)
        self._critic_optimizer = _build(critic, config.value_learning_rate, config)
        self.module = ActorCritic(policy, critic)
        self.optimizer = TwoOptimizers(self._policy_optimizer, self._critic_optimizer)
        self._found: Estimates | None = None

    def copied(self) -> tuple[Saves, SavesState]:
        """Returns copies of the policy beside its critic, and of both optimizers."""
        kept = Copied.take(self.module, self.optimizer)
        return kept, kept

    def advantages(self, scored: Scored) -> list[list[float]]:
        """Returns GAE's advantages, normalised over the step."""
        self._found = estimate(
            self._critic,
            scored,
            self._config,
            reward_mean=self._reward_mean,
            reward_std=self._reward_std,
            ranks=self._ranks,
        )
        return self._found.advantages

    def learn(self, step: int, scored: Scored, advantages: list[list[float]]) -> dict[str, float]:
        """Updates the policy and the critic."""
        assert self._found is not None, "advantages come first"
        config = self._config
        figures = _learn_policy(self._policy, self._policy_optimizer, step, scored, advantages, config, self._ranks)
        return figures | learn_values(
            self._critic,
            self._critic_optimizer,
            scored.rollouts,
            self._found,
            config,
            learning_rate=_rate(step, config.value_learning_rate, config),
            rng=np.random.default_rng((config.seed, _CRITIC_SHARES, step)),
            ranks=self._ranks,
        )


def _learn_policy(
    policy: Model,
    policy_optimizer: Optimizer,
    step: int,
    scored: Scored,
    advantages: list[list[float]],
    config: RLHFConfig,
    ranks: Ranks,
) -> dict[str, float]:
    rate = _rate(step, config.learning_rate, config)
    rng = np.random.default_rng((config.seed, _POLICY_SHARES, step))
    return learn_policy(policy, policy_optimizer, scored, advantages, config, learning_rate=rate, rng=rng, ranks=ranks)


def _build(module: nn.Module, learning_rate: float, config: RLHFConfig) -> Optimizer:
    return optimizer.build(module, learning_rate=learning_rate, weight_decay=config.weight_decay, betas=BETAS)


def _rate(step: int, peak: float, config: RLHFConfig) -> float:
    return schedule.learning_rate(
        step,
        peak=peak,
        warmup_steps=config.warmup_steps,
        total_steps=config.steps,
        kind=config.schedule,
        final_fraction=0.0,
    )
