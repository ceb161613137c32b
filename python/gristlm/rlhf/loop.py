"""The RLHF loop: sample answers, score them, learn from which were better, stay near the start.

Everything random in a step is a function of (seed, step), so a run that was cut off anywhere ends, after resuming from
its last checkpoint, with the same weights and rollouts, bit for bit.

Where the KL divergence from the starting checkpoint is paid off the reward (`kl_in = "reward"`), it is the sum over the
answer of log p - log p_ref (k1), so it takes part in the advantages like any reward.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gristlm.errors import ConfigError, TrainingError
from gristlm.model import Model
from gristlm.rlhf import rollouts as rolled
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.data import read_prompts
from gristlm.rlhf.divergence import kl
from gristlm.rlhf.learners import GroupLearner, Learner, PPOLearner
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.rewards import DEFAULT_RULES, REWARD_MODEL, Rewards
from gristlm.rlhf.rewards import files as reward_files
from gristlm.rlhf.rollouts import Rollout, Sampler, Scored
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest, Stage
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.training import checkpoint, device, memory
from gristlm.training.chat_prompt import load_template
from gristlm.training.metrics import MetricsLog

# The answers of the step that a reward failed on.
FAILED = "failed_rollouts.jsonl"
# What a random number is for, so that no two uses share one.
_ORDER, _SAMPLING, _HELDOUT, _SPLIT = range(4)


def run(config: RLHFConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Returns the manifest of a checkpoint that was trained on rewards for its own answers.

    Args:
        config: the `[rlhf]` table.
        inputs: "checkpoint" (a directory), "prompts" (JSON Lines), optionally "heldout_prompts" and "reward_model"
            (the `final/` of a reward stage).
        output_dir: gets `checkpoints/`, `final/`, `rollouts/step-*.parquet`, `heldout_before.parquet`,
            `heldout_after.parquet`, `heldout.jsonl` and `metrics.jsonl`. The manifest counts `reward_before`,
            `reward_after` (weighted mean on the held-out prompts, same seeds) and `kl` (nats per sequence, k3).

    Raises:
        ConfigError, FormatError: settings or files do not fit; names which.
        TrainingError: a reward failed or gave no finite number (the answers are in `failed_rollouts.jsonl`), or the
            loss is not finite (they are in that step's rollouts).
    """
    absent = [name for name in ("checkpoint", "prompts") if name not in inputs]
    if absent:
        raise ConfigError(f"rlhf needs the input {absent[0]!r}; given {', '.join(inputs) or 'none'}")
    sources = {**inputs, **reward_files(list(_weights(config, inputs)))}
    stage = artifact.begin(output_dir, kind="rlhf", config=config, inputs=sources)
    if stage.manifest is not None:
        return stage.manifest
    try:
        return _Run(config, inputs, stage).train()
    finally:
        stage.close()


