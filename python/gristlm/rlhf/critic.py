"""PPO's critic: a second network that estimates, at every token, the reward that is still to come.

It starts from the reward model's network (else the policy's) with a new head, and is trained beside the policy, never
shared with it (Huang et al. 2024, "The N+ implementation details of RLHF with PPO"). Rewards are shifted and scaled
once, by the mean and standard deviation on the held-out prompts before training, so that the new head's zeros are a
fair first estimate.

Shapes: N rollouts, L the longest answer.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gristlm.errors import DamagedArtifactError, TrainingError
from gristlm.model import Model, ModelConfig
from gristlm.model.weights import save_tensors
from gristlm.rlhf.advantages import gae
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.rollouts import Batch, Rollout, Scored, dealt, in_micro_batches
from gristlm.training.distributed import Ranks, whole
from gristlm.training.optimizer import Optimizer

_MIN_STD = 1e-3


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Per token of each rollout: what the critic expected, what it should expect, and the normalised advantage."""

    values: list[list[float]]
    returns: list[list[float]]
    advantages: list[list[float]]


def estimate(
    critic: RewardModel,
    scored: Scored,
    config: RLHFConfig,
    *,
    reward_mean: float,
    reward_std: float,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> Estimates:
    """Returns GAE's advantages, normalised over the step's tokens, and the returns, of scaled rewards less KL."""
    values = _values(critic, scored.rollouts, config.micro_batch_size, ranks)
    scale = 1 / reward_std if reward_std > _MIN_STD else 1.0  # where all answers scored alike there is nothing to go by
    price = scored.kl_coef if config.kl_in == "reward" else 0.0
    shape = (len(values), max(map(len, values)))
    rewards_NL, values_NL = np.zeros(shape), np.zeros(shape)
    mask_NL = np.zeros(shape, dtype=bool)
    for i, rollout in enumerate(scored.rollouts):
        length = len(rollout.tokens)
        kl_L = np.array(rollout.logprobs) - np.array(scored.ref_logprobs[i])
        rewards_NL[i, :length] = -price * kl_L * scale
        rewards_NL[i, length - 1] += (scored.total[i] - reward_mean) * scale
        values_NL[i, :length] = values[i]
        mask_NL[i, :length] = True
    found = gae(
        torch.from_numpy(rewards_NL),
        torch.from_numpy(values_NL),
        torch.from_numpy(mask_NL),
        gamma=config.gamma,
        lam=config.lam,
    )
    advantages_NL, returns_NL = found.advantages.numpy(), found.returns.numpy()
    used = advantages_NL[mask_NL]
    advantages_NL = (advantages_NL - used.mean()) / (used.std() + 1e-8)
    return Estimates(
        values,
        [row[mask].tolist() for row, mask in zip(returns_NL, mask_NL, strict=True)],
        [row[mask].tolist() for row, mask in zip(advantages_NL, mask_NL, strict=True)],
    )


def learn_values(
    critic: RewardModel,
    optimizer: Optimizer,
    rollouts: list[Rollout],
    found: Estimates,
    config: RLHFConfig,
    *,
    learning_rate: float,
    rng: np.random.Generator,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> dict[str, float]:
    """Changes `critic` by one step's updates; returns value_loss (mean per token) and explained (share of variance).

    The loss of a token is half the larger of two squared errors: that of the value, and that of the value kept within
    `value_clip` of the old one.

    Raises:
        TrainingError: the loss is not finite.
    """
    optimizer.set_learning_rate(learning_rate)
    loss_sum = 0.0
    for share in np.array_split(rng.permutation(len(rollouts)), config.updates_per_step):
        optimizer.zero_grad()
        total_tokens = sum(len(rollouts[i].tokens) for i in share)
        pieces = list(in_micro_batches(rollouts, sorted(share.tolist()), config.micro_batch_size))
        mine = 0.0
        for piece, counts in dealt(pieces, ranks):
            chosen = [rollouts[i] for i in piece]
            batch = Batch.of(chosen, critic.config, critic.value_head.weight.device)
            values = batch.answers(critic.values(batch.layout))
            old_values = batch.aligned([found.values[i] for i in piece])
            returns = batch.aligned([found.returns[i] for i in piece])
            near = old_values + (values - old_values).clamp(-config.value_clip, config.value_clip)
            errors = torch.maximum((values - returns).square(), (near - returns).square())
            loss = (errors * batch.mask).sum() / (2 * total_tokens)
            (loss * (ranks.world_size if counts else 0)).backward()  # type: ignore[no-untyped-call]
            mine += loss.item() if counts else 0.0
        loss_sum += ranks.sum(mine)[0]
        norm = optimizer.clip_grad_norm(config.grad_clip)
        if not (math.isfinite(loss_sum) and math.isfinite(norm)):
            raise TrainingError(
                f"value loss {loss_sum} with gradient norm {norm}: diverged; lower rlhf.value_learning_rate"
            )
        optimizer.step()
    wanted = np.concatenate(found.returns)
    missed = wanted - np.concatenate(found.values)
    explained = 1 - float(np.var(missed)) / max(float(np.var(wanted)), 1e-12)
    return {"value_loss": loss_sum / config.updates_per_step, "explained": explained}


@torch.no_grad()
def _values(critic: RewardModel, rollouts: list[Rollout], micro_batch_size: int, ranks: Ranks) -> list[list[float]]:
    found: list[tuple[int, list[float]]] = []
    pieces = list(in_micro_batches(rollouts, range(len(rollouts)), micro_batch_size))
    for piece, counts in dealt(pieces, ranks):
        chosen = [rollouts[i] for i in piece]
        batch = Batch.of(chosen, critic.config, critic.value_head.weight.device)
        rows = batch.answers(critic.values(batch.layout)).tolist()
        if counts:
            found += [(i, row[: len(rollout.tokens)]) for i, rollout, row in zip(piece, chosen, rows, strict=True)]
    values = dict(ranks.gathered(found))
    return [values[i] for i in range(len(rollouts))]


class ActorCritic(nn.Module):
    """The policy and its critic, as one module to checkpoint."""

    def __init__(self, policy: Model, critic: RewardModel) -> None:
        super().__init__()
        self.policy = policy
        self.critic = critic
        self.config = policy.config


@dataclasses.dataclass(frozen=True)
class Copied:
    """An `ActorCritic` and its optimizers, whole on each rank; as a model directory it is the policy."""

    config: ModelConfig
    tensors: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]

    @staticmethod
    def take(module: ActorCritic, optimizer: TwoOptimizers) -> Copied:
        """Returns the copy; every rank must call it."""
        tensors = {name: whole(tensor.detach()).cpu().clone() for name, tensor in module.state_dict().items()}
        return Copied(module.config, tensors, optimizer.state_tensors())

    def save_pretrained(self, path: Path) -> None:
        """Writes the policy."""
        prefix = "policy."
        policy = {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}
        save_tensors(self.config, policy, path)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Returns every tensor."""
        return self.tensors

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Returns both optimizers' state."""
        return self.optimizer


class TwoOptimizers(Optimizer):
    """The state of the policy's optimizer and of the critic's, as one to checkpoint."""

    def __init__(self, policy: Optimizer, critic: Optimizer) -> None:
        self._parts = {"policy.": policy, "critic.": critic}

    def state_tensors(self) -> dict[str, torch.Tensor]:
        """Returns both states."""
        return {
            prefix + name: tensor
            for prefix, part in self._parts.items()
            for name, tensor in part.state_tensors().items()
        }

    def load_state_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes over both states."""
        if not all(name.startswith(tuple(self._parts)) for name in tensors):
            raise DamagedArtifactError("the optimizer state is not that of a policy and its critic")
        for prefix, part in self._parts.items():
            part.load_state_tensors(
                {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            )
