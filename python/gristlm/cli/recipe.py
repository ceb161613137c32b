"""The schema of a recipe: one table per stage. A stage runs when its table is there."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from gristlm.collect.config import CollectConfig, ConversationsConfig
from gristlm.evaluate.config import EvaluateConfig
from gristlm.finetune.config import FinetuneConfig
from gristlm.model.config import ModelConfig
from gristlm.pretrain.config import PretrainConfig
from gristlm.rlhf.config import PairsConfig, RewardConfig, RLHFConfig, TaskConfig
from gristlm.runs.config import Config
from gristlm.tokenize.config import TokenizerConfig, TokensConfig

# What each table needs before it, unless the files are given under [data].
NEEDS = {
    "tokenizer": ("collect",),
    "tokens": ("collect", "tokenizer"),
    "pretrain": ("tokens", "tokenizer"),
    "conversations": ("collect",),
    "finetune": ("pretrain",),
    "preference": ("finetune",),
    "pairs": ("finetune", "rlhf"),
    "reward": ("finetune",),
    "second_reward": ("pairs", "reward"),
    "rlhf": ("finetune",),
    "evaluate": ("pretrain",),
}
DATA_STAGES = ("finetune", "preference", "reward", "rlhf")


class DataConfig(Config):
    """Files of your own for the stages after pretraining; a stage without one reads what `[conversations]` made."""

    finetune: Path | None = None
    """Conversations for `[finetune]` (JSONL or Parquet)."""
    finetune_heldout: Path | None = None
    """Held-out conversations for `[finetune]`."""
    preference: Path | None = None
    """Preference pairs for `[preference]`."""
    preference_heldout: Path | None = None
    """Held-out preference pairs for `[preference]`."""
    reward: Path | None = None
    """Preference pairs for `[reward]`."""
    reward_heldout: Path | None = None
    """Held-out preference pairs for `[reward]`."""
    rlhf: Path | None = None
    """Prompts for `[rlhf]`."""
    rlhf_heldout: Path | None = None
    """Held-out prompts for `[rlhf]`."""


class Recipe(Config):
    """A whole run, from sources to an aligned model."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random; a stage's own `seed` goes before it."""
    num_threads: int | None = Field(default=None, ge=1, le=4096)
    """Threads of every stage; none means all cores."""
    task: TaskConfig | None = None
    """Data from a function and an untrained model, in place of everything up to `[pretrain]`."""
    collect: CollectConfig | None = None
    """Collect, clean and deduplicate documents."""
    tokenizer: TokenizerConfig | None = None
    """Train the tokenizer."""
    tokens: TokensConfig | None = None
    """Encode the documents."""
    model: ModelConfig | None = None
    """The network."""
    pretrain: PretrainConfig | None = None
    """Next-token prediction."""
    conversations: ConversationsConfig | None = None
    """Make conversations, preference pairs and prompts from the documents."""
    data: DataConfig = DataConfig()
    """Your own files in place of the conversations made."""
    finetune: FinetuneConfig | None = None
    """Supervised fine-tuning."""
    preference: FinetuneConfig | None = None
    """Fine-tuning on preference pairs."""
    pairs: PairsConfig | None = None
    """Preference pairs from the tuned model's answers, labelled by a criterion."""
    reward: RewardConfig | None = None
    """The reward model."""
    second_reward: RewardConfig | None = None
    """A reward model on other pairs, held out to guard against the first."""
    rlhf: RLHFConfig | None = None
    """Reinforcement learning from rewards."""
    evaluate: EvaluateConfig | None = None
    """The same suite for every checkpoint."""

    @model_validator(mode="after")
    def _model_has_one_place(self) -> Self:
        if self.model is not None and self.pretrain is not None and "model" in self.pretrain.model_fields_set:
            raise ValueError("the network is described twice, in [model] and in [pretrain.model]; keep [model]")
        return self

    def collect_config(self) -> CollectConfig:
        """Returns the `[collect]` table, which is there, with what the recipe measures on as its evaluation sets."""
        assert self.collect is not None, "a stage is only called when its table is there"
        suites = (self.evaluate.suites if self.evaluate else None) or {}
        heldout = [str(path) for key, path in self.data if path is not None and key.endswith("_heldout")]
        sets = list(dict.fromkeys([*suites.values(), *heldout]))
        if self.collect.evaluation_sets is not None or not sets:
            return self.collect
        return self.collect.model_copy(update={"evaluation_sets": sets})

    def pretrain_config(self) -> PretrainConfig:
        """Returns the `[pretrain]` table with the network of `[model]` in it."""
        config = self.pretrain or PretrainConfig()
        return config if self.model is None else config.model_copy(update={"model": self.model})

    def task_config(self) -> TaskConfig:
        """Returns the `[task]` table, which is there, with the network of `[model]` in it."""
        assert self.task is not None, "a stage is only called when its table is there"
        return self.task if self.model is None else self.task.model_copy(update={"model": self.model})

    def pairs_config(self) -> PairsConfig:
        """Returns the `[pairs]` table, which is there, with the criterion of `[rlhf]` where it has none."""
        assert self.pairs is not None, "a stage is only called when its table is there"
        criterion = self.rlhf.criterion if self.rlhf is not None else None
        given = self.pairs.criterion or criterion
        return self.pairs.model_copy(update={"criterion": given})

    def check(self) -> None:
        """Checks, before any work, that the tables fit together.

        Raises:
            ValueError: names the table or key, what was given and what is allowed.
        """
        self._check_order()
        self._check_lengths()
        self._check_rewards()
        self._check_files()

    def _check_order(self) -> None:
        for stage, needs in NEEDS.items():
            if getattr(self, stage) is None:
                continue
            for need in needs if self.task is None or stage != "finetune" else ():
                if getattr(self, need) is None:
                    raise ValueError(f"[{stage}] needs [{need}], which this recipe does not have")
            if (
                stage in DATA_STAGES
                and self.conversations is None
                and self.task is None
                and getattr(self.data, stage) is None
            ):
                raise ValueError(f"[{stage}] has no data: give `{stage}` under [data], or add a [conversations] table")

    def _check_lengths(self) -> None:
        model = self.pretrain_config().model
        lengths = {"pretrain.seq_len": self.pretrain.seq_len if self.pretrain else None}
        for stage in ("finetune", "preference", "reward"):
            lengths[f"{stage}.max_seq_len"] = getattr(getattr(self, stage), "max_seq_len", None)
        for key, length in lengths.items():
            if length is not None and length > model.max_seq_len:
                raise ValueError(f"{key} is {length}; model.max_seq_len allows at most {model.max_seq_len}")
        if self.tokenizer and model.vocab_size is not None and model.vocab_size < self.tokenizer.vocab_size:
            raise ValueError(
                f"model.vocab_size is {model.vocab_size}, below tokenizer.vocab_size "
                f"{self.tokenizer.vocab_size}; leave it out"
            )

    def _check_rewards(self) -> None:
        if self.rlhf is None or self.rlhf.rewards is None:
            return
        if "reward_model" in self.rlhf.rewards and self.reward is None:
            raise ValueError("rlhf.rewards names reward_model, but this recipe has no [reward] table to train one")
        if "reward_model" not in self.rlhf.rewards and self.reward is not None:
            raise ValueError("[reward] trains a reward model, but rlhf.rewards does not name reward_model")

    def _check_files(self) -> None:
        for key, path in self.data:
            if path is not None and not Path(path).is_file():
                raise ValueError(f"data.{key} is {str(path)!r}; there is no such file")
        for file in self.collect_config().evaluation_sets or () if self.collect else ():
            if not Path(file).is_file():
                raise ValueError(f"collect.evaluation_sets names {file!r}; there is no such file")
        for source in self.collect.sources if self.collect else ():
            if not source.startswith("python:") and not Path(source).exists():
                raise ValueError(f"collect.sources names {source!r}; there is no such file or folder")
