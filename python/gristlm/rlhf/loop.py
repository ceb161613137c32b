"""The RLHF loop: sample answers, score them, learn from which were better, stay near the start.

Everything random in a step is a function of (seed, step), so a run that was cut off anywhere ends, after resuming from
its last checkpoint, with the same weights and rollouts, bit for bit.

Under torchrun the policy's gradient and optimizer state (and the critic) are spread over the processes by FSDP2; each
samples its share of the answers with a whole copy of the policy, and all know all answers, so they decide alike.

Where the KL divergence from the starting checkpoint is paid off the reward (`kl_in = "reward"`), it is the sum over the
answer of log p - log p_ref (k1), so it takes part in the advantages like any reward.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from gristlm.errors import ConfigError, TrainingError
from gristlm.model import Completion, Model
from gristlm.model.weights import load_into
from gristlm.rlhf import asked_rewards
from gristlm.rlhf.ahead import Ahead
from gristlm.rlhf.arms import run_arms
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.correction import corrected
from gristlm.rlhf.engines import connect
from gristlm.rlhf.guards import Guard, controlled
from gristlm.rlhf.learners import GroupLearner, Learner, PPOLearner
from gristlm.rlhf.prompts import PromptSets
from gristlm.rlhf.record import Record
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.reward_watch import ConstantWatch
from gristlm.rlhf.rollouts import Sampler, Scored
from gristlm.rlhf.scoring import FAILED, Measured, Scorer, figures, jsonl
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.training import checkpoint, device, distributed, memory
from gristlm.training.chat_prompt import load_template
from gristlm.training.distributed import Ranks

_MEASURED = ("reward", "reward_greedy", "criterion", "criterion_greedy", "second_reward")


def run(config: RLHFConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Returns the manifest of a checkpoint that was trained on rewards for its own answers.

    Args:
        config: the `[rlhf]` table.
        inputs: "checkpoint" (a directory), "prompts" (JSON Lines), optionally "heldout_prompts", "dev_prompts" (for the
            checks), "reward_model" and "second_reward_model" (each the `final/` of a reward stage).
        output_dir: gets `checkpoints/`, `final/`, `rollouts/step-*.parquet`, `heldout_before.parquet`,
            `heldout_after.parquet`, `heldout.jsonl` and `metrics.jsonl`. The manifest counts `reward_before`,
            `reward_after` (weighted mean on the held-out prompts, same seeds), `kl` (nats per sequence, k3), `stopped`
            (why, if something did) and `rolled_back_to` (the step of the weights in `final/`, if not the last).
            With `arms`, each is such a directory under its name; see `gristlm.rlhf.arms`.

    Raises:
        ConfigError, FormatError: settings or files do not fit; names which.
        TrainingError: a reward failed or gave no finite number (the answers are in `failed_rollouts.jsonl`), or the
            loss is not finite (they are in that step's rollouts).
    """
    absent = [name for name in ("checkpoint", "prompts") if name not in inputs]
    if absent:
        raise ConfigError(f"rlhf needs the input {absent[0]!r}; given {', '.join(inputs) or 'none'}")
    with distributed.joined() as ranks:
        if not ranks.first:
            progress.enable(False)
        sources = {**inputs, **asked_rewards.own_files(config, inputs)}
        stage = artifact.begin(output_dir, kind="rlhf", config=config, inputs=sources) if ranks.first else None
        if not ranks.from_first(stage is not None and stage.manifest is not None):
            with contextlib.closing(stage) if stage is not None else contextlib.nullcontext():
                if config.arms:
                    counts = run_arms(config, inputs, output_dir, ranks, run)
                else:
                    with contextlib.closing(_Run(config, inputs, output_dir, ranks)) as one:
                        counts = one.train()
                if stage is not None:
                    stage.finish(counts=counts, apart=list(config.arms or {}))
        ranks.from_first(None)
        return artifact.load(output_dir, kind="rlhf")


