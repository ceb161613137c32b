"""The settings of `collect` and of `collect.conversations`; their docstrings are the help of the command line."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gristlm.collect.shard import parse as parse_shard
from gristlm.collect.web.settings import WebConfig
from gristlm.runs.config import Config, StageConfig

Rule = str | tuple[str, dict[str, float]]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def size_in_bytes(text: str) -> int:
    """Returns the bytes that "2GB" (powers of 1000) or "2GiB" (powers of 1024) says.

    Raises:
        ValueError: it says no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not a size; write a number and a unit, such as 500MB or 2GB; given {text!r}")
    unit = match[2].lower()
    return int(float(match[1]) * (1024 if "i" in unit else 1000) ** _UNITS[unit[0]])


class QualityModelConfig(Config):
    """A model that tells text to keep from text to drop."""

    path: str
    """A supervised fastText model, `.bin` or `.ftz`; `gristlm collect train-quality` makes one."""
    label: str = "good"
    """The label of text to keep, with or without `__label__`."""
    min_score: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability of the label that a document needs."""


class MixtureConfig(BaseModel):
    """The shares of the sources in what is trained on."""

    model_config = ConfigDict(extra="forbid")

    weights: dict[str, float]
    """For each source, by its name in report.json, its part of the whole; 0 leaves it out. The sum is free."""
    by: Literal["documents", "bytes", "tokens"] = "bytes"
    """What is weighed."""
    max_epochs: float | dict[str, float] = 1.0
    """How often a source may be repeated at most, for all sources or by name (1 where it names none); at 1 none is."""
    total: int | None = Field(default=None, ge=1)
    """Most documents, bytes or tokens to take in all."""
    tokenizer: str | None = None
    """The tokenizer.json that counts the tokens, where they are weighed."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        bad = {name: weight for name, weight in self.weights.items() if not 0 <= weight < float("inf")}
        if bad or not sum(self.weights.values()) > 0:
            raise ValueError(f"weights are numbers from 0 on, one of them above it; given {bad or self.weights}")
        caps = self.max_epochs.values() if isinstance(self.max_epochs, dict) else [self.max_epochs]
        if not all(0 < cap <= 1000 for cap in caps):
            raise ValueError(f"max_epochs is above 0 and at most 1000; given {self.max_epochs}")
        if (self.by == "tokens") != (self.tokenizer is not None):
            raise ValueError('tokens are weighed with a tokenizer: give by = "tokens" and tokenizer = FILE together')
        return self

    def cap(self, source: str) -> float:
        """Returns how often a source may be read."""
        return self.max_epochs.get(source, 1.0) if isinstance(self.max_epochs, dict) else self.max_epochs


