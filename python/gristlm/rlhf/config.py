"""The settings of reward-model training and of RLHF."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from gristlm.model.config import ModelConfig
from gristlm.runs.config import StageConfig
from gristlm.verify.judge import JudgeConfig


class RewardConfig(StageConfig):
    """The `[reward]` table: a reward model from pairs of a better and a worse answer."""

    epochs: int = Field(default=1, ge=1)
    """Times each pair is seen."""
    max_pairs: int | None = Field(default=None, ge=1)
    """Use only this many pairs, chosen by the seed; none means all."""
    global_batch_size: int = Field(default=32, ge=1)
    """Pairs per optimizer step."""
    micro_batch_size: int = Field(default=16, ge=1)
    """Pairs per forward pass; less memory when smaller, the same result up to rounding."""
    max_seq_len: int | None = Field(default=None, ge=8)
    """Longest prompt with answer, tokens; longer pairs are dropped and counted. None is the checkpoint's."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate; cosine to a tenth of it."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay of matrices."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    margin: float = Field(default=0.0, ge=0)
    """Least difference of rewards to reach, added to a pair's own `margin` (Touvron et al. 2023, Llama 2, eq. 2)."""
    center_coef: float = Field(default=0.01, ge=0)
    """Weight of (chosen + rejected reward)², which keeps rewards centred on zero (Eisenstein et al. 2023, eq. 8)."""
    ensemble: int = Field(default=1, ge=1, le=16)
    """Reward models to train from the checkpoint, each on pairs drawn anew with replacement; their mean is the reward
    (Coste et al. 2023)."""
    pessimism: float = Field(default=0.0, ge=0)
    """Standard deviations between the members that are taken off their mean."""
    max_heldout_pairs: int = Field(default=512, ge=1)
    """Held-out pairs to measure accuracy on."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints."""
    keep_last: int = Field(default=2, ge=1)
    """Checkpoints kept."""


_TAKEN = ("checkpoints", "final", "rollouts", "best")


