"""Pairs of answers that share the computation of their prompt.

A pair lies in memory as prompt, rest of the chosen answer's conversation, rest of the rejected one's. Everything but
attention sees each position once; attention sees two sequences, and the prompt's keys and values go into both. The
numbers are those of the two conversations computed alone (up to rounding), for the tokens of the prompt once.

Ours; prefix sharing in preference tuning is also in arXiv 2410.20305, with a block mask.

Shapes: S flat positions, P padded flat positions, N heads, H head_dim, M targets, U pairs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gristlm.finetune.prepared import Prepared
from gristlm.model import Model
from gristlm.model.attention import causal
from gristlm.model.head import token_logprobs

_STEP = 1.25  # sequences whose lengths differ by no more than this factor are padded to one length


@dataclasses.dataclass(frozen=True)
class PairBatch:
    """U pairs as the network's arguments."""

    input_ids: Tensor
    """int64[1, S]."""
    position_ids: Tensor
    """int64[1, S], the place in the conversation."""
    attend: SharedPrompt
    rows: Tensor
    """int64[M], the flat position before each target."""
    labels: Tensor
    """int64[M], the targets."""
    owner: Tensor
    """int64[M], the answer of each target: u for pair u's chosen, U + u for its rejected one."""
    num_answers: int

    def logprobs(self, model: Model) -> Tensor:
        """Returns float32[2U], log p of each answer: those chosen, then those rejected."""
        x_SD = model.run_blocks(self.input_ids, self.position_ids, self.attend)[0]
        logprobs_M = token_logprobs(
            x_SD.index_select(0, self.rows), model.output_weight, self.labels, softcap=model.config.logit_softcap
        )
        return logprobs_M.new_zeros(self.num_answers).index_add(0, self.owner, logprobs_M)


def can_share(model: Model) -> bool:
    """Returns whether all that mixes positions in `model` is plain causal attention."""
    return model.smear_gate is None and model.config.sliding_window is None


def lay_out_pairs(prepared: Prepared, units: NDArray[np.int64], *, device: torch.device) -> PairBatch:
    """Returns the pairs `units`, int64[U, 2] (the chosen and the rejected conversation), side by side."""
    ids, places, rows, labels, owner = [], [], [], [], []
    sequences: list[NDArray[np.int64]] = []  # chosen and rejected of each pair, as flat positions
    shared: list[int] = []
    base = 0
    for number, pair in enumerate(units):
        (chosen, chosen_mask), (rejected, rejected_mask) = (prepared.conversation(int(one)) for one in pair)
        prompt = _common(chosen, rejected, min(int(chosen_mask.argmax()), int(rejected_mask.argmax())))
        ids += [chosen, rejected[prompt:]]
        places += [np.arange(len(chosen)), np.arange(prompt, len(rejected))]
        first = base + np.arange(len(chosen))
        second = np.concatenate([first[:prompt], base + len(chosen) + np.arange(len(rejected) - prompt)])
        sequences += [first, second]
        shared.append(prompt)
        for side, (flat, own, mask) in enumerate(((first, chosen, chosen_mask), (second, rejected, rejected_mask))):
            targets = np.flatnonzero(mask)
            rows.append(flat[targets - 1])
            labels.append(own[targets])
            owner.append(np.full(len(targets), number + side * len(units)))
        base += len(chosen) + len(rejected) - prompt
    flats = (
        torch.from_numpy(np.concatenate(one).astype(np.int64)).to(device) for one in (ids, places, rows, labels, owner)
    )
    input_ids, position_ids, rows_M, labels_M, owner_M = flats
    attend = SharedPrompt.of(sequences, shared, base, device)
    return PairBatch(input_ids[None], position_ids[None], attend, rows_M, labels_M, owner_M, 2 * len(units))


def _common(one: NDArray[np.uint32], other: NDArray[np.uint32], most: int) -> int:
    """Returns how many ids both begin with, at most `most`."""
    differ = np.flatnonzero(one[:most] != other[:most])
    return int(differ[0]) if len(differ) else most