class CollectConfig(StageConfig):
    """Where text comes from, and what is kept of it."""

    sources: list[str] = Field(default_factory=list)
    """Files, folders, finished artifacts of documents, URLs of data (`s3://…`, `hf://…`), data sets of the hub
    (`hf-dataset:OWNER/NAME`) and web sites (`https://…`) to read; `python:` or `python:docstrings` (`topics`,
    `packages`, `code`) for the Python on this machine, which is also what an empty list reads."""
    licences: list[str] = Field(default_factory=list)
    """SPDX ids of the licences to keep ("unknown" and "public-domain" too), case ignored; empty keeps all."""
    opt_out: list[str] = Field(default_factory=list)
    """Files that list domains, URLs and document ids which are never fetched and never kept."""
    shard: str | None = None
    """i/n: read only every n-th file (or other unit) of each source from the i-th on, i from 0."""
    web: WebConfig = Field(default_factory=WebConfig)
    """How web sites are read."""
    rules: list[Rule] = Field(default_factory=lambda: list[Rule](["encoding", "unicode"]))
    """Cleaning rules for prose, in order, as `gristlm.clean` takes them; source code gets `encoding` and `unicode`."""
    quality_model: QualityModelConfig | None = None
    """A model that judges prose after the rules; none judges none."""
    evaluation_sets: list[str] | None = None
    """Files (JSON Lines, JSON, CSV, Parquet) of what models are measured on: a document that shares a run of words with
    a row is dropped. None takes, in a recipe, the suites of `[evaluate]` and the held-out files of `[data]`; an empty
    list checks nothing."""
    contamination_ngram: int = Field(default=13, ge=3, le=1000)
    """Words in such a run."""
    keep_dropped: bool = False
    """Keep the texts of what is dropped too, in `dropped-NNNNN.parquet`; without, only the reasons are kept."""
    heldout_fraction: float = Field(default=0.05, ge=0.0, lt=1.0)
    """Share of the documents to hold out, chosen by a hash of their id; 0 holds out none."""
    mixture: MixtureConfig | None = None
    """How much of each source is trained on; none takes all of all."""
    near_duplicate_threshold: float | None = Field(default=0.8, gt=0.0, le=1.0)
    """Jaccard similarity (of word 5-grams) from which a document is a near duplicate; none keeps near duplicates."""
    repeated_bytes: int | None = Field(default=None, ge=20)
    """Cut, from each document that is kept, every passage of at least this many bytes that stood in one before it, and
    leave the first (in the order of ids); 200 bytes are about 50 tokens. None cuts nothing. A mixture weighs tokens as
    they were before."""
    repeated_units: Literal["paragraph", "line"] | None = None
    """Cut, from each document of prose that is kept, every paragraph (between blank lines) or line that stood before,
    in one before it or in itself, and leave the first (in the order of ids). None cuts nothing; not with
    `repeated_bytes`."""
    text_column: str = "text"
    """The column of Parquet, or key of JSON Lines, that holds the text."""
    columns: dict[Literal["title", "uri", "licence", "language", "id"], str] = Field(default_factory=dict)
    """The columns, or keys, of rows that hold these, where they are not called so: `{"title": "headline"}`."""
    languages: list[str] = Field(default_factory=list)
    """BCP 47 tags of the languages to keep ("en" keeps "en-GB" too), source code aside; empty keeps all."""
    mimes: list[str] = Field(default_factory=list)
    """Media types to take from web archives; empty takes HTML and plain text."""
    statuses: list[int] = Field(default_factory=lambda: [200])
    """HTTP statuses to take from web archives."""
    url_pattern: str | None = None
    """A regular expression; of web archives, only pages in whose address it is found are taken."""
    piece_bytes: int | None = Field(default=32_000, ge=1_000)
    """Longer prose files are cut, between paragraphs, into documents of about this many bytes; none cuts none."""
    max_document_bytes: int = Field(default=10_000_000, ge=1)
    """A longer document (or a file of one document) is dropped."""
    max_bytes_per_source: int | None = Field(default=None, ge=1)
    """Stop reading a source after this many bytes of text; none reads all."""
    strict: bool = False
    """Stop at the first thing that cannot be read, instead of counting it."""
    shard_rows: int = Field(default=10_000, ge=1)
    """Most documents in one Parquet file."""
    shard_bytes: int = Field(default=256_000_000, ge=1)
    """Most bytes of text in one Parquet file (a single document may be longer)."""
    memory: str = "2GB"
    """About how much memory to use; text that waits for deduplication lies on disk."""
    examples_per_reason: int = Field(default=10, ge=0, le=1000)
    """Examples that report.json shows for each reason for dropping."""

    @field_validator("url_pattern")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}; given {value!r}") from error
        return value

    @model_validator(mode="after")
    def _cuts_one_way(self) -> Self:
        if self.repeated_bytes is not None and self.repeated_units is not None:
            raise ValueError("repeated_bytes and repeated_units are both given; leave one out")
        return self

    @field_validator("shard")
    @classmethod
    def _is_a_shard(cls, value: str | None) -> str | None:
        if value is not None:
            parse_shard(value)
        return value

    @field_validator("memory")
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        if size_in_bytes(value) < 64_000_000:
            raise ValueError(f"must be at least 64MB; given {value!r}")
        return value

    @property
    def batch_bytes(self) -> int:
        """Bytes of text held at once: a 64th of `memory`, because reading, cleaning and writing hold several copies."""
        return max(1_000_000, min(32_000_000, size_in_bytes(self.memory) // 64))


class ConversationsConfig(StageConfig):
    """How many conversations, preference pairs and prompts to make from documents."""

    max_conversations: int = Field(default=3000, ge=1)
    """Most conversations in sft.jsonl."""
    max_preferences: int = Field(default=1500, ge=1)
    """Most pairs in preferences.jsonl."""
    max_prompts: int = Field(default=400, ge=1)
    """Most prompts in prompts.jsonl."""
    max_heldout: int = Field(default=100, ge=1)
    """Most rows in each of the three held-out files."""
    max_answer_words: int = Field(default=40, ge=5, le=500)
    """Most words of an answer."""
    refuse_fraction: float = Field(default=0.2, ge=0.0, le=0.9)
    """Share of the rows that ask for something harmful, to be refused, or that only look so, to be answered."""
    max_per_document: int = Field(default=60, ge=1)
    """Most questions taken from one document."""
