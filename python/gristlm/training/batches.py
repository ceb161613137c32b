"""Packed batches as tensors, cut into micro-batches; on CUDA copied through pinned buffers that are used in turn.

Letters: B rows, T tokens per row, S segments (documents, or parts of one that a row holds).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Packed(Protocol):
    """What `PackedLoader` yields."""

    @property
    def input_ids(self) -> npt.NDArray[np.int64]:
        """int64[B, T]."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64[B, T], -100 where there is none."""

    @property
    def position_ids(self) -> npt.NDArray[np.int64]:
        """int64[B, T]."""

    @property
    def cu_seqlens(self) -> npt.NDArray[np.int32]:
        """int32[S + 1], from 0 to B x T; every row begins a segment."""


@dataclasses.dataclass(frozen=True)
class MicroBatch:
    """Some rows of a batch, on the device."""

    input_ids: Tensor
    """int64[B, T]."""
    labels: Tensor
    """int64[B, T]."""
    position_ids: Tensor
    """int64[B, T]."""
    cu_seqlens: Tensor
    """int32[S + 1], from 0 to B x T of these rows."""


class Staging:
    """Copies arrays to a device through a few buffers: pinned on CUDA, so that the copy runs beside the CPU's work.

    A buffer is filled again only after its copy has ended, and what comes back is memory of its own: a batch that is
    kept never changes.

    Args:
        device: where to.
        num_buffers: used in turn.
    """

    def __init__(self, device: torch.device, num_buffers: int = 2) -> None:
        self._device = device
        self._buffers = [self._empty(0) for _ in range(num_buffers)]
        self._copied: list[torch.cuda.Event | None] = [None] * num_buffers
        self._turns = itertools.cycle(range(num_buffers))

    def __call__(self, arrays: Sequence[npt.NDArray[Any]]) -> list[Tensor]:
        """Returns the arrays as tensors on the device, by one copy for all of them."""
        turn, ends = next(self._turns), [*itertools.accumulate(_padded(array.nbytes) for array in arrays)]
        if (copied := self._copied[turn]) is not None:
            copied.synchronize()
        if self._buffers[turn].numel() < ends[-1]:
            self._buffers[turn] = self._empty(ends[-1])
        flat = self._buffers[turn].numpy()
        starts = [0, *ends[:-1]]
        for array, start in zip(arrays, starts, strict=True):
            flat[start : start + array.nbytes].view(array.dtype).reshape(array.shape)[...] = array
        there = self._buffers[turn][: ends[-1]].to(self._device, non_blocking=True, copy=True)
        if self._device.type == "cuda":
            event = self._copied[turn] = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        return [
            there[start : start + array.nbytes].view(torch.from_numpy(array[:0]).dtype).view(array.shape)
            for array, start in zip(arrays, starts, strict=True)
        ]

    def _empty(self, num_bytes: int) -> Tensor:
        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=self._device.type == "cuda")


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // 64) * 64


def split(batch: Packed, rows: int, device: torch.device, staging: Staging | None = None) -> list[MicroBatch]:
    """Returns the rows of `batch` in groups of `rows` (the last may be smaller), in order.

    On the CPU they share the memory of the batch; `staging` copies.
    """
    total, length = batch.input_ids.shape
    bounds = batch.cu_seqlens.astype(np.int64)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    for start in range(0, total, rows):
        end = min(start + rows, total)
        inside = bounds[(bounds >= start * length) & (bounds <= end * length)] - start * length
        part = (
            batch.input_ids[start:end],
            batch.labels[start:end],
            batch.position_ids[start:end],
            inside.astype(np.int32),
        )
        parts.append(tuple(np.ascontiguousarray(array) for array in part))
    if staging is None:
        return [MicroBatch(*(torch.from_numpy(array).to(device) for array in part)) for part in parts]
    tensors = iter(staging([array for part in parts for array in part]))
    return [MicroBatch(*itertools.islice(tensors, len(part))) for part in parts]
