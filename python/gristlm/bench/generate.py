"""Tokens generated per CPU second: our engine beside transformers, the same weights and prompts, greedy, float32."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.errors import InputError
from gristlm.model import Model, ModelConfig

PEERS = ("transformers",)
NEW_TOKENS = 48
SHAPE = ModelConfig(vocab_size=4096, num_layers=6, d_model=256, num_heads=4, max_seq_len=256, qk_norm=False)
"""About 6 M weights."""
TASKS = (
    ("16 prompts", 16, 1),
    ("64 prompts", 64, 1),
    ("2 prompts, groups of 8", 2, 8),
    ("8 prompts, groups of 8", 8, 8),
)
"""What is measured: its name, prompts, and completions of each."""
Tokens = list[list[int]]


def measure(table: BenchTable, texts: list[str], vocabulary: Path | None, peers: Sequence[str] | None) -> None:
    """Adds every row to `table`; the tokens must be equal first.

    Raises:
        InputError: a name in `peers` is unknown.
    """
    del texts, vocabulary
    for name in peers or ():
        if name not in PEERS:
            raise InputError(f"peers has {name!r}; known are {', '.join(PEERS)}")
    torch.set_num_threads(1)
    table.unit = "tok"
    table.versions["torch"] = torch.__version__
    table.text = (
        f"{SHAPE.num_parameters() / 1e6:.1f} M weights, prompts of 24 to 56 tokens, {NEW_TOKENS} new ones, greedy"
    )
    model = Model(SHAPE, seed=0)
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(24, 57, (64,), generator=random).tolist()
    prompts = [torch.randint(5, 4096, (length,), generator=random).tolist() for length in lengths]
    peer = _transformers(table, model)
    for name, count, group in TASKS:
        contenders = [_contender(OURS, _Ours(model), prompts[:count], group)]
        if peer is not None:
            contenders.append(_contender("transformers", peer, prompts[:count], group))
        # A token is counted as a million, so that the unit is one token.
        table.compare(name, 1_000_000 * count * group * NEW_TOKENS, contenders)


def _contender(library: str, generator: _Ours | _Transformers, prompts: Tokens, group: int) -> Contender[None]:
    return Contender(library, lambda: None, lambda _: generator.run(prompts, group))


class _Ours:
    def __init__(self, model: Model) -> None:
        self._model = model

    def run(self, prompts: Tokens, group: int) -> Tokens:
        groups = self._model.generate(prompts, max_new_tokens=NEW_TOKENS, n=group, temperature=0.0, ignore_eos=True)
        return [one.tokens for each in groups for one in each]


class _Transformers:
    def __init__(self, module: Any) -> None:
        self._module = module

    def run(self, prompts: Tokens, group: int) -> Tokens:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts for _ in range(group)])
        mask = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts for _ in range(group)]
        )
        with torch.no_grad():
            out = self._module.generate(
                ids, attention_mask=mask, do_sample=False, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
            )  # fmt: skip
        tokens: Tokens = out[:, width:].tolist()
        return tokens


def _transformers(table: BenchTable, model: Model) -> _Transformers | None:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        table.skipped["transformers"] = "not installed"
        return None
    table.versions["transformers"] = transformers.__version__
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        module = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa"
        )
    return _Transformers(module.eval())