class _Run:
    """What every step of one run shares."""

    def __init__(self, config: RLHFConfig, inputs: Mapping[str, Path], path: Path, ranks: Ranks) -> None:
        self.config, self.path, self.ranks, self.start = config, path, ranks, inputs["checkpoint"]
        if ranks.world_size > 1 and config.engine.startswith("ray"):
            raise ConfigError(
                f"rlhf.engine is {config.engine!r}, whose actors are processes of their own: it needs one trainer, and "
                f"there are {ranks.world_size}; allowed there: 'local' (each samples its share) or a server"
            )
        where = device.pick(config.num_threads)
        first, second = asked_rewards.build(config, inputs, path, where) if ranks.first else (None, None)
        self.critic_start = inputs.get("reward_model", self.start)
        self.policy = Model.from_pretrained(self.start, device=where)
        self.reference = Model.from_pretrained(self.start, device=where).requires_grad_(False)
        self.actor = self.policy  # what samples: of several ranks each has a whole copy
        if ranks.world_size > 1:
            self.actor = Model.from_pretrained(self.start, device=where).requires_grad_(False)
        self.sampler = Sampler(
            Tokenizer.from_file(self.start),
            load_template(self.start),
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            ranks=ranks,
        )
        self.scorer = Scorer(config, self.sampler, self.reference, first, second, path / FAILED, ranks)
        self.engine = connect(config, self.start, self.policy.output_weight.shape[0])
        self.ahead = Ahead(self._sampled)
        self.prompts = PromptSets.read(config, inputs, self.sampler, self.policy.config.max_seq_len)
        if ranks.first:
            (path / FAILED).unlink(missing_ok=True)
            write_atomic(path / "heldout.jsonl", jsonl(self.prompts.heldout_rows()))
        distributed.shard(self.policy, ranks)

    def train(self) -> dict[str, object]:
        """Runs the steps that are still to do, writes what the stage promises and returns its counts."""
        config, path = self.config, self.path
        before = self._measure(self.reference, path / "heldout_before.parquet", 0)
        learner = self._learner(before)
        guard, watch = Guard(config), ConstantWatch()
        done, tokens, kl_coef = 0, 0, config.kl_coef
        latest = self.ranks.from_first(checkpoint.latest(path) if self.ranks.first else None)
        if latest is not None:
            state = checkpoint.restore(latest, learner.module, learner.optimizer)
            done, tokens, kl_coef = _integer(state["step"]), _integer(state["tokens"]), _float(state["kl_coef"])
            guard.load(_mapping(state["guard"]))
            self._copy_policy()
        record = Record(path, self.start, config, self.ranks, done=done)
        first = self._check(self.reference) if self._checks else Measured({}, [])
        guard.begin(first.figures, first.second)
        if not done:
            record.metrics(0, heldout_reward=before["reward"], heldout_kl=before["kl"], **_checked(first.figures))
        stopped = guard.stopped
        with progress.bar("rlhf", config.steps) as bar:
            bar.update(done)
            for step in range(done + 1, 0 if stopped else config.steps + 1):
                started = time.perf_counter()
                scored = self._rollouts(step, kl_coef)
                sampled = time.perf_counter()
                found = figures(scored) | self.scorer.counts()
                watch.look(scored.rewards)
                stopped = guard.after_sampling(found)
                if stopped:
                    break
                if self.config.one_step_off and not self._boundary(step):
                    self.ahead.start(self.actor, step + 1)
                advantages = learner.advantages(scored)
                record.rollouts(step, scored, advantages, self.sampler)
                if self.engine is not None or self.ahead.stale:
                    scored, advantages, off = corrected(self.actor, scored, advantages, config, self.ranks)
                    found |= off
                try:
                    found |= learner.learn(step, scored, advantages)
                except TrainingError:
                    self.scorer.save_failed(scored.rollouts)
                    raise
                self._copy_policy()
                done, tokens = step, tokens + sum(len(rollout.tokens) for rollout in scored.rollouts)
                kl_coef = controlled(kl_coef, found["kl"], config)
                found |= _seconds(started, sampled, scored)
                if self._checks and (step % self._checks == 0 or step == config.steps):
                    check = self._check(self.actor)
                    stopped = guard.after_check(step, check.figures, check.second)
                    found |= _checked(check.figures)
                record.metrics(step, **found)
                memory.release(step)
                bar.update(step, reward=found["reward"], kl=found["kl"])
                if self.engine is not None:
                    self._hand_over()
                if stopped or self._boundary(step):
                    state = {"step": step, "tokens": tokens, "kl_coef": kl_coef, "guard": guard.state()}
                    record.checkpoint(step, learner, state, keep_steps=guard.held)
                if stopped:
                    break
        return self._finish(before, learner, guard, record, done=done, tokens=tokens, stopped=stopped)

    def close(self) -> None:
        """Lets go of the engine."""
        self.ahead.close()
        if self.engine is not None:
            self.engine.close()

    def _finish(
        self,
        before: Mapping[str, float],
        learner: Learner,
        guard: Guard,
        record: Record,
        *,
        done: int,
        tokens: int,
        stopped: str,
    ) -> dict[str, object]:
        config, path = self.config, self.path
        kept = guard.keep(done, stopped) if self._checks else done
        if kept != done:
            self._roll_back(learner, kept)
        after = self._measure(self.actor, path / "heldout_after.parquet", kept)
        record.metrics(
            done, **{f"heldout_{name}": after[name] for name in ("reward", "kl", "criterion") if name in after}
        )
        if self.ranks.first:
            checkpoint.write_final(path, self.actor, tokenizer_dir=self.start)
        if stopped:
            progress.say(f"  stopped after step {done}: {stopped}")
        if kept != done:
            progress.say(f"  rolled back to step {kept}, the best check")
        progress.say(
            f"  reward on {len(self.prompts.heldout)} held-out prompts: {before['reward']:.3f} before, "
            f"{after['reward']:.3f} after ({before['reward_greedy']:.3f} and {after['reward_greedy']:.3f} greedy), "
            f"kl {after['kl']:.2f} nats per answer"
        )
        if "criterion" in after:
            progress.say(f"  criterion: {before['criterion']:.3f} before, {after['criterion']:.3f} after")
        seeds = self.prompts.heldout_seeds()
        best_of = (
            None
            if config.best_of_n is None
            else self.scorer.best_of(self.reference, self.prompts.heldout, seeds, config.best_of_n)
        )
        return {
            "steps": done,
            "completions": done * config.prompts_per_step * config.group_size,
            "tokens": tokens,
            "prompts": len(self.prompts.train),
            "heldout_prompts": len(self.prompts.heldout),
            "dropped_prompts": self.prompts.dropped,
            **{
                f"{name}_{when}": measured[name]
                for name in _MEASURED
                for when, measured in (("before", before), ("after", after))
                if name in measured
            },
            "kl": after["kl"],
            "heldout_before": before,
            "heldout_after": after,
            **({} if best_of is None else {"best_of_n": best_of}),
            "stopped": stopped,
            "rolled_back_to": kept if kept != done else None,
        }

    @property
    def _checks(self) -> int:
        """Steps between checks; 0: none."""
        config = self.config
        alarms = (config.max_kl, config.min_entropy, config.max_length_ratio, config.max_repetition)
        watched = any(alarm is not None for alarm in alarms) or self.scorer.has_second
        return config.check_every or (config.checkpoint_every if watched else 0)

    def _rollouts(self, step: int, kl_coef: float) -> Scored:
        """Returns the answers of one step, scored."""
        config = self.config
        scored = None
        for turn in range(config.max_sampling_rounds):
            chosen, seeds = self.prompts.of_step(step, turn)
            mine = self.ahead.take(step)
            if mine is None:
                how = self.engine or self.actor
                mine = self.sampler.share(how, chosen, group_size=config.group_size, seeds=seeds)
            more = self.scorer.score(self.sampler.answers(chosen, mine), kl_coef)
            scored = more if scored is None else scored.joined(more)
            if config.max_sampling_rounds > 1:
                scored = scored.varied(config.group_size, most=config.prompts_per_step)
                if len(scored.rollouts) == config.prompts_per_step * config.group_size:
                    break
        assert scored is not None
        return scored if scored.rollouts else more

    def _sampled(self, model: Model, step: int) -> list[list[Completion]]:
        chosen, seeds = self.prompts.of_step(step, 0)
        return self.sampler.share(model, chosen, group_size=self.config.group_size, seeds=seeds)

    def _boundary(self, step: int) -> bool:
        """Whether a checkpoint follows this step."""
        config, checks = self.config, self._checks
        return (checks > 0 and step % checks == 0) or step % config.checkpoint_every == 0 or step == config.steps

    def _hand_over(self) -> None:
        """Gives the engine the policy's newest weights."""
        assert self.engine is not None
        if self.ranks.first:
            with tempfile.TemporaryDirectory(prefix="gristlm-weights-") as folder:
                self.actor.save_pretrained(folder)
                checkpoint.copy_tokenizer(self.start, Path(folder))
                self.engine.load(Path(folder))
        self.ranks.from_first(None)

    def _copy_policy(self) -> None:
        """Gives what samples the policy's newest weights."""
        if self.actor is not self.policy:
            distributed.gather_into(self.actor, self.policy)

    def _check(self, model: Model) -> Measured:
        prompts, seeds = self.prompts.dev, self.prompts.dev_seeds()
        return self.scorer.measure(model, prompts, seeds, None, 0)

    def _roll_back(self, learner: Learner, step: int) -> None:
        """Gives the policy the weights of a checkpoint; those of the start for step 0."""
        self.ranks.from_first(None)  # the checkpoint is whole once the first rank is here
        if step:
            path = self.path / checkpoint.CHECKPOINTS / f"step-{step:08d}"
            checkpoint.restore(path, learner.module, learner.optimizer)
        else:
            load_into(self.policy, self.start)
        self._copy_policy()

    def _learner(self, before: Mapping[str, float]) -> Learner:
        if self.config.algorithm != "ppo":
            return GroupLearner(self.policy, self.config, self.ranks)
        critic = RewardModel.from_checkpoint(self.critic_start, device=self.policy.device)
        if critic.config.vocab_size != self.policy.config.vocab_size:
            raise ConfigError(
                "algorithm 'ppo' starts its critic from the reward model, which must have the checkpoint's tokenizer; "
                f"their vocabularies have {critic.config.vocab_size} and {self.policy.config.vocab_size} tokens"
            )
        distributed.shard(critic.trunk, self.ranks, critic.value_head)
        return PPOLearner(
            self.policy, critic, self.config, self.ranks, reward_mean=before["reward"], reward_std=before["reward_std"]
        )

    def _measure(self, model: Model, path: Path, step: int) -> dict[str, float]:
        """Returns the figures of one answer to each held-out prompt, seeds the same for every model."""
        prompts, seeds = self.prompts.heldout, self.prompts.heldout_seeds()
        sampled = self.scorer.measure(model, prompts, seeds, path, step).figures
        return sampled | self.scorer.greedy(model, prompts, seeds)


def _checked(check: Mapping[str, float]) -> dict[str, float]:
    return {f"check_{name}": value for name, value in check.items()}


def _seconds(started: float, sampled: float, scored: Scored) -> dict[str, float]:
    now = time.perf_counter()
    tokens = sum(len(rollout.tokens) for rollout in scored.rollouts)
    return {
        "tokens_per_second": tokens / (now - started),
        "sample_seconds": sampled - started,
        "learn_seconds": now - sampled,
    }


def _integer(value: object) -> int:
    assert isinstance(value, int)
    return value


def _float(value: object) -> float:
    assert isinstance(value, float | int)
    return float(value)


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value
