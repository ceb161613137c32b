"""Rows of training: one step (forward, backward, AdamW) of ours beside transformers' Llama, same weights and rows."""

from __future__ import annotations

import abc
import importlib
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.errors import InputError
from gristlm.model import Model, ModelConfig
from gristlm.training import optimizer

PEERS = ("transformers",)
ROWS, SEQ_LEN = 4, 512
STEPS = 2
SHAPE = ModelConfig(
    vocab_size=8192, num_layers=6, d_model=320, num_heads=5, max_seq_len=SEQ_LEN, qk_norm=False, tie_embeddings=True
)
"""About 10 M weights."""


def measure(table: BenchTable, texts: list[str], vocabulary: Path | None, peers: Sequence[str] | None) -> None:
    """Adds every row to `table`; the loss and the gradient's norm of one batch must be equal first.

    Raises:
        InputError: a name in `peers` is unknown.
    """
    del texts, vocabulary
    for name in peers or ():
        if name not in PEERS:
            raise InputError(f"peers has {name!r}; known are {', '.join(PEERS)}")
    torch.set_num_threads(1)
    table.unit = "ktok"
    table.versions["torch"] = torch.__version__
    table.text = f"{SHAPE.num_parameters() / 1e6:.1f} M weights, {ROWS} rows of {SEQ_LEN}, float32, AdamW; one thread"
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 8192, (ROWS, SEQ_LEN + 1), generator=random)
    contenders = [_row(OURS, _Ours(ids))]
    try:
        transformers = importlib.import_module("transformers")
        table.versions["transformers"] = transformers.__version__
        contenders.append(_row("transformers", _Llama(transformers, ids)))
    except ImportError:
        table.skipped["transformers"] = "not installed"
    tokens = STEPS * ids[:, 1:].numel()
    table.compare(f"train, {SEQ_LEN} tokens a row", 1000 * tokens, contenders, rounds=2)  # a million of them: ktok
    table.text += f"; peak memory {_peak() / 1e9:.2f} GB"


def _peak() -> int:
    """Returns the largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _row(library: str, trainer: _Trainer) -> Contender[None]:
    return Contender(library, lambda: None, lambda _: trainer.run(), lambda _: trainer.agreed)


class _Trainer(abc.ABC):
    """A model with its optimizer; `agreed` is the first loss and gradient norm, rounded to what float32 sums allow."""

    def __init__(self, module: torch.nn.Module, ids: torch.Tensor) -> None:
        self._ids, self._labels = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
        self._module = module
        self._optimizer = optimizer.build(module, learning_rate=1e-4)
        loss = self.loss()
        torch.autograd.backward(loss)
        norm = self._optimizer.clip_grad_norm(None)
        self._optimizer.zero_grad()
        self.agreed = (round(float(loss.detach()), 3), round(norm, 2))

    @abc.abstractmethod
    def loss(self) -> torch.Tensor:
        """Returns the mean loss of the batch."""

    def run(self) -> None:
        """Does some steps."""
        for _ in range(STEPS):
            torch.autograd.backward(self.loss())
            self._optimizer.update(1e-4, 1.0)


class _Ours(_Trainer):
    def __init__(self, ids: torch.Tensor) -> None:
        super().__init__(Model(SHAPE, seed=0), ids)

    def loss(self) -> torch.Tensor:
        assert isinstance(self._module, Model)
        return self._module.loss(self._ids, self._labels)[0]


class _Llama(_Trainer):
    def __init__(self, transformers: Any, ids: torch.Tensor) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Model(SHAPE, seed=0).save_pretrained(folder)
            module = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="sdpa"
            )
        super().__init__(module.train(), ids)

    def loss(self) -> torch.Tensor:
        logits = self._module(self._ids, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), self._labels.flatten())
