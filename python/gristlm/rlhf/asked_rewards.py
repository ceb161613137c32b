"""Which rewards a run asks: those it learns from, and those that are measured only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.criterion import own_file
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.rewards import DEFAULT_RULES, REWARD_MODEL, Rewards, files
from gristlm.runs import artifact
from gristlm.verify.judge import Judge


def build(
    config: RLHFConfig, inputs: Mapping[str, Path], folder: Path, device: torch.device
) -> tuple[Rewards, Rewards | None]:
    """Returns what to learn from, and what is measured only; checks the artifacts among the inputs.

    Args:
        config: the run's settings.
        inputs: the run's; "reward_model" and "second_reward_model" are read.
        folder: where a judge keeps its replies.
        device: of the reward models.
    """
    models = {}
    for name in ("checkpoint", "reward_model", "second_reward_model"):
        if name in inputs and artifact.is_complete(inputs[name]):
            artifact.verify(inputs[name])
        if name in inputs and name != "checkpoint":
            models[name] = RewardModel.from_pretrained(inputs[name], device=device)
    judge = None if config.judge is None else Judge(config.judge, folder)
    weights, second = _weights(config, inputs), _second_weights(config, inputs)
    seconds = config.max_reward_seconds
    held_out = models.get("second_reward_model")
    return (
        Rewards(weights, models.get("reward_model"), judge, max_seconds=seconds),
        None if second is None else Rewards(second, held_out, judge, max_seconds=seconds),
    )


def own_files(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the user's own code among the settings: a run is made from it too."""
    names = [*_weights(config, inputs), *(config.second_rewards or {})]
    criterion = {} if config.criterion is None else {"criterion": own_file("rlhf.criterion", config.criterion)}
    return {**files(names), **criterion}


def _weights(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, float]:
    if config.rewards is not None:
        return config.rewards
    return dict.fromkeys((*DEFAULT_RULES, *((REWARD_MODEL,) if REWARD_MODEL in inputs else ())), 1.0)


def _second_weights(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, float] | None:
    if config.second_rewards is None and "second_reward_model" in inputs:
        return {REWARD_MODEL: 1.0}
    return config.second_rewards
