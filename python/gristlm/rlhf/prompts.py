"""A run's prompts: those it learns from, those of its checks (dev), and those it is measured on (held out)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gristlm.errors import ConfigError
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.data import read_prompts
from gristlm.rlhf.rollouts import EncodedPrompt, Sampler

# What a random number is for, so that no two uses share one.
_ORDER, _SAMPLING, _HELDOUT, _SPLIT, _DEV = range(5)


@dataclasses.dataclass(frozen=True)
class PromptSets:
    """Prompts by use; which come in a step is a function of (seed, step)."""

    config: RLHFConfig
    train: list[EncodedPrompt]
    dev: list[EncodedPrompt]
    heldout: list[EncodedPrompt]
    dropped: int

    @classmethod
    def read(cls, config: RLHFConfig, inputs: Mapping[str, Path], sampler: Sampler, limit: int) -> PromptSets:
        """Returns the prompts of "prompts", "dev_prompts" and "heldout_prompts" that leave room within `limit` tokens.

        Without held-out prompts up to a tenth is set aside for them; without dev prompts the held-out ones serve.

        Raises:
            ConfigError: none leaves room for an answer.
        """
        given = read_prompts(inputs["prompts"])
        prompts = sampler.encode(given, limit)
        dropped = len(given) - len(prompts)
        if "heldout_prompts" in inputs:
            heldout = sampler.encode(read_prompts(inputs["heldout_prompts"]), limit)
        else:
            order = _rng(config.seed, _SPLIT).permutation(len(prompts)).tolist()
            count = min(config.max_heldout_prompts, len(prompts) // 10)
            heldout = [prompts[i] for i in order[:count]]
            prompts = [prompts[i] for i in order[count:]]
        if not prompts:
            raise ConfigError(
                f"{inputs['prompts']}: no prompt of its {len(given)} leaves room for max_new_tokens = "
                f"{config.max_new_tokens} within the checkpoint's {limit} tokens; lower rlhf.max_new_tokens"
            )
        heldout = heldout or prompts  # too few to set any aside: measured on what it learns from, and counted so
        dev = sampler.encode(read_prompts(inputs["dev_prompts"]), limit) if "dev_prompts" in inputs else heldout
        return cls(
            config,
            prompts,
            _some(dev or heldout, config.max_check_prompts, (config.seed, _DEV)),
            _some(heldout, config.max_heldout_prompts, (config.seed, _HELDOUT)),
            dropped,
        )

    def of_step(self, step: int, turn: int) -> tuple[list[EncodedPrompt], list[int]]:
        """Returns the prompts of a step's sampling round and their seeds; the order is new in every epoch."""
        config, prompts = self.config, self.train
        first = ((step - 1) * config.max_sampling_rounds + turn) * config.prompts_per_step
        places = [divmod(first + i, len(prompts)) for i in range(config.prompts_per_step)]
        orders = {
            epoch: _rng(config.seed, _ORDER, epoch).permutation(len(prompts))
            for epoch in {epoch for epoch, _ in places}
        }
        chosen = [prompts[int(orders[epoch][place])] for epoch, place in places]
        return chosen, _seeds(_rng(config.seed, _SAMPLING, step, *([turn] if turn else [])), len(chosen))

    def heldout_rows(self) -> list[dict[str, object]]:
        """Returns the rows of the held-out prompts."""
        return [{**encoded.prompt.row, "prompt": encoded.prompt.messages} for encoded in self.heldout]

    def heldout_seeds(self) -> list[int]:
        """Returns the seeds of the held-out prompts, the same for every model."""
        return _seeds(_rng(self.config.seed, _HELDOUT, 1), len(self.heldout))

    def dev_seeds(self) -> list[int]:
        """Returns the seeds of the dev prompts, the same at every check."""
        return _seeds(_rng(self.config.seed, _DEV, 1), len(self.dev))


def _some(prompts: list[EncodedPrompt], count: int, key: tuple[int, ...]) -> list[EncodedPrompt]:
    chosen = sorted(_rng(*key).permutation(len(prompts))[:count].tolist())
    return [prompts[i] for i in chosen]


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _seeds(rng: np.random.Generator, count: int) -> list[int]:
    return [int(seed) for seed in rng.integers(2**63, size=count)]