@dataclasses.dataclass(frozen=True)
class SharedPrompt:
    """Causal attention over sequences that begin with the same positions, as right-padded batches of like length."""

    groups: list[tuple[int, int]]
    """(number of sequences, padded length), in order."""
    sources: Tensor
    """int64[P]: the flat position that each padded one copies (a pad copies its sequence's first)."""
    places: Tensor
    """int64[S]: where each flat position is among the padded ones; of a prompt's two, the chosen one's."""
    prompts: Tensor
    """int64[-]: the flat positions of the prompts."""
    seconds: Tensor
    """int64[-]: where each of them is in the rejected one's sequence."""

    @staticmethod
    def of(sequences: list[NDArray[np.int64]], shared: list[int], total: int, device: torch.device) -> SharedPrompt:
        """Returns the attention for two sequences of flat positions per pair, of which the first `shared` are one."""
        places, seconds = np.empty(total, np.int64), np.empty(total, np.int64)
        groups, sources, offset = [], [], 0
        order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
        while order:
            longest = len(sequences[order[0]])
            group = [index for index in order if len(sequences[index]) * _STEP >= longest]
            order = order[len(group) :]
            for row, index in enumerate(group):
                flat = sequences[index]
                at = offset + row * longest + np.arange(len(flat))
                prompt = shared[index // 2] if index % 2 else 0
                seconds[flat[:prompt]] = at[:prompt]
                places[flat[prompt:]] = at[prompt:]
                sources.append(np.concatenate([flat, np.full(longest - len(flat), flat[0])]))
            groups.append((len(group), longest))
            offset += len(group) * longest
        prompts = np.concatenate([sequences[2 * pair][:prompt] for pair, prompt in enumerate(shared)])
        tensors = (np.concatenate(sources), places, prompts, seconds[prompts])
        return SharedPrompt(groups, *(torch.from_numpy(array).to(device) for array in tensors))

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        """Returns [1, S, N, H]."""
        q, k, v = (
            _Spread.apply(x.flatten(0, 1), self.sources, self.places, self.prompts, self.seconds)
            for x in (q_BTNH, k_BTKH, v_BTKH)
        )
        mixed, offset = [], 0
        for count, length in self.groups:
            one = slice(offset, offset + count * length)
            mixed.append(causal(layer, *(x[one].view(count, length, *x.shape[1:]) for x in (q, k, v))).flatten(0, 1))
            offset += count * length
        out: Tensor = _Collect.apply(torch.cat(mixed), self.places)
        return out.view(q_BTNH.shape)


class _Spread(torch.autograd.Function):
    """Copies positions to their padded places; a pad has no gradient to return, a prompt has two."""

    @staticmethod
    def forward(ctx: Any, x_SNH: Tensor, source_P: Tensor, place_S: Tensor, prompts: Tensor, seconds: Tensor) -> Tensor:
        ctx.save_for_backward(place_S, prompts, seconds)
        return x_SNH.index_select(0, source_P)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        place_S, prompts, seconds = ctx.saved_tensors
        grad_SNH = grads[0].index_select(0, place_S)
        grad_SNH[prompts] += grads[0].index_select(0, seconds)  # each position once, so the order of adding is none
        return grad_SNH, None, None, None, None


class _Collect(torch.autograd.Function):
    """Copies positions back from their padded places; the gradient of all others is zero."""

    @staticmethod
    def forward(ctx: Any, x_PNH: Tensor, place_S: Tensor) -> Tensor:
        ctx.save_for_backward(place_S)
        ctx.num_padded = len(x_PNH)
        return x_PNH.index_select(0, place_S)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_PNH = grads[0].new_zeros(ctx.num_padded, *grads[0].shape[1:])
        return grad_PNH.index_copy_(0, ctx.saved_tensors[0], grads[0]), None
