"""What ends a run before it harms the model: the KL budget, alarms on the answers, and a second, held-out reward.

A policy that is optimised for long against one reward model leaves what that model knows (Gao et al. 2023, "Scaling
laws for reward model overoptimization"): its reward keeps rising while the truth falls. Three things tell of it
without the truth: the divergence from the start, answers that become all alike, long or repetitive, and a second
reward that nothing is learned from. A run that is stopped goes back to the best checkpoint: the earliest whose second
reward is within a standard error of the highest (of the mean difference over the same prompts), because what is gained
later is then as likely noise, and it is farther from the start (the one-standard-error rule, Breiman et al. 1984,
"Classification and regression trees", section 3.4.3).

State is JSON-able, so that a resumed run decides as an uncut one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from gristlm.rlhf.config import RLHFConfig

_STATE = ("first_length", "best_step", "candidates", "drops", "checked_at", "stopped")
_MOST = 4  # checkpoints that are held for a run to go back to
_GAIN = 0.2  # the controller's error is cut at this (Ziegler et al. 2019)


def controlled(kl_coef: float, kl: float, config: RLHFConfig) -> float:
    """Returns the next step's price of a nat: higher where `kl` (nats per sequence) is above the target, else lower.

    kl_coef · (1 + clip(kl / target - 1, ±0.2) / horizon · 5), so that an error of a fifth or more changes it by
    1/horizon of itself (Ziegler et al. 2019, sec. 2.2). Without a target it stays.
    """
    if config.kl_target is None:
        return kl_coef
    error = float(np.clip(kl / config.kl_target - 1, -_GAIN, _GAIN))
    return kl_coef * (1 + error / (_GAIN * config.kl_horizon))


def repetition(tokens: Sequence[int]) -> float:
    """Returns the share of an answer's token triples that it has said before, 0 to 1."""
    triples = [tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)]
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


@dataclasses.dataclass
class Guard:
    """Watches one run.

    Attributes:
        config: the run's settings.
        second_std: standard deviation of the second reward before training; None without one.
        first_length: mean tokens of an answer in the first step.
        best_step: the check to go back to; 0 is the start.
        candidates: checks that are as good as the best: each its step, and the second reward of each answer.
        drops: checks in a row at which it was too far below.
        checked_at: the step of the last check.
        stopped: why a check ended the run.
    """

    config: RLHFConfig
    second_std: float | None = None
    first_length: float | None = None
    best_step: int = 0
    candidates: list[tuple[int, list[float]]] = dataclasses.field(default_factory=list)
    drops: int = 0
    checked_at: int = 0
    stopped: str = ""

    def begin(self, check: Mapping[str, float], second: Sequence[float] = ()) -> None:
        """Takes note of the check before training; `second` has the second reward of each answer."""
        self.second_std = check.get("second_std")
        if self.checked_at == 0 and second:
            self.candidates = [(0, list(second))]

    def keep(self, done: int, stopped: str) -> int:
        """Returns the step whose weights a run ends with: the best check's, or without a second reward the last."""
        if not self.config.guarded:
            return done
        return self.best_step if stopped or self.candidates else done

    def after_sampling(self, figures: Mapping[str, float]) -> str:
        """Returns why a step's answers end the run before they are learned from, or nothing."""
        config = self.config
        if self.first_length is None:
            self.first_length = figures["completion_tokens"]
        if not config.guarded:
            return ""
        if config.max_kl is not None and figures["kl"] > config.max_kl:
            return f"kl {figures['kl']:.2f} nats per sequence exceeds the budget max_kl = {config.max_kl}"
        if config.min_entropy is not None and figures["entropy"] < config.min_entropy:
            return f"entropy {figures['entropy']:.3f} nats per token is below min_entropy = {config.min_entropy}"
        ratio = figures["completion_tokens"] / max(1.0, self.first_length)
        if config.max_length_ratio is not None and ratio > config.max_length_ratio:
            return (
                f"answers are {ratio:.2f} times as long as at first, over max_length_ratio = {config.max_length_ratio}"
            )
        if config.max_repetition is not None and figures["repetition"] > config.max_repetition:
            return f"repetition {figures['repetition']:.2f} exceeds max_repetition = {config.max_repetition}"
        return ""

    def after_check(self, step: int, check: Mapping[str, float], second: Sequence[float] = ()) -> str:
        """Takes note of a check; returns why it ends the run, or nothing.

        `second` has the second reward of the answer to each prompt, in the same order at every check.
        """
        self.checked_at = step
        self.stopped = self._judged(step, check, list(second)) if self.config.guarded else ""
        return self.stopped

    @property
    def held(self) -> list[int]:
        """The steps whose checkpoints a run may have to go back to."""
        return [self.best_step, *(step for step, _ in self.candidates)]

    def _judged(self, step: int, check: Mapping[str, float], second: list[float]) -> str:
        if self.config.max_kl is not None and check["kl_k1"] > self.config.max_kl:
            return (
                f"kl {check['kl_k1']:.2f} nats per sequence at a check exceeds the budget max_kl = {self.config.max_kl}"
            )
        if not second:
            self.best_step = step
            return ""
        best, highest = self._chosen(step, second)
        allowed = self.config.max_second_drop * max(self.second_std or 0.0, 1e-6)
        drop = highest - float(np.mean(second))
        self.drops = self.drops + 1 if drop > allowed else 0
        if self.drops >= 2 or drop > 2 * allowed:
            return (
                f"the second reward fell from {highest:.3f} after step {best} to {np.mean(second):.3f}, "
                f"{drop / max(self.second_std or 0.0, 1e-6):.2f} of its standard deviations "
                f"(max_second_drop = {self.config.max_second_drop})"
            )
        return ""

    def _chosen(self, step: int, second: list[float]) -> tuple[int, float]:
        """Chooses the check to go back to; returns the one with the highest second reward, and its mean."""
        found = [*self.candidates, (step, second)]
        means = {at: float(np.mean(values)) for at, values in found}
        best, values = max(found, key=lambda each: (means[each[0]], -each[0]))
        found = [each for each in found if means[best] - means[each[0]] <= _standard_error(values, each[1])]
        self.best_step = found[0][0]
        while len(found) > _MOST:
            found.remove(min(found[1:], key=lambda each: means[each[0]]))
        self.candidates = found
        return best, means[best]

    def state(self) -> dict[str, object]:
        """Returns what a resumed run needs."""
        return {name: getattr(self, name) for name in _STATE}

    def load(self, state: Mapping[str, object]) -> None:
        """Takes over what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)


def _standard_error(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns the standard error of the mean difference of two lists, pair by pair; 0 of a single pair."""
    differences = np.subtract(first, second)
    return float(differences.std(ddof=1) / np.sqrt(len(differences))) if len(differences) > 1 else 0.0