class PairsConfig(StageConfig):
    """The `[pairs]` table: preference pairs from the tuned model's own answers."""

    criterion: str | None = None
    """`path/to/file.py:function` that says which answer is better; none is the recipe's rlhf.criterion."""
    pairs: int = Field(default=6000, ge=1)
    """Pairs for the reward model."""
    second_pairs: int = Field(default=0, ge=0)
    """Further pairs, none of them among the first, for the second reward model."""
    heldout_pairs: int = Field(default=1000, ge=1)
    """Pairs from the held-out prompts, with true labels and, in another file, with noisy ones."""
    flip: float = Field(default=0.1, ge=0, lt=0.5)
    """Share of labels that are turned round."""
    samples_per_prompt: int = Field(default=16, ge=2)
    """Answers sampled to a prompt at a time."""
    uses: int = Field(default=3, ge=1)
    """In how many pairs one better answer may be, each time beside another worse one."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest answer, tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""


class TaskConfig(StageConfig):
    """The table `[task]` of a recipe: data from a function, and a model that knows nothing yet."""

    generator: str
    """`path/to/file.py:function`, from the working directory, or beside the recipes that come with gristlm."""
    vocab_size: int = Field(default=261, ge=261, le=1 << 20)
    """Tokens, four special ones among them; 261 is one per byte."""
    model: ModelConfig = ModelConfig()
    """The network; a recipe gives it as `[model]`."""


class RLHFConfig(StageConfig):
    """The `[rlhf]` table: sample answers, score them, make the good ones likelier, stay near the start."""

    algorithm: Literal[
        "grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "reinforce++", "ppo", "best_of_n", "online_dpo"
    ] = "grpo"
    """The policy loss and its advantages; the table in `gristlm.rlhf.losses` has the papers."""
    rewards: dict[str, float] | None = Field(default=None, min_length=1)
    """Name to weight: "format", "refusal", "length", "exact", "numeric", "overlap", "math", "ifeval", "json", "code",
    "repetition_penalty", "length_penalty", "reward_model", "judge", "regex:PATTERN", "forbidden:FILE",
    "harmless:FILE", "path/to/file.py:function"; none means format, refusal, length and, if one is given, the reward
    model, 1 each."""
    max_reward_seconds: float | None = Field(default=600.0, gt=0)
    """Longest that one reward may take for a step's answers before the run ends, the answers saved; none is for ever
    (seconds)."""
    judge: JudgeConfig | None = None
    """The server that the reward "judge" asks."""
    steps: int = Field(default=25, ge=0)
    """Rounds of sampling and learning."""
    prompts_per_step: int = Field(default=8, ge=1)
    """Prompts of each step."""
    group_size: int = Field(default=8, ge=1)
    """Answers sampled for each prompt."""
    max_sampling_rounds: int = Field(default=1, ge=1)
    """Over 1: groups of equal rewards are left out, and up to so many rounds of prompts are sampled to fill the step
    (DAPO's dynamic sampling, Yu et al. 2025, eq. 11)."""
    overlong_buffer_tokens: int | None = Field(default=None, ge=1)
    """Over the last so many tokens before max_new_tokens the reward falls by up to 1 (DAPO, eq. 13); none: it does
    not."""
    updates_per_step: int = Field(default=1, ge=1)
    """Optimizer updates per step, each on a share of its answers; over 1 the clip comes into play."""
    micro_batch_size: int = Field(default=16, ge=1)
    """Answers per forward pass; less memory when smaller, the same result up to rounding."""
    max_new_tokens: int = Field(default=64, ge=1)
    """Longest answer, tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature, of training and of the held-out measurement; log-probabilities are taken at the same."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Peak learning rate (ours, for models of a few million parameters; 1e-6 for billions)."""
    warmup_steps: int = Field(default=2, ge=0)
    """Steps over which the learning rate rises."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What it does afterwards; linear and cosine fall to zero at the last step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay of matrices."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    clip_range: tuple[float, float] | None = None
    """How far below and above 1 the probability ratio may count; none means the algorithm's paper's."""
    kl_coef: float = Field(default=0.05, ge=0)
    """Price of a nat of KL divergence from the starting checkpoint."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where it is paid: off the reward, per answer (k1; Ouyang et al. 2022), or in the loss, per token (`kl_loss`)."""
    kl_target: float | None = Field(default=None, gt=0)
    """Nats per sequence that an adaptive controller steers to by changing kl_coef after each step (Ziegler et al. 2019,
    section 2.2); none keeps kl_coef fixed."""
    kl_horizon: float = Field(default=10.0, gt=0)
    """Steps over which the controller would correct a lasting error of a fifth by its own size."""
    max_kl: float | None = Field(default=None, gt=0)
    """Budget of KL divergence, mean nats per sequence: a step whose answers exceed it ends the run, unlearned."""
    check_every: int | None = Field(default=None, ge=1)
    """Steps between checks on prompts set aside (`dev_prompts`, else the held-out ones); none checks only at the end.
    Each keeps a checkpoint, and what stops a run rolls it back to the best."""
    guarded: bool = True
    """Whether checks and alarms may end the run and roll it back; false measures and goes on, to show what happens."""
    max_check_prompts: int = Field(default=128, ge=1)
    """Prompts of a check."""
    second_rewards: dict[str, float] | None = Field(default=None, min_length=1)
    """Rewards that are measured at each check and never learned from, by name and weight as `rewards`; none means the
    second reward model, if one is given. The best check is the one where they are highest."""
    max_second_drop: float = Field(default=0.3, gt=0)
    """How far the second reward may fall below its best, in standard deviations of it before training: at two checks in
    a row, or twice as far at one, it ends the run."""
    min_entropy: float | None = Field(default=None, ge=0)
    """Mean nats per sampled token below which the run ends: answers have become all alike."""
    max_length_ratio: float | None = Field(default=None, gt=1)
    """How many times as long as in the first step answers may be on average before the run ends."""
    max_repetition: float | None = Field(default=None, gt=0, le=1)
    """Mean share of an answer's token triples that it has said before, over which the run ends."""
    engine: str = "local"
    """Where answers are sampled: "local", "http://HOST:PORT/v1" (OpenAI's protocol, token ids), "ray" or "ray:N"."""
    engine_model: str | None = None
    """What a server calls the model; none takes the first it lists."""
    engine_reload: str | None = None
    """Path on a server that is sent {"model_path": …} after each step, e.g. "/update_weights_from_disk"; none leaves
    its weights as they are."""
    importance_cap: float = Field(default=2.0, ge=1)
    """Most that a token may count because the trainer finds it likelier than the engine that sampled it."""
    one_step_off: bool = False
    """Sample a step's answers while the step before is learned, with the weights before it; corrected as an engine's.
    The step after a checkpoint is sampled anew, so a resumed run ends the same."""
    criterion: str | None = None
    """`path/to/file.py:function`, called with a prompt's text and an answer: the truth that rewards stand for. It is
    measured, before, at each check and after, and labels the pairs of `[pairs]`; nothing is learned from it here."""
    best_of_n: int | None = Field(default=None, ge=2)
    """Also measure the start with the best of so many answers to each held-out prompt, chosen by the rewards."""
    arms: dict[str, dict[str, object]] | None = Field(default=None, min_length=1)
    """Several runs from one start, each with settings of its own on top of these, in directories of their names."""
    min_std: float = Field(default=0.0, ge=0)
    """A group's standard deviation below this is taken as this, so small differences stay small; 0 is plain GRPO."""
    max_heldout_prompts: int = Field(default=128, ge=1)
    """Held-out prompts to measure the reward before and after on; with no file of them, up to a tenth is set aside."""
    beta: float = Field(default=0.1, gt=0)
    """online_dpo only: DPO's beta."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """PPO only: discount per token."""
    lam: float = Field(default=0.95, ge=0, le=1)
    """PPO only: 0 trusts the critic's next estimate, 1 only what was received (Schulman et al. 2016)."""
    value_learning_rate: float = Field(default=5e-4, gt=0)
    """PPO only: the critic's peak learning rate."""
    value_clip: float = Field(default=0.2, gt=0)
    """PPO only: how far a value may move in a step, in standard deviations of the reward at the start."""
    checkpoint_every: int = Field(default=10, ge=1)
    """Steps between checkpoints."""
    keep_last: int = Field(default=2, ge=1)
    """Checkpoints kept."""

    @field_validator("clip_range")
    @classmethod
    def _clip_is_positive(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (0 <= value[0] <= 1 and value[1] >= 0):
            raise ValueError("must be (below, above) with below within 0 and 1 and above at least 0")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.group_size < 2 and self.algorithm not in ("reinforce++", "ppo"):
            raise ValueError(
                f"algorithm {self.algorithm!r} compares answers to one prompt, so group_size must be at least 2"
            )
        if self.algorithm == "online_dpo" and self.updates_per_step > 1:
            raise ValueError(
                "algorithm 'online_dpo' weighs pairs by the policy that sampled: updates_per_step must be 1"
            )
        if self.engine != "local" and (self.temperature != 1 or self.one_step_off):
            raise ValueError(
                "another engine tells log-probabilities at temperature 1: it needs temperature = 1 and no one_step_off"
            )
        if self.one_step_off and self.max_sampling_rounds > 1:
            raise ValueError("one_step_off samples a step at once: max_sampling_rounds must be 1")
        if self.updates_per_step > self.prompts_per_step * self.group_size:
            raise ValueError("updates_per_step must not exceed prompts_per_step * group_size")
        if self.rewards is not None and not any(self.rewards.values()):
            raise ValueError("rewards must have a weight other than 0")
        for name in self.arms or {}:
            if not name.replace("-", "").replace("_", "").isalnum() or name in _TAKEN:
                raise ValueError(f"arms has {name!r}; an arm is named in letters, digits, - and _, and not {_TAKEN}")
            self.arm(name)
        return self

    def arm(self, name: str) -> Self:
        """Returns the settings of one arm.

        Raises:
            ValueError: an arm's setting is unknown or impossible.
        """
        own = (self.arms or {})[name]
        base = {key: getattr(self, key) for key in self.model_fields_set - {"arms"}}
        return type(self).model_validate({**base, **own})
