"""Log-probabilities of whole answers, and those of the reference model, computed once and kept with a content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gristlm.finetune.batches import lay_out, split_over
from gristlm.finetune.prepared import Prepared
from gristlm.model import Model
from gristlm.runs.files import write_atomic
from gristlm.training.device import autocast
from gristlm.training.distributed import ALONE, Ranks

_NAME = "logprobs"


@torch.no_grad()
def answer_logprobs(
    model: Model, prepared: Prepared, *, packing: bool, tokens: int, max_seq_len: int, ranks: Ranks = ALONE
) -> NDArray[np.float32]:
    """Returns float32[N], log p of each conversation's targets given what precedes them; the same on every rank.

    Args:
        model: the model.
        prepared: N conversations.
        packing: compute them side by side (the same numbers, up to rounding).
        tokens: tokens computed at once.
        max_seq_len: width of the rows, in tokens.
        ranks: share the work; every one must call it.
    """
    sums = np.zeros(len(prepared), dtype=np.float32)
    was_training = model.training
    model.eval()
    for indices, weight in split_over(prepared.lengths, ranks, most=None, tokens=tokens, packing=packing):
        batch = lay_out(prepared, indices, packing=packing, max_seq_len=max_seq_len, device=model.device)
        with autocast(model.device):
            logprobs = model.token_logprobs(batch.input_ids, batch.labels, cu_seqlens=batch.cu_seqlens)
        if weight:
            sums[indices] = batch.sums(logprobs).cpu().numpy()
    model.train(was_training)
    return sums if ranks.world_size == 1 else np.array(ranks.sum(*sums.tolist()), dtype=np.float32)


def content_hash(model_digest: str, prepared: Prepared) -> str:
    """Returns the SHA-256 of what log-probabilities depend on: the model and every conversation, in hex."""
    digest = hashlib.sha256(model_digest.encode())
    for array in (prepared.ids, prepared.offsets, prepared.loss_mask):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def cached(
    path: Path, key: str, compute: Callable[[], NDArray[np.float32]], ranks: Ranks = ALONE
) -> NDArray[np.float32]:
    """Returns the numbers kept in `path` under the content hash `key`; else computes and keeps them.

    A file of another key, or one that cannot be read, is made again. The first rank reads and writes it.
    """
    kept = ranks.from_first(_kept(path, key) if ranks.first else None)
    if kept is not None:
        return kept
    values = compute()
    if ranks.first:
        write_atomic(path, save({_NAME: torch.from_numpy(values)}, metadata={"content": json.dumps(key)}))
    return values


def _kept(path: Path, key: str) -> NDArray[np.float32] | None:
    try:
        with safe_open(path, framework="pt") as file:
            if json.loads(file.metadata()["content"]) == key:
                kept: NDArray[np.float32] = file.get_tensor(_NAME).numpy()
                return kept
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        pass
    return None
