"""The `[evaluate]` table of a recipe."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from gristlm.runs.config import StageConfig
from gristlm.verify.judge import JudgeConfig

SUITES = ("ifeval", "gsm8k", "truthfulqa", "xstest", "choices", "cloze")
RESERVED = ("conversations", "documents", "harm_model", "prompts", "reward_model", "summary", "votes")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class EvaluateConfig(StageConfig):
    """What is measured of each checkpoint, and how much of it.

    The caps keep the suite short on a CPU; what is left out is chosen by hash, so it is the same for every checkpoint.
    """

    checkpoints: list[str] = Field(default=["base"], min_length=1)
    """Names of the inputs that are checkpoints, in the order of the report; the first is the one to compare with."""
    max_documents: int = Field(default=400, ge=0)
    """Held-out documents scored for bits per byte (documents)."""
    max_bytes: int = Field(default=160_000, ge=1)
    """Stop taking held-out documents once they hold this much text (UTF-8 bytes)."""
    max_document_bytes: int = Field(default=16_384, ge=1)
    """Longer held-out documents are cut here, for the model and for the baselines alike (UTF-8 bytes)."""
    max_unigram_bytes: int = Field(default=268_435_456, ge=1)
    """Text of the train split that the byte unigram is fitted on (UTF-8 bytes, from its first document on)."""
    stride_tokens: int | None = Field(default=None, ge=1)
    """Step of the sliding window over documents longer than the context (tokens); none means half the context."""
    max_conversations: int = Field(default=64, ge=0)
    """Held-out conversations whose answer is scored (conversations)."""
    max_preferences: int = Field(default=64, ge=0)
    """Held-out preference pairs (pairs)."""
    max_choices: int = Field(default=32, ge=0)
    """Multiple-choice questions made from held-out conversations (questions of four answers)."""
    max_prompts: int = Field(default=48, ge=0)
    """Held-out prompts answered, half of them harmful where there are enough (prompts)."""
    max_new_tokens: int = Field(default=48, ge=1)
    """Length of a generated answer (tokens)."""
    temperature: float = Field(default=0.0, ge=0)
    """Temperature of generated answers; 0 is greedy, so that checkpoints differ by their weights only."""
    num_samples: int = Field(default=6, ge=0)
    """Generated answers kept whole, for reading side by side (prompts)."""
    suites: dict[str, str] | None = Field(default=None, min_length=1)
    """Benchmarks to run, each with its file: "ifeval", "gsm8k", "truthfulqa", "xstest", "choices", "cloze"."""
    max_suite_rows: int | None = Field(default=None, ge=1)
    """Rows of each benchmark; none means all of them."""
    suite_max_new_tokens: int = Field(default=256, ge=1)
    """Length of an answer to a benchmark's prompt, and at most half of the context (tokens)."""
    harm_model: str | None = None
    """File of a `gristlm.verify.harm.HarmModel`: the probability of harm in each answer to "xstest"."""
    punkt: str | None = None
    """Folder of Punkt's trained parameters for English (NLTK's `punkt_tab/english`): with them "ifeval" counts
    sentences as the published checker does; none counts by a rule, equal on 99 % of texts."""
    judge: JudgeConfig | None = None
    """The server that says which of two answers is better, for win rates against the first checkpoint."""
    batch_tokens: int = Field(default=8_192, ge=1)
    """Tokens of one forward pass, padding included (tokens)."""

    @field_validator("checkpoints")
    @classmethod
    def _names_are_file_names(cls, names: list[str]) -> list[str]:
        for name in names:
            if not _NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(
                    f"{name!r} cannot name a checkpoint: use letters, digits, '_', '.', '-', and none of {RESERVED}"
                )
        if len(set(names)) != len(names):
            raise ValueError("two checkpoints have the same name")
        return names

    @field_validator("suites")
    @classmethod
    def _suites_are_known(cls, suites: dict[str, str] | None) -> dict[str, str] | None:
        for name in suites or {}:
            if name not in SUITES:
                raise ValueError(f"unknown suite {name!r}; allowed: {', '.join(SUITES)}")
        return suites