class _Run:
    """What every step of one run shares."""

    def __init__(self, config: RLHFConfig, inputs: Mapping[str, Path], stage: Stage) -> None:
        self.config, self.stage, self.start = config, stage, inputs["checkpoint"]
        (stage.path / FAILED).unlink(missing_ok=True)
        where = device.pick(config.num_threads)
        for path in (self.start, inputs.get("reward_model")):
            if path is not None and artifact.is_complete(path):
                artifact.verify(path)
        reward_model = (
            RewardModel.from_pretrained(inputs["reward_model"], device=where) if "reward_model" in inputs else None
        )
        self.critic_start = inputs.get("reward_model", self.start)
        self.rewards = Rewards(_weights(config, inputs), reward_model)
        self.policy = Model.from_pretrained(self.start, device=where)
        self.reference = Model.from_pretrained(self.start, device=where).requires_grad_(False)
        self.sampler = Sampler(
            Tokenizer.from_file(self.start),
            load_template(self.start),
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
        )
        self._read_prompts(inputs)

    def train(self) -> Manifest:
        """Runs the steps that are still to do, and writes what the stage promises."""
        config, path = self.config, self.stage.path
        before = self._measure(self.reference, path / "heldout_before.parquet", 0)
        learner = self._learner(before)
        latest = checkpoint.latest(path)
        state = checkpoint.restore(latest, learner.module, learner.optimizer) if latest else {"step": 0, "tokens": 0}
        done, tokens, stopped = _integer(state["step"]), _integer(state["tokens"]), ""
        log = MetricsLog(path)
        log.truncate(done)
        if not done:
            log.write(0, heldout_reward=before["reward"], heldout_kl=before["kl"])
        with progress.bar("rlhf", config.steps) as bar:
            bar.update(done)
            for step in range(done + 1, config.steps + 1):
                started = time.perf_counter()
                scored = self._rollouts(step)
                sampled = time.perf_counter()
                if config.max_kl is not None and scored.kl.mean() > config.max_kl:
                    stopped = f"kl {scored.kl.mean():.2f} nats per sequence exceeds the budget max_kl = {config.max_kl}"
                    break
                advantages = learner.advantages(scored)
                rolled.write(path / "rollouts" / f"step-{step:05d}.parquet", step, scored, advantages, self.sampler)
                learned = learner.learn(step, scored, advantages)
                done, tokens = step, tokens + sum(len(rollout.tokens) for rollout in scored.rollouts)
                figures = {**_figures(scored), **learned, **_seconds(started, sampled, scored)}
                log.write(step, **figures)
                memory.release(step)
                bar.update(step, reward=figures["reward"], kl=figures["kl"])
                if step % config.checkpoint_every == 0 or step == config.steps:
                    state = {"step": step, "tokens": tokens}
                    checkpoint.save(
                        path,
                        step,
                        learner.module,
                        learner.optimizer,
                        tokenizer_dir=self.start,
                        state=state,
                        keep_last=config.keep_last,
                    )
        after = self._measure(self.policy, path / "heldout_after.parquet", done)
        log.write(done, heldout_reward=after["reward"], heldout_kl=after["kl"])
        checkpoint.write_final(path, self.policy, tokenizer_dir=self.start)
        if stopped:
            progress.say(f"  stopped after step {done}: {stopped}")
        progress.say(
            f"  reward on {len(self.heldout)} held-out prompts: {before['reward']:.3f} before, "
            f"{after['reward']:.3f} after ({before['reward_greedy']:.3f} and {after['reward_greedy']:.3f} greedy), "
            f"kl {after['kl']:.2f} nats per answer"
        )
        counts = {
            "steps": done,
            "completions": done * config.prompts_per_step * config.group_size,
            "tokens": tokens,
            "prompts": len(self.prompts),
            "heldout_prompts": len(self.heldout),
            "dropped_prompts": self.dropped,
            "reward_before": before["reward"],
            "reward_after": after["reward"],
            "reward_greedy_before": before["reward_greedy"],
            "reward_greedy_after": after["reward_greedy"],
            "kl": after["kl"],
            "heldout_before": before,
            "heldout_after": after,
            "stopped": stopped,
        }
        return self.stage.finish(counts=counts)

    def _read_prompts(self, inputs: Mapping[str, Path]) -> None:
        config, limit = self.config, self.policy.config.max_seq_len
        given = read_prompts(inputs["prompts"])
        prompts = self.sampler.encode(given, limit)
        self.dropped = len(given) - len(prompts)
        if "heldout_prompts" in inputs:
            heldout = self.sampler.encode(read_prompts(inputs["heldout_prompts"]), limit)
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
        chosen = sorted(_rng(config.seed, _HELDOUT).permutation(len(heldout))[: config.max_heldout_prompts].tolist())
        self.prompts, self.heldout = prompts, [heldout[i] for i in chosen]
        rows = [{**encoded.prompt.row, "prompt": encoded.prompt.messages} for encoded in self.heldout]
        write_atomic(self.stage.path / "heldout.jsonl", _jsonl(rows))

    def _rollouts(self, step: int) -> Scored:
        """Returns the answers of one step, scored; the prompts go round in an order that is new in every epoch."""
        config, prompts = self.config, self.prompts
        first = (step - 1) * config.prompts_per_step
        places = [divmod(first + i, len(prompts)) for i in range(config.prompts_per_step)]
        orders = {
            epoch: _rng(config.seed, _ORDER, epoch).permutation(len(prompts))
            for epoch in {epoch for epoch, _ in places}
        }
        chosen = [prompts[int(orders[epoch][place])] for epoch, place in places]
        seeds = _seeds(_rng(config.seed, _SAMPLING, step), len(chosen))
        return self._score(self.sampler.sample(self.policy, chosen, group_size=config.group_size, seeds=seeds))

    def _rewards_of(self, rollouts: list[Rollout]) -> dict[str, NDArray[np.float64]]:
        """Returns each reward of every answer; where one fails, the answers are saved first."""
        config = self.config
        rows = [
            {
                **rollout.prompt.prompt.row,
                "finish_reason": rollout.finish_reason,
                "num_tokens": len(rollout.tokens),
                "max_new_tokens": config.max_new_tokens,
            }
            for rollout in rollouts
        ]
        prompts = [rollout.prompt.prompt.messages for rollout in rollouts]
        texts = [rollout.text for rollout in rollouts]
        try:
            return self.rewards.score(prompts, texts, rows)
        except TrainingError:
            failed = [{"prompt": prompt, "completion": text} for prompt, text in zip(prompts, texts, strict=True)]
            write_atomic(self.stage.path / FAILED, _jsonl(failed))
            raise

    def _score(self, rollouts: list[Rollout]) -> Scored:
        config = self.config
        rewards = self._rewards_of(rollouts)
        references = rolled.logprobs_under(
            self.reference, rollouts, temperature=config.temperature, micro_batch_size=config.micro_batch_size
        )
        sums = [
            [
                float(kl(torch.tensor(rollout.logprobs), torch.tensor(reference), estimator).sum())
                for estimator in ("k1", "k3")
            ]
            for rollout, reference in zip(rollouts, references, strict=True)
        ]
        kl_k1, kl_k3 = np.array(sums, dtype=np.float64).T
        return Scored(rollouts, references, rewards, self.rewards.total(rewards), kl_k1, kl_k3)

    def _learner(self, before: Mapping[str, float]) -> Learner:
        if self.config.algorithm != "ppo":
            return GroupLearner(self.policy, self.config)
        critic = RewardModel.from_checkpoint(self.critic_start, device=self.policy.device)
        if critic.config.vocab_size != self.policy.config.vocab_size:
            raise ConfigError(
                "algorithm 'ppo' starts its critic from the reward model, which must have the checkpoint's tokenizer; "
                f"their vocabularies have {critic.config.vocab_size} and {self.policy.config.vocab_size} tokens"
            )
        return PPOLearner(
            self.policy, critic, self.config, reward_mean=before["reward"], reward_std=before["reward_std"]
        )

    def _measure(self, model: Model, path: Path, step: int) -> dict[str, float]:
        """Returns the mean rewards and KL of one answer to each held-out prompt, seeds the same for every model."""
        seeds = _seeds(_rng(self.config.seed, _HELDOUT, 1), len(self.heldout))
        scored = self._score(self.sampler.sample(model, self.heldout, group_size=1, seeds=seeds))
        rolled.write(path, step, scored, None, self.sampler)
        greedy = self._rewards_of(self.sampler.sample(model, self.heldout, group_size=1, seeds=seeds, greedy=True))
        return {
            "reward_greedy": float(self.rewards.total(greedy).mean()),
            "reward": float(scored.total.mean()),
            "reward_std": float(scored.total.std()),
            "kl": float(scored.kl_k3.mean()),
            **{f"reward/{name}": float(values.mean()) for name, values in scored.rewards.items()},
            "finished": _finished(scored),
            "completion_tokens": _mean_length(scored),
        }


