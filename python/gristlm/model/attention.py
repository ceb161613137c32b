"""Who attends to whom: the one part of the network that differs between packed training, plain batches and generation.

Every variant is an `Attend`: it gets the queries, keys and values of one layer and returns the mixed values.

* `causal`: each row is one sequence.
* `documents`: rows hold several documents, marked by `cu_seqlens`, that do not see each other. On CUDA in half
  precision that is `varlen_attn`; elsewhere documents are regrouped by length into a few right-padded causal batches,
  which costs the sum of squared document lengths instead of the square of the row (2-4 times less than a block mask
  for documents of 32-128 tokens in rows of 256).
* generation has its own, over a cache: `gristlm.model.cache`.

Shapes: B batch, T positions, N query heads, K key/value heads, H head_dim, S = B x T flat positions, P padded flat
positions.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gristlm.errors import InputError


class Attend(Protocol):
    """Mixes the values of one layer."""

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        """Returns [B, T, N, H]."""


def causal(layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, *, window: int | None = None) -> Tensor:
    """Each position attends to itself and what comes before it in its row, `window` positions in all (None: all)."""
    del layer
    q, k, v = q_BTNH.transpose(1, 2), k_BTKH.transpose(1, 2), v_BTKH.transpose(1, 2)
    mask = None
    if window is not None and window < q.shape[2]:
        mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril_().triu_(1 - window)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1]
    ).transpose(1, 2)


@dataclasses.dataclass(frozen=True)
class Causal:
    """`causal` with the window of each layer."""

    windows: tuple[int | None, ...]

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        """Returns [B, T, N, H]."""
        return causal(layer, q_BTNH, k_BTKH, v_BTKH, window=self.windows[layer])


def documents(
    cu_seqlens: Tensor, shape: tuple[int, int], *, half_precision: bool, windows: tuple[int | None, ...] | None = None
) -> tuple[Attend, Tensor]:
    """Returns the attention within documents, and each position's place in its document (int64[B, T]).

    Args:
        cu_seqlens: int32[n + 1], ascending from 0 to B x T: where each document of the flattened batch begins and ends.
        shape: (B, T).
        half_precision: queries will be bfloat16 or float16.
        windows: how many positions each layer attends to (None for a layer: all before it); default: None for every.

    Raises:
        InputError: `cu_seqlens` does not cover the batch.
    """
    total = shape[0] * shape[1]
    bounds = cu_seqlens.detach().cpu().numpy().astype(np.int64)
    if bounds.ndim != 1 or len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != total or (np.diff(bounds) < 0).any():
        ends = f"{bounds[:4].tolist()}…{bounds[-2:].tolist()}"
        raise InputError(f"cu_seqlens must ascend from 0 to batch x length = {total}; given {ends}")
    bounds = np.unique(bounds)
    lengths = np.diff(bounds)
    positions = torch.from_numpy(np.arange(total) - np.repeat(bounds[:-1], lengths)).view(shape).to(cu_seqlens.device)
    if len(lengths) == shape[0] and (lengths == shape[1]).all():
        return causal if windows is None else Causal(windows), positions
    varlen = _varlen_attn() if half_precision and cu_seqlens.is_cuda else None
    if varlen is not None:
        return _Varlen(
            varlen, torch.from_numpy(bounds.astype(np.int32)).to(cu_seqlens.device), int(lengths.max()), windows
        ), positions
    return _Grouped.of(bounds, cu_seqlens.device, windows), positions


def _bucket(length: int) -> int:
    """Returns the padded length of a document: a power of two or one and a half times one, at least 16."""
    size = 16
    while size < length:
        if size + size // 2 >= length:
            return size + size // 2
        size *= 2
    return size


@dataclasses.dataclass(frozen=True)
class _Grouped:
    """Documents of like length as right-padded batches: a pad comes last, so causal attention never sees it."""

    groups: list[tuple[int, int]]
    """(number of documents, padded length), in order."""
    sources: Tensor
    """int64[P]: the flat position that each padded position copies (a pad copies its document's first)."""
    places: Tensor
    """int64[S]: where each flat position is among the padded ones."""
    windows: tuple[int | None, ...] | None

    @staticmethod
    def of(
        bounds: np.ndarray[Any, np.dtype[np.int64]], device: torch.device, windows: tuple[int | None, ...] | None
    ) -> _Grouped:
        starts, lengths = bounds[:-1], np.diff(bounds)
        sizes = np.array([_bucket(int(length)) for length in lengths])
        groups, sources, places, offset = [], [], np.empty(bounds[-1], np.int64), 0
        for size in np.unique(sizes):
            chosen = np.flatnonzero(sizes == size)
            longest = int(lengths[chosen].max())
            columns = np.arange(longest)
            real = columns < lengths[chosen, None]
            source = np.where(real, starts[chosen, None] + columns, starts[chosen, None])
            places[source[real]] = offset + np.flatnonzero(real)
            groups.append((len(chosen), longest))
            sources.append(source.ravel())
            offset += source.size
        return _Grouped(
            groups, torch.from_numpy(np.concatenate(sources)).to(device), torch.from_numpy(places).to(device), windows
        )

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        q, k, v = (_pad(x.flatten(0, 1), self.sources, self.places) for x in (q_BTNH, k_BTKH, v_BTKH))
        window = None if self.windows is None else self.windows[layer]
        return unpadded(causal_groups(layer, q, k, v, self.groups, window=window), self.places).view(q_BTNH.shape)


def causal_groups(
    layer: int, q_PNH: Tensor, k_PKH: Tensor, v_PKH: Tensor, groups: Sequence[tuple[int, int]], *, window: int | None
) -> Tensor:
    """Returns `causal` of right-padded batches that lie end to end, [P, N, H]; of each (sequences, padded length)."""
    mixed, offset = list[Tensor](), 0
    for count, length in groups:
        one = slice(offset, offset + count * length)
        parts = (x[one].view(count, length, *x.shape[1:]) for x in (q_PNH, k_PKH, v_PKH))
        mixed.append(causal(layer, *parts, window=window).flatten(0, 1))
        offset += count * length
    return torch.cat(mixed)


def unpadded(x_PNH: Tensor, place_S: Tensor) -> Tensor:
    """Returns the positions of `place_S`, [S, N, H]; the gradient of all others is zero."""
    out: Tensor = _Unpad.apply(x_PNH, place_S)
    return out


def _pad(x_SNH: Tensor, source_P: Tensor, place_S: Tensor) -> Tensor:
    padded: Tensor = _Pad.apply(x_SNH, source_P, place_S)
    return padded


class _Pad(torch.autograd.Function):
    """Copies positions to their padded places; nothing real attends to a pad, so none has a gradient to return."""

    @staticmethod
    def forward(ctx: Any, x_SNH: Tensor, source_P: Tensor, place_S: Tensor) -> Tensor:
        ctx.save_for_backward(place_S)
        return x_SNH.index_select(0, source_P)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return grads[0].index_select(0, ctx.saved_tensors[0]), None, None


class _Unpad(torch.autograd.Function):
    """Copies positions back from their padded places; the gradient of a pad is zero."""

    @staticmethod
    def forward(ctx: Any, x_PNH: Tensor, place_S: Tensor) -> Tensor:
        ctx.save_for_backward(place_S)
        ctx.num_padded = len(x_PNH)
        return x_PNH.index_select(0, place_S)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_PNH = grads[0].new_zeros(ctx.num_padded, *grads[0].shape[1:])
        return grad_PNH.index_copy_(0, ctx.saved_tensors[0], grads[0]), None


@dataclasses.dataclass(frozen=True)
class _Varlen:
    """Documents by their bounds, in one kernel (CUDA, half precision)."""

    kernel: Any
    cu_seqlens: Tensor
    longest: int
    windows: tuple[int | None, ...] | None

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        q, k, v = (x.flatten(0, 1) for x in (q_BTNH, k_BTKH, v_BTKH))
        bounds, gqa = self.cu_seqlens, q.shape[1] != k.shape[1]
        window = None if self.windows is None else self.windows[layer]
        mixed: Tensor = self.kernel(
            q,
            k,
            v,
            bounds,
            bounds,
            self.longest,
            self.longest,
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=gqa,
        )
        return mixed.view(q_BTNH.shape)


def _varlen_attn() -> Any:
    """Returns torch's variable-length attention, or None where this torch has none that takes a causal window."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if {"window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters) else None
