"""The RLHF loop: sample answers, score them, learn from which were better, stay near the start.

Everything random in a step is a function of (seed, step), so a run that was cut off anywhere ends, after resuming from
its last checkpoint, with the same weights and rollouts, bit for bit.

Where the KL divergence from the starting checkpoint is paid off the reward (`kl_in = "reward"`), it is the sum over the
answer of log p - log p_ref (k1), so it takes part in the advantages like any reward.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from gristlm.errors import ConfigError, TrainingError
from gristlm.model import Model
from gristlm.model.weights import load_into
from gristlm.rlhf import rollouts as rolled
from gristlm.rlhf.ahead import Ahead
from gristlm.rlhf.arms import run_arms
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.correction import corrected
from gristlm.rlhf.criterion import own_file
from gristlm.rlhf.engines import connect
from gristlm.rlhf.guards import Guard, controlled
from gristlm.rlhf.learners import GroupLearner, Learner, PPOLearner
from gristlm.rlhf.prompts import PromptSets
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.reward_watch import ConstantWatch
from gristlm.rlhf.rewards import DEFAULT_RULES, REWARD_MODEL, Rewards
from gristlm.rlhf.rewards import files as reward_files
from gristlm.rlhf.rollouts import Rollout, Sampler, Scored
from gristlm.rlhf.scoring import FAILED, Scorer, figures, jsonl
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest, Stage
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.training import checkpoint, device, memory
from gristlm.training.chat_prompt import load_template
from gristlm.training.metrics import MetricsLog
from gristlm.verify.judge import Judge

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
    sources = {**inputs, **_own_files(config, inputs)}
    stage = artifact.begin(output_dir, kind="rlhf", config=config, inputs=sources)
    if stage.manifest is not None:
        return stage.manifest
    try:
        if config.arms:
            return run_arms(config, inputs, stage, run)
        one = _Run(config, inputs, stage)
        try:
            return one.train()
        finally:
            one.close()
    finally:
        stage.close()


class _Run:
    """What every step of one run shares."""

    def __init__(self, config: RLHFConfig, inputs: Mapping[str, Path], stage: Stage) -> None:
        self.config, self.stage, self.start = config, stage, inputs["checkpoint"]
        (stage.path / FAILED).unlink(missing_ok=True)
        where = device.pick(config.num_threads)
        judges = {}
        for name in ("checkpoint", "reward_model", "second_reward_model"):
            if name in inputs and artifact.is_complete(inputs[name]):
                artifact.verify(inputs[name])
            if name in inputs and name != "checkpoint":
                judges[name] = RewardModel.from_pretrained(inputs[name], device=where)
        self.critic_start = inputs.get("reward_model", self.start)
        self.policy = Model.from_pretrained(self.start, device=where)
        self.reference = Model.from_pretrained(self.start, device=where).requires_grad_(False)
        self.sampler = Sampler(
            Tokenizer.from_file(self.start),
            load_template(self.start),
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
        )
        asked = None if config.judge is None else Judge(config.judge, stage.path)
        second, judge = _second_weights(config, inputs), judges.get("second_reward_model")
        self.scorer = Scorer(
            config,
            self.sampler,
            self.reference,
            Rewards(_weights(config, inputs), judges.get("reward_model"), asked, max_seconds=config.max_reward_seconds),
            None if second is None else Rewards(second, judge, asked, max_seconds=config.max_reward_seconds),
            stage.path / FAILED,
        )
        self.engine = connect(config, self.start, self.policy.output_weight.shape[0])
        self.ahead = Ahead(self._sampled)
        self.prompts = PromptSets.read(config, inputs, self.sampler, self.policy.config.max_seq_len)
        write_atomic(stage.path / "heldout.jsonl", jsonl(self.prompts.heldout_rows()))

    def train(self) -> Manifest:
        """Runs the steps that are still to do, and writes what the stage promises."""
        config, path = self.config, self.stage.path
        before = self._measure(self.reference, path / "heldout_before.parquet", 0)
        learner = self._learner(before)
        guard, watch = Guard(config), ConstantWatch()
        done, tokens, kl_coef = 0, 0, config.kl_coef
        latest = checkpoint.latest(path)
        if latest is not None:
            state = checkpoint.restore(latest, learner.module, learner.optimizer)
            done, tokens, kl_coef = _integer(state["step"]), _integer(state["tokens"]), _float(state["kl_coef"])
            guard.load(_mapping(state["guard"]))
        log = MetricsLog(path)
        log.truncate(done)
        first = self._check(self.reference) if self._checks else {}
        guard.begin(first)
        if not done:
            log.write(0, heldout_reward=before["reward"], heldout_kl=before["kl"], **_checked(first))
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
                    self.ahead.start(self.policy, step + 1)
                advantages = learner.advantages(scored)
                rolled.write(path / "rollouts" / f"step-{step:05d}.parquet", step, scored, advantages, self.sampler)
                if self.engine is not None or self.ahead.stale:
                    scored, advantages, off = corrected(self.policy, scored, advantages, config)
                    found |= off
                try:
                    found |= learner.learn(step, scored, advantages)
                except TrainingError:
                    self.scorer.save_failed(scored.rollouts)
                    raise
                done, tokens = step, tokens + sum(len(rollout.tokens) for rollout in scored.rollouts)
                kl_coef = controlled(kl_coef, found["kl"], config)
                found |= _seconds(started, sampled, scored)
                if self._checks and (step % self._checks == 0 or step == config.steps):
                    check = self._check(self.policy)
                    stopped = guard.after_check(step, check)
                    found |= _checked(check)
                log.write(step, **found)
                memory.release(step)
                bar.update(step, reward=found["reward"], kl=found["kl"])
                if self.engine is not None:
                    self._hand_over()
                if stopped or self._boundary(step):
                    state = {"step": step, "tokens": tokens, "kl_coef": kl_coef, "guard": guard.state()}
                    checkpoint.save(
                        path,
                        step,
                        learner.module,
                        learner.optimizer,
                        tokenizer_dir=self.start,
                        state=state,
                        keep_last=config.keep_last,
                        keep_step=guard.best_step,
                    )
                if stopped:
                    break
        return self._finish(before, learner, guard, log, done=done, tokens=tokens, stopped=stopped)

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
        log: MetricsLog,
        *,
        done: int,
        tokens: int,
        stopped: str,
    ) -> Manifest:
        config, path = self.config, self.stage.path
        kept = guard.keep(done, stopped) if self._checks else done
        if kept != done:
            self._roll_back(learner, kept)
        after = self._measure(self.policy, path / "heldout_after.parquet", kept)
        log.write(done, **{f"heldout_{name}": after[name] for name in ("reward", "kl", "criterion") if name in after})
        checkpoint.write_final(path, self.policy, tokenizer_dir=self.start)
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
        counts = {
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
        return self.stage.finish(counts=counts)

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
            answers = self.ahead.take(step) or self.sampler.sample(
                self.engine or self.policy, chosen, group_size=config.group_size, seeds=seeds
            )
            more = self.scorer.score(answers, kl_coef)
            scored = more if scored is None else scored.joined(more)
            if config.max_sampling_rounds > 1:
                scored = scored.varied(config.group_size, most=config.prompts_per_step)
                if len(scored.rollouts) == config.prompts_per_step * config.group_size:
                    break
        assert scored is not None
        return scored if scored.rollouts else more

    def _sampled(self, model: Model, step: int) -> list[Rollout]:
        chosen, seeds = self.prompts.of_step(step, 0)
        return self.sampler.sample(model, chosen, group_size=self.config.group_size, seeds=seeds)

    def _boundary(self, step: int) -> bool:
        """Whether a checkpoint follows this step."""
        config, checks = self.config, self._checks
        return (checks > 0 and step % checks == 0) or step % config.checkpoint_every == 0 or step == config.steps

    def _hand_over(self) -> None:
        """Gives the engine the policy's newest weights."""
        assert self.engine is not None
        with tempfile.TemporaryDirectory(prefix="gristlm-weights-") as folder:
            self.policy.save_pretrained(folder)
            checkpoint.copy_tokenizer(self.start, Path(folder))
            self.engine.load(Path(folder))

    def _check(self, model: Model) -> dict[str, float]:
        prompts, seeds = self.prompts.dev, self.prompts.dev_seeds()
        return self.scorer.measure(model, prompts, seeds, None, 0)

    def _roll_back(self, learner: Learner, step: int) -> None:
        """Gives the policy the weights of a checkpoint; those of the start for step 0."""
        if step:
            path = self.stage.path / checkpoint.CHECKPOINTS / f"step-{step:08d}"
            checkpoint.restore(path, learner.module, learner.optimizer)
        else:
            load_into(self.policy, self.start)

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
        """Returns the figures of one answer to each held-out prompt, seeds the same for every model."""
        prompts, seeds = self.prompts.heldout, self.prompts.heldout_seeds()
        return self.scorer.measure(model, prompts, seeds, path, step) | self.scorer.greedy(model, prompts, seeds)


def _own_files(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Returns the user's own code among the settings: a run is made from it too."""
    names = [*_weights(config, inputs), *(config.second_rewards or {})]
    criterion = {} if config.criterion is None else {"criterion": own_file("rlhf.criterion", config.criterion)}
    return {**reward_files(names), **criterion}


def _weights(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, float]:
    if config.rewards is not None:
        return config.rewards
    return dict.fromkeys((*DEFAULT_RULES, *((REWARD_MODEL,) if REWARD_MODEL in inputs else ())), 1.0)


def _second_weights(config: RLHFConfig, inputs: Mapping[str, Path]) -> dict[str, float] | None:
    if config.second_rewards is None and "second_reward_model" in inputs:
        return {REWARD_MODEL: 1.0}
    return config.second_rewards


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
