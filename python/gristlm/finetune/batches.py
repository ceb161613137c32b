"""Which conversations a step trains on, and how they lie in memory.

The order is a pure function of (seed, step): an endless stream in which every epoch is a permutation of its own, cut
into steps of equal size. Neither packing nor the size of micro-batches changes which conversations a step sees or
what its loss is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gristlm.finetune.packing import IGNORED, next_labels
from gristlm.finetune.prepared import Prepared
from gristlm.training.distributed import Ranks

_RAGGED = 0.8  # a padded micro-batch ends before a conversation shorter than this share of its longest
_FULL_ENOUGH = 0.25  # … once it holds this share of its tokens


def step_indices(step: int, *, seed: int, count: int, batch_size: int) -> NDArray[np.int64]:
    """Returns int64[batch_size], what step number `step` (from 0) trains on among `count`."""
    places = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int64)
    epochs = places // count
    orders = {int(epoch): _permutation(seed, int(epoch), count) for epoch in np.unique(epochs)}
    return np.array(
        [orders[int(epoch)][place % count] for epoch, place in zip(epochs, places, strict=True)], dtype=np.int64
    )


def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Returns a permutation drawn by sorting Philox's raw bits, which are the same in every version of numpy."""
    return np.argsort(np.random.Philox(key=[seed, epoch]).random_raw(count), kind="stable").astype(np.int64)


def split(sizes: NDArray[np.int64], *, most: int | None, tokens: int, packing: bool) -> list[NDArray[np.int64]]:
    """Returns the indices of `sizes` in micro-batches, the longest first.

    Args:
        sizes: int64[N], tokens of each item.
        most: items in a micro-batch; None is as many as fit.
        tokens: tokens in a micro-batch, padding counted; one item may exceed it.
        packing: items lie side by side; otherwise each is padded to the longest.
    """
    order = np.argsort(-sizes, kind="stable")
    if most is not None:
        return [order[at : at + most] for at in range(0, len(order), most)]
    groups: list[list[int]] = []
    used = 0
    for index in order.tolist():
        size = int(sizes[index])
        if groups:
            longest = int(sizes[groups[-1][0]])
            after = used + (size if packing else longest)
            ragged = not packing and size < _RAGGED * longest and used >= _FULL_ENOUGH * tokens
            if after <= tokens and not ragged:
                groups[-1].append(index)
                used = after
                continue
        groups.append([index])
        used = size
    return [np.asarray(group, dtype=np.int64) for group in groups]


def split_over(
    sizes: NDArray[np.int64], ranks: Ranks, *, most: int | None, tokens: int, packing: bool
) -> list[tuple[NDArray[np.int64], float]]:
    """Returns this rank's micro-batches of what all ranks share, each with its weight: 1, or 0 for a repeated one.

    Every rank gets as many, since they compute in step; one that has fewer repeats an item without weight.
    """
    order = np.argsort(-sizes, kind="stable")
    groups = []
    for rank in range(ranks.world_size):
        part = order[rank :: ranks.world_size]
        groups.append([part[group] for group in split(sizes[part], most=most, tokens=tokens, packing=packing)])
    mine = groups[ranks.rank]
    idle = max(map(len, groups)) - len(mine)
    return [(group, 1.0) for group in mine] + [(order[-1:], 0.0)] * idle


@dataclasses.dataclass(frozen=True)
class Batch:
    """Conversations as the model's arguments."""

    input_ids: Tensor
    """int64[B, T]."""
    labels: Tensor
    """int64[B, T], the next token where it is to be learnt, else -100."""
    cu_seqlens: Tensor | None
    """int32[n+1] over the flattened batch; None where each row is one conversation."""
    owner: Tensor
    """int64[B x T], the number in this batch of the conversation that each position belongs to."""
    starts: list[int]
    """Where each conversation starts in the flattened batch."""
    sizes: list[int]
    """Tokens of each conversation."""

    @property
    def num_conversations(self) -> int:
        """How many there are."""
        return len(self.sizes)

    def sums(self, logprobs: Tensor) -> Tensor:
        """Returns float32[num_conversations], the sum over each conversation of float32[B, T]."""
        if self.cu_seqlens is None:
            return logprobs.sum(1)
        return logprobs.new_zeros(self.num_conversations).index_add(0, self.owner, logprobs.flatten())


def lay_out(
    prepared: Prepared,
    indices: Sequence[int] | NDArray[np.int64],
    *,
    packing: bool,
    max_seq_len: int,
    device: torch.device,
) -> Batch:
    """Returns these conversations, in this order, side by side (`packing`) or one per row, padded on the right.

    Side by side they fill rows of equal length up to `max_seq_len`, and a conversation may go on in the next row:
    what belongs together is told by `cu_seqlens`, which covers the flattened batch.
    """
    parts = [prepared.conversation(int(index)) for index in indices]
    sizes = np.array([len(ids) for ids, _ in parts], dtype=np.int64)
    if packing:
        total = int(sizes.sum())
        rows = -(-total // max_seq_len)
        shape = (rows, -(-total // rows))
        starts = np.cumsum([0, *sizes[:-1]])
        bounds = np.cumsum([0, *sizes])
        if shape[0] * shape[1] > total:
            bounds = np.append(bounds, shape[0] * shape[1])
        cu_seqlens = torch.from_numpy(bounds.astype(np.int32)).to(device)
    else:
        shape = (len(parts), int(sizes.max()))
        starts = np.arange(len(parts)) * shape[1]
        cu_seqlens = None
    input_ids = np.zeros(
        shape[0] * shape[1], dtype=np.int64
    )  # what a pad holds is never seen: attention is causal, its label -100
    labels = np.full(shape[0] * shape[1], IGNORED, dtype=np.int64)
    owner = np.zeros(shape[0] * shape[1], dtype=np.int64)
    for number, (start, (ids, mask)) in enumerate(zip(starts.tolist(), parts, strict=True)):
        within = slice(start, start + len(ids))
        input_ids[within], labels[within], owner[within] = ids, next_labels(ids, mask), number
    tensors = [torch.from_numpy(array).to(device) for array in (input_ids, labels, owner)]
    return Batch(
        tensors[0].view(shape), tensors[1].view(shape), cu_seqlens, tensors[2], starts.tolist(), sizes.tolist()
    )