def _weights(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, float]:
    if config.rewards is not None:
        return config.rewards
    return dict.fromkeys((*DEFAULT_RULES, *((REWARD_MODEL,) if REWARD_MODEL in inputs else ())), 1.0)


def _figures(scored: Scored) -> dict[str, float]:
    logprobs = np.concatenate([rollout.logprobs for rollout in scored.rollouts])
    return {
        "reward": float(scored.total.mean()),
        "reward_std": float(scored.total.std()),
        **{f"reward/{name}": float(values.mean()) for name, values in scored.rewards.items()},
        "kl": float(scored.kl.mean()),
        "kl_k3": float(scored.kl_k3.mean()),
        "entropy": float(-logprobs.mean()),
        "finished": _finished(scored),
        "completion_tokens": _mean_length(scored),
    }


def _seconds(started: float, sampled: float, scored: Scored) -> dict[str, float]:
    now = time.perf_counter()
    tokens = sum(len(rollout.tokens) for rollout in scored.rollouts)
    return {
        "tokens_per_second": tokens / (now - started),
        "sample_seconds": sampled - started,
        "learn_seconds": now - sampled,
    }


def _finished(scored: Scored) -> float:
    return float(np.mean([rollout.finish_reason == "stop" for rollout in scored.rollouts]))


def _mean_length(scored: Scored) -> float:
    return float(np.mean([len(rollout.tokens) for rollout in scored.rollouts]))


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _rng(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _seeds(rng: np.random.Generator, count: int) -> list[int]:
    return [int(seed) for seed in rng.integers(2**63, size=count)]


def _jsonl(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
