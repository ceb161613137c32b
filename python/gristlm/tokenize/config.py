"""The tables `[tokenizer]` and `[tokens]` of a recipe."""

from __future__ import annotations

from pydantic import Field

from gristlm.runs.config import StageConfig

CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")


class TokenizerConfig(StageConfig):
    """The table `[tokenizer]` of a recipe."""

    vocab_size: int = Field(default=32_768, ge=257, le=1 << 20)
    """Tokens of all kinds together; fewer when the text has no more pairs to merge."""
    pattern: str = "o200k"
    """How text is cut before merging: gpt2, cl100k, o200k, llama3, qwen2, tekken, deepseek, none, or a regex;
    `characters` makes each character of the text a token, and vocab_size and special_tokens play no part."""
    special_tokens: tuple[str, ...] = CHAT_TOKENS
    """Texts that become one token where they are allowed; ids from 0 on (ours: end of text, ChatML's two, padding)."""
    min_frequency: int = Field(default=2, ge=1)
    """A pair of tokens that stands less often in the text is not merged."""
    max_token_bytes: int | None = Field(default=None, ge=2)
    """No token becomes longer than this many bytes; none means no limit."""


class TokensConfig(StageConfig):
    """The table `[tokens]` of a recipe."""

    end_token: str | None = "<|endoftext|>"  # noqa: S105
    """Special token put after each document; none, or an empty text, means nothing is."""
    shard_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of one `.bin` file; none is the default of the dataset's writer."""
