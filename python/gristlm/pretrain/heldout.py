"""Bits per byte: the loss on a scale that does not depend on the tokenizer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from gristlm.errors import InputError
from gristlm.model import Model
from gristlm.training import batches, device
from gristlm.training.packed_loader import PackedLoader


class ByteTokenizer(Protocol):
    """The part of `gristlm.Tokenizer` that this needs."""

    @property
    def vocab_size(self) -> int:
        """Number of ids."""

    @property
    def special_tokens(self) -> dict[str, int]:
        """Special token to id."""

    def id_to_bytes(self, token: int, /) -> bytes:
        """Returns the bytes that an id stands for."""

    def encode(self, text: str, /) -> list[int]:
        """Returns the token ids of a text."""


def token_bytes(tokenizer: ByteTokenizer, vocab_size: int) -> npt.NDArray[np.int64]:
    """Returns int64[vocab_size]: how many bytes of text each id stands for; 0 for a special token, which is no text."""
    special = set(tokenizer.special_tokens.values())
    lengths = np.zeros(vocab_size, np.int64)
    for token in range(tokenizer.vocab_size):
        if token not in special:
            lengths[token] = len(tokenizer.id_to_bytes(token))
    return lengths


def bytes_of(labels: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> int:
    """Returns the bytes of text that the labels stand for."""
    return int(lengths[labels[labels >= 0]].sum())


class HeldOut:
    """The same few batches of held-out rows, measured again and again.

    Args:
        path: the held-out token dataset.
        seq_len: tokens per row.
        batch_size: rows per batch.
        num_batches: how many batches at most.
        lengths: from `token_bytes`.

    Raises:
        InputError: the held-out documents do not fill one row.
    """

    def __init__(
        self, path: Path, *, seq_len: int, batch_size: int, num_batches: int, lengths: npt.NDArray[np.int64]
    ) -> None:
        loader = PackedLoader({path: 1.0}, seq_len=seq_len, batch_size=batch_size, seed=0, epochs=1)
        self._batches = [*itertools.islice(loader, num_batches)]
        self._tokens = sum(int((batch.labels >= 0).sum()) for batch in self._batches)
        self._bytes = sum(bytes_of(batch.labels, lengths) for batch in self._batches)
        if not self._bytes:
            raise InputError(
                f"{path} has no text to measure on; keep more documents aside in collect (heldout_fraction)"
            )

    @torch.no_grad()
    def measure(self, model: Model, rows: int) -> dict[str, float]:
        """Returns `heldout_loss` (nats per token) and `heldout_bits_per_byte`, over `rows` rows at a time."""
        nats = 0.0
        for batch in self._batches:
            for part in batches.split(batch, rows, model.device):
                with device.autocast(model.device):
                    _, nll = model.loss(
                        part.input_ids,
                        part.labels,
                        position_ids=part.position_ids,
                        cu_seqlens=part.cu_seqlens,
                        total_tokens=1,
                    )
                nats += float(nll)
        return {"heldout_loss": nats / self._tokens, "heldout_bits_per_byte": nats / math.log(2) / self._bytes}


def measure(heldout: Mapping[str, HeldOut], model: Model, rows: int) -> dict[str, float]:
    """Returns the figures of the run's own held-out documents, the first, and of the others with their names behind."""
    (own, *_), figures = heldout, dict[str, float]()
    for name, part in heldout.items():
        found = part.measure(model, rows)
        figures |= found if name == own else {f"{key}/{name}": value for key, value in found.items()}
    return figures
