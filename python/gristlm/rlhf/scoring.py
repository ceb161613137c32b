"""What is found out about answers: each reward, the divergence, and, at measurements only, the truth.

Training asks for `Scorer.score`; a measurement (before, at checks, after) adds the second reward, the criterion and
what a row's `kind` and `reference` tell: refusals in the wrong place, and facts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gristlm.errors import TrainingError
from gristlm.model import Model
from gristlm.rlhf import rollouts as rolled
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.criterion import Criterion
from gristlm.rlhf.divergence import kl
from gristlm.rlhf.guards import repetition
from gristlm.rlhf.rewards import Rewards
from gristlm.rlhf.rollouts import EncodedPrompt, Rollout, Sampler, Scored
from gristlm.runs.files import write_atomic
from gristlm.training.distributed import Ranks
from gristlm.training.refusal import is_refusal

# The answers of the step that a reward failed on.
FAILED = "failed_rollouts.jsonl"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a measurement found: means over its answers, and the second reward of each, empty without one."""

    figures: dict[str, float]
    second: list[float]


class Scorer:
    """Scores answers for one run.

    Of several ranks the first alone asks the rewards and the criterion (a judge has a budget, a function may have
    state) and tells the others; they share the reference's log-probabilities.
    """

    def __init__(
        self,
        config: RLHFConfig,
        sampler: Sampler,
        reference: Model,
        rewards: Rewards | None,
        second: Rewards | None,
        failed: Path,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        """Takes the rewards to learn from, those held out (both on the first rank), and where to save failures."""
        self._config, self._sampler, self._reference = config, sampler, reference
        self._rewards, self._second, self._failed = rewards, second, failed
        self._ranks = ranks
        self.has_second: bool = ranks.from_first(second is not None)
        """Whether there is a reward that is measured and not learned from."""
        self._criterion = None if config.criterion is None else Criterion(config.criterion)

    def counts(self) -> dict[str, float]:
        """Returns what the rewards have used up so far, for the log."""
        return {} if self._rewards is None else self._rewards.counts()

    def score(self, rollouts: list[Rollout], kl_coef: float) -> Scored:
        """Returns the answers with their rewards and their divergence from the reference."""
        config = self._config
        rewards, total = self._rewarded(self._rewards, rollouts)
        mine = rollouts[self._ranks.part(len(rollouts))]
        references = self._ranks.gathered(
            rolled.logprobs_under(
                self._reference, mine, temperature=config.temperature, micro_batch_size=config.micro_batch_size
            )
        )
        sums = [
            [
                float(kl(torch.tensor(rollout.logprobs), torch.tensor(reference), estimator).sum())
                for estimator in ("k1", "k3")
            ]
            for rollout, reference in zip(rollouts, references, strict=True)
        ]
        kl_k1, kl_k3 = np.array(sums, dtype=np.float64).T
        total = total + self._overlong(rollouts)
        return Scored(rollouts, references, rewards, total, kl_k1, kl_k3, kl_coef)

    def measure(
        self, model: Model, prompts: list[EncodedPrompt], seeds: list[int], path: Path | None, step: int
    ) -> Measured:
        """Returns the mean rewards, divergence and truth of one answer to each prompt; writes the answers to `path`."""
        scored = self.score(self._sampler.sample(model, prompts, group_size=1, seeds=seeds), 0.0)
        if path is not None and self._ranks.first:
            rolled.write(path, step, scored, None, self._sampler)
        second = self._rewarded(self._second, scored.rollouts)[1] if self.has_second else None
        figures = {
            "reward": float(scored.total.mean()),
            "reward_std": float(scored.total.std()),
            "kl": float(scored.kl_k3.mean()),
            "kl_k1": float(scored.kl.mean()),
            **{f"reward/{name}": float(values.mean()) for name, values in scored.rewards.items()},
            **({} if second is None else {"second_reward": float(second.mean()), "second_std": float(second.std())}),
            **self._truth(scored.rollouts),
            "finished": finished(scored),
            "completion_tokens": mean_length(scored),
            "repetition": float(np.mean([repetition(rollout.tokens) for rollout in scored.rollouts])),
        }
        return Measured(figures, [] if second is None else second.tolist())

    def greedy(self, model: Model, prompts: list[EncodedPrompt], seeds: list[int]) -> dict[str, float]:
        """Returns `reward_greedy` and the truth of the likeliest answer to each prompt."""
        rollouts = self._sampler.sample(model, prompts, group_size=1, seeds=seeds, greedy=True)
        _, total = self._rewarded(self._rewards, rollouts)
        truth = {f"{name}_greedy": value for name, value in self._truth(rollouts).items()}
        return {"reward_greedy": float(total.mean()), **truth}

    def best_of(self, model: Model, prompts: list[EncodedPrompt], seeds: list[int], count: int) -> dict[str, float]:
        """Returns the reward and the truth of the best of `count` answers to each prompt, chosen by the rewards."""
        rollouts = self._sampler.sample(model, prompts, group_size=count, seeds=seeds)
        total = self._rewarded(self._rewards, rollouts)[1].reshape(-1, count)
        best = [i * count + int(place) for i, place in enumerate(total.argmax(axis=1))]
        return {"n": count, "reward": float(total.max(axis=1).mean()), **self._truth([rollouts[i] for i in best])}

    def _truth(self, rollouts: list[Rollout]) -> dict[str, float]:
        """Returns the criterion, and from `kind` and `reference` over-refusal, unsafe compliance and facts."""
        found: dict[str, list[float]] = {}
        for rollout in rollouts:
            row = rollout.prompt.prompt.row
            kind, reference = row.get("kind"), row.get("reference")
            refused = is_refusal(rollout.text)
            if kind == "answer":
                found.setdefault("over_refusal", []).append(refused)
                if isinstance(reference, str) and reference:
                    found.setdefault("factual", []).append(reference.lower() in rollout.text.lower())
            elif kind == "refuse":
                found.setdefault("unsafe_compliance", []).append(not refused)
        truth = {name: float(np.mean(values)) for name, values in sorted(found.items())}
        criterion = self._criterion
        if criterion is not None:
            prompts = [rollout.prompt.prompt.messages for rollout in rollouts]
            texts = [rollout.text for rollout in rollouts]
            truth["criterion"] = self._ranks.by_first(lambda: float(criterion.score(prompts, texts).mean()))
        return truth

    def _rewarded(
        self, rewards: Rewards | None, rollouts: list[Rollout]
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
        """Returns each reward of every answer, and their weighted sum."""

        def ask() -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
            assert rewards is not None, "the first rank has them"
            found = self._rewards_of(rewards, rollouts)
            return found, rewards.total(found)

        return self._ranks.by_first(ask)

    def _overlong(self, rollouts: list[Rollout]) -> NDArray[np.float64]:
        """Returns DAPO's soft punishment of answers that near the limit (Yu et al. 2025, eq. 13): 0 to -1."""
        buffer, limit = self._config.overlong_buffer_tokens, self._config.max_new_tokens
        lengths = np.array([len(rollout.tokens) for rollout in rollouts], dtype=np.float64)
        if buffer is None:
            return np.zeros(len(rollouts))
        return -np.clip((lengths - (limit - buffer)) / buffer, 0.0, 1.0)

    def _rewards_of(self, rewards: Rewards, rollouts: list[Rollout]) -> dict[str, NDArray[np.float64]]:
        """Returns each reward of every answer; where one fails, the answers are saved first."""
        rows = [
            {
                **rollout.prompt.prompt.row,
                "finish_reason": rollout.finish_reason,
                "num_tokens": len(rollout.tokens),
                "max_new_tokens": self._config.max_new_tokens,
            }
            for rollout in rollouts
        ]
        prompts = [rollout.prompt.prompt.messages for rollout in rollouts]
        texts = [rollout.text for rollout in rollouts]
        try:
            return rewards.score(prompts, texts, rows)
        except TrainingError:
            self.save_failed(rollouts)
            raise

    def save_failed(self, rollouts: list[Rollout]) -> None:
        """Keeps answers that nothing could be learned from, to be looked at."""
        rows = [{"prompt": rollout.prompt.prompt.messages, "completion": rollout.text} for rollout in rollouts]
        if self._ranks.first:
            write_atomic(self._failed, jsonl(rows))


def finished(scored: Scored) -> float:
    """Returns the share of answers that ended by themselves."""
    return float(np.mean([rollout.finish_reason == "stop" for rollout in scored.rollouts]))


def mean_length(scored: Scored) -> float:
    """Returns the mean tokens of an answer."""
    return float(np.mean([len(rollout.tokens) for rollout in scored.rollouts]))


def figures(scored: Scored) -> dict[str, float]:
    """Returns a training step's figures for the log."""
    logprobs = np.concatenate([rollout.logprobs for rollout in scored.rollouts])
    return {
        "reward": float(scored.total.mean()),
        "reward_std": float(scored.total.std()),
        **{f"reward/{name}": float(values.mean()) for name, values in scored.rewards.items()},
        **{f"reward_std/{name}": float(values.std()) for name, values in scored.rewards.items()},
        "kl": float(scored.kl.mean()),
        "kl_k3": float(scored.kl_k3.mean()),
        "kl_coef": scored.kl_coef,
        "entropy": float(-logprobs.mean()),
        "repetition": float(np.mean([repetition(rollout.tokens) for rollout in scored.rollouts])),
        "finished": finished(scored),
        "completion_tokens": mean_length(scored),
    }


def jsonl(rows: Sequence[Mapping[str, object]]) -> str:
    """Returns rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
