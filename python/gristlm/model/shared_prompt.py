"""Sequences that begin alike, with what they share computed once: answers to one prompt, the two of a pair.

A sequence that shares its beginning with another lies in memory without it. Everything but attention sees each position
once; attention sees every sequence whole, and the shared keys and values go into each. The numbers are those of the
sequences computed alone, up to rounding.

Ours; prefix sharing in preference tuning is also in arXiv 2410.20305, with a block mask.

Shapes: S flat positions, P padded flat positions, N heads, H head_dim.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gristlm.errors import InputError
from gristlm.model.attention import causal_groups, unpadded
from gristlm.model.config import ModelConfig

_STEP = 1.25  # sequences whose lengths differ by no more than this factor are padded to one length


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sequences as the network's arguments."""

    input_ids: Tensor
    """int64[1, S]."""
    position_ids: Tensor
    """int64[1, S], the place in the sequence."""
    attend: SharedPrompt
    flats: list[NDArray[np.int64]]
    """Of each sequence, where each of its tokens lies, int64[length]; what is shared lies in another's."""


def lay_out(
    sequences: Sequence[Sequence[int]], most: Sequence[int], *, config: ModelConfig, device: torch.device
) -> Layout:
    """Returns the sequences end to end, each without what it has in common with the beginning of another.

    Args:
        sequences: the ids of each, at least one.
        most: how many ids of each may be shared; the rest are its own positions.
        config: the network's shape; one that mixes neighbours outside attention (`smear`) shares nothing.
        device: where the tensors go.

    Raises:
        InputError: a sequence is longer than the network's `max_seq_len`.
    """
    longest = max(map(len, sequences))
    if longest > config.max_seq_len:
        raise InputError(f"a sequence of {longest} tokens is longer than the model's max_seq_len {config.max_seq_len}")
    leaders, shared = _alike(sequences, [0] * len(sequences) if config.smear else most)
    ids, places, total = list[NDArray[np.int64]](), list[NDArray[np.int64]](), 0
    flats, copies = [np.empty(0, np.int64)] * len(sequences), [0] * len(sequences)
    followers = [0] * len(sequences)
    for index in sorted(range(len(sequences)), key=lambda index: leaders[index] != index):
        leader, begin, length = leaders[index], shared[index], len(sequences[index])
        flats[index] = np.concatenate([flats[leader][:begin], total + np.arange(length - begin)])
        ids.append(np.asarray(sequences[index][begin:], np.int64))
        places.append(np.arange(begin, length))
        total += length - begin
        if index != leader:
            copies[index], followers[leader] = followers[leader], followers[leader] + 1
    windows = tuple(config.window(layer) for layer in range(config.num_layers))
    input_ids, position_ids = (torch.from_numpy(np.concatenate(each)).to(device)[None] for each in (ids, places))
    return Layout(input_ids, position_ids, SharedPrompt.of(flats, shared, copies, windows, device), flats)


def _alike(sequences: Sequence[Sequence[int]], most: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns for each sequence which one it shares its beginning with (itself: none), and how many ids.

    Sorted, those that begin alike stand side by side. Each goes with the leader before it if that has at least half of
    what may be shared and nearly as much as the one that follows; else it leads itself.
    """
    leaders, shared = list(range(len(sequences))), [0] * len(sequences)
    order = sorted(leaders, key=lambda index: list(sequences[index]))
    with_next = [_common(sequences[one], sequences[other], most[other]) for one, other in pairwise(order)]
    leader = order[0]
    for index, later in zip(order[1:], [*with_next[1:], 0], strict=False):
        common = _common(sequences[leader], sequences[index], most[index])
        if common and 2 * common >= most[index] and 5 * common >= 4 * later:
            leaders[index], shared[index] = leader, common
        else:
            leader = index
    return leaders, shared


def _common(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """Returns how many ids both begin with, at most `most`."""
    length = min(len(one), len(other), most)
    return next((place for place in range(length) if one[place] != other[place]), length)


@dataclasses.dataclass(frozen=True)
class SharedPrompt:
    """Causal attention over sequences that begin with the same positions, as right-padded batches of like length."""

    groups: list[tuple[int, int]]
    """(number of sequences, padded length), in order."""
    sources: Tensor
    """int64[P]: the flat position that each padded one copies (a pad copies its sequence's first)."""
    places: Tensor
    """int64[S]: where each flat position is among the padded ones, in the sequence that it belongs to."""
    copies: list[tuple[Tensor, Tensor]]
    """Pairs of int64[-]: flat positions that stand in further sequences too, each once in a pair, and where."""
    windows: tuple[int | None, ...]

    @staticmethod
    def of(
        flats: Sequence[NDArray[np.int64]],
        shared: Sequence[int],
        copies: Sequence[int],
        windows: tuple[int | None, ...],
        device: torch.device,
    ) -> SharedPrompt:
        """Returns the attention of sequences of flat positions.

        The first `shared` of each belong to another sequence, of whose copies this is number `copies`.
        """
        places = np.empty(sum(map(len, flats)) - sum(shared), np.int64)
        groups, sources, offset = list[tuple[int, int]](), list[NDArray[np.int64]](), 0
        copied: list[list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = [[] for _ in range(max(copies) + 1)]
        order = sorted(range(len(flats)), key=lambda index: -len(flats[index]))
        while order:
            longest = len(flats[order[0]])
            group = [index for index in order if len(flats[index]) * _STEP >= longest]
            order = order[len(group) :]
            for row, index in enumerate(group):
                flat, begin = flats[index], shared[index]
                at = offset + row * longest + np.arange(len(flat))
                places[flat[begin:]] = at[begin:]
                if begin:
                    copied[copies[index]].append((flat[:begin], at[:begin]))
                sources.append(np.concatenate([flat, np.full(longest - len(flat), flat[0])]))
            groups.append((len(group), longest))
            offset += len(group) * longest

        def moved(arrays: Sequence[NDArray[np.int64]]) -> Tensor:
            return torch.from_numpy(np.concatenate(arrays)).to(device)

        pairs = [(moved([flat for flat, _ in each]), moved([at for _, at in each])) for each in copied if each]
        return SharedPrompt(groups, moved(sources), moved([places]), pairs, windows)

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        """Returns [1, S, N, H]."""
        q, k, v = (_Spread.apply(x.flatten(0, 1), self) for x in (q_BTNH, k_BTKH, v_BTKH))
        mixed = causal_groups(layer, q, k, v, self.groups, window=self.windows[layer])
        return unpadded(mixed, self.places).view(q_BTNH.shape)


class _Spread(torch.autograd.Function):
    """Copies positions to their padded places; a pad has no gradient to return, a shared position has several."""

    @staticmethod
    def forward(ctx: Any, x_SNH: Tensor, attend: SharedPrompt) -> Tensor:
        ctx.attend = attend
        return x_SNH.index_select(0, attend.sources)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_SNH = grads[0].index_select(0, ctx.attend.places)
        for positions, places in ctx.attend.copies:  # each position once, so the order of adding is this one
            grad_SNH[positions] += grads[0].index_select(0, places)
        return grad_SNH, None
