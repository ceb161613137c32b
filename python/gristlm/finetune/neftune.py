"""Noise on the embeddings while tuning (Jain et al. 2023, "NEFTune", arXiv 2310.05914, section 3).

Uniform in [-1, 1] times alpha / sqrt(L D), with L the tokens of the conversation and D the width. The noise of a
conversation is a function of (seed, step, conversation), so neither packing nor resuming changes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gristlm.finetune.batches import Batch
from gristlm.model import Model


@contextlib.contextmanager
def noisy(
    model: Model, batch: Batch, conversations: Sequence[int] | NDArray[np.int64], *, alpha: float, seed: int, step: int
) -> Iterator[None]:
    """Adds noise to what the embedding table gives, for one forward pass over `batch`; 0 for `alpha` adds none.

    Args:
        model: its table is looked up once inside.
        batch: these conversations, laid out in this order.
        conversations: their numbers in the data.
        alpha: strength; the paper has 5 to 15.
        seed: of the run.
        step: of the run.
    """
    if not alpha:
        yield
        return
    width = model.config.d_model
    noise_SD = torch.zeros(batch.input_ids.numel(), width)
    for number, start, length in zip(conversations, batch.starts, batch.sizes, strict=True):
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence((seed, step, int(number))).generate_state(1)[0])
        )
        noise = torch.empty(length, width).uniform_(-1, 1, generator=generator)
        noise_SD[start : start + length] = noise * (alpha / (length * width) ** 0.5)

    def add(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        del module, given
        return out + noise_SD.view(out.shape).to(out)

    handle = model.embed_tokens.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
