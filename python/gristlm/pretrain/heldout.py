"""Bits per byte: the loss on a scale that does not depend on the tokenizer; of all held-out text and of each source."""

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
from gristlm.tokenize import TokenDataset, document_sources
from gristlm.training import batches, device
from gristlm.training.packed_loader import Batch, PackedLoader

BY_SOURCE = "source_bits_per_byte"
MAX_SOURCES = 50


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
        dataset = TokenDataset(path)
        loader = PackedLoader({dataset: 1.0}, seq_len=seq_len, batch_size=batch_size, seed=0, epochs=1)
        self._batches = [*itertools.islice(loader, num_batches)]
        found = document_sources.read(path, len(dataset))
        names, numbers = ([""], np.zeros(len(dataset), np.int64)) if found is None else found
        self._sources_M = [_sources_of_labels(batch, numbers) for batch in self._batches]
        self._tokens = sum(map(len, self._sources_M))
        size = np.zeros(len(names), np.int64)
        for batch, sources_M in zip(self._batches, self._sources_M, strict=True):
            np.add.at(size, sources_M, lengths[batch.labels[batch.labels >= 0]])
        self._bytes = size
        if not size.sum():
            raise InputError(
                f"{path} has no text to measure on; keep more documents aside in collect (heldout_fraction)"
            )
        largest = sorted((-count, place) for place, count in enumerate(size.tolist()) if count)[:MAX_SOURCES]
        self._shown = {} if len(names) == 1 else {names[place]: place for _, place in largest}

    @torch.no_grad()
    def measure(self, model: Model, rows: int) -> dict[str, float]:
        """Returns `heldout_loss` (nats per token) and `heldout_bits_per_byte`, over `rows` rows at a time.

        Of documents from several sources also `source_bits_per_byte/<source>`, those with the most text first, at most
        `MAX_SOURCES`; a source that the measured rows hold nothing of has none.
        """
        nats = np.zeros(len(self._bytes))
        for batch, sources_M in zip(self._batches, self._sources_M, strict=True):
            parts = []
            for part in batches.split(batch, rows, model.device):
                with device.autocast(model.device):
                    logprobs_BT = model.token_logprobs(
                        part.input_ids, part.labels, position_ids=part.position_ids, cu_seqlens=part.cu_seqlens
                    )
                parts.append(logprobs_BT[part.labels >= 0].double().cpu().numpy())
            nats -= np.bincount(sources_M, weights=np.concatenate(parts), minlength=len(nats))
        figures = {
            "heldout_loss": float(nats.sum()) / self._tokens,
            "heldout_bits_per_byte": float(nats.sum()) / math.log(2) / int(self._bytes.sum()),
        }
        for name, place in self._shown.items():
            figures[f"{BY_SOURCE}/{name}"] = float(nats[place]) / math.log(2) / int(self._bytes[place])
        return figures


def _sources_of_labels(batch: Batch, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns int64[M]: the number of the source of each label of a batch, in the order of the flattened labels."""
    sequences = np.repeat(batch.segments[:, 1], batch.segments[:, 3])
    return numbers[sequences[batch.labels.reshape(-1) >= 0]]


def measure(heldout: Mapping[str, HeldOut], model: Model, rows: int) -> dict[str, float]:
    """Returns the figures of the run's own held-out documents, the first, and of the others with their names behind."""
    (own, *_), figures = heldout, dict[str, float]()
    for name, part in heldout.items():
        for key, value in part.measure(model, rows).items():
            what, slash, source = key.partition("/")
            figures[key if name == own else f"{what}/{name}{slash}{source}"] = value
    return figures
