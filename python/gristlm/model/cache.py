"""The key/value cache of generation: rows of one length each, written by two kinds of attention.

`Prefill` computes ragged prompts packed end to end, without padding, and copies each prompt's keys and values to one
or more rows (so a prompt that is sampled n times is computed once). `Decode` adds one token to every row.

The positions of one head of one row are side by side in memory, because that is how attention reads them.

Shapes: R rows, C capacity in positions, N query heads, K key/value heads, H head_dim, S positions of packed prompts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gristlm.model.attention import Attend
from gristlm.model.config import ModelConfig


class Cache:
    """Keys and values of up to `rows` sequences of up to `capacity` positions."""

    def __init__(
        self, config: ModelConfig, rows: int, capacity: int, *, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (2, config.num_layers, rows, config.num_kv_heads, capacity, config.head_dim)
        self.rows, self.capacity = rows, capacity
        self.keys, self.values = _zeros(shape, device, dtype)
        self._heads_K = torch.arange(config.num_kv_heads, device=device)

    def places(self, rows: Tensor, positions: Tensor) -> Tensor:
        """Returns where the heads of each (row, position) are stored, int64 [S, K]; both arguments int64 [S]."""
        return (rows[:, None] * len(self._heads_K) + self._heads_K) * self.capacity + positions[:, None]

    def write(self, layer: int, places_SK: Tensor, k_SKH: Tensor, v_SKH: Tensor) -> None:
        """Stores keys and values at `places`."""
        places = places_SK.flatten()
        self.keys[layer].flatten(0, 2).index_copy_(0, places, k_SKH.flatten(0, 1))
        self.values[layer].flatten(0, 2).index_copy_(0, places, v_SKH.flatten(0, 1))

    def keep(self, rows: Tensor, length: int) -> None:
        """Moves the chosen rows (ascending int64) to the front, up to `length` positions each."""
        for tensor in (self.keys, self.values):
            for layer in tensor:  # one at a time: what is moved is copied
                layer[: len(rows), :, :length] = layer[rows, :, :length]

    def repeat(self, row: int, others: list[int], length: int) -> None:
        """Copies the first `length` positions of a row to others."""
        for tensor in (self.keys, self.values) if others else ():
            tensor[:, others, :, :length] = tensor[:, row : row + 1, :, :length]

    def resize(self, rows: int, capacity: int, *, used_rows: int, used_length: int) -> None:
        """Makes room for more; the first `used_rows` rows keep their first `used_length` positions."""
        layers, _, heads, _, width = self.keys.shape
        keys, values = _zeros((2, layers, rows, heads, capacity, width), self.keys.device, self.keys.dtype)
        for old, new in ((self.keys, keys), (self.values, values)):
            new[:, :used_rows, :, :used_length] = old[:, :used_rows, :, :used_length]
        self.keys, self.values = keys, values
        self.rows, self.capacity = rows, capacity


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns zeros: a masked position still enters the sums with weight 0, and 0 x NaN of stale memory would be NaN.

    On a CPU they are numpy's, which asks the kernel for huge pages and writes none of them.
    """
    if torch.device(device).type == "cpu" and dtype == torch.float32:
        return torch.from_numpy(np.zeros(shape, np.float32))
    return torch.zeros(shape, device=device, dtype=dtype)


class Prefill:
    """Attention over packed prompts that leaves keys and values in the cache.

    Args:
        attend: attention within the packed prompts.
        cache: where to store.
        sources: int64[n], flat positions to store…
        places_nK: …and where each goes (`Cache.places`); a prompt sampled several times appears several times.
    """

    def __init__(self, attend: Attend, cache: Cache, sources: Tensor, places_nK: Tensor) -> None:
        self._attend, self._cache, self._sources, self._places_nK = attend, cache, sources, places_nK

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        """Returns [B, T, N, H]."""
        k, v = (x.flatten(0, 1).index_select(0, self._sources) for x in (k_BTKH, v_BTKH))
        self._cache.write(layer, self._places_nK, k, v)
        return self._attend(layer, q_BTNH, k_BTKH, v_BTKH)


class Decode:
    """Attention of one new token per row to everything in its row, or to the last positions of it.

    Args:
        cache: holds the rows, of which the first `len(lengths)` are in use.
        lengths: int64[R], positions already in each row, on the cache's device.
        longest: the largest of `lengths`.
        ragged: whether they differ.
        windows: how many positions each layer attends to, the new one among them; None for a layer: all.
    """

    def __init__(
        self, cache: Cache, lengths: Tensor, longest: int, *, ragged: bool, windows: tuple[int | None, ...]
    ) -> None:
        self._cache, self._rows, self._longest, self._windows = cache, len(lengths), longest + 1, windows
        self._places_RK = cache.places(torch.arange(self._rows, device=lengths.device), lengths)
        self._masks: dict[int | None, Tensor | None] = {}
        columns = torch.arange(self._longest, device=lengths.device)
        for window in set(windows):
            mask = None
            if ragged or (window is not None and window < self._longest):
                hidden = columns > lengths[:, None]
                if window is not None:
                    hidden |= columns <= lengths[:, None] - window
                mask = torch.zeros(hidden.shape, dtype=cache.keys[0].dtype, device=hidden.device)
                mask = mask.masked_fill_(hidden, float("-inf"))[:, None, None, :]
            self._masks[window] = mask

    def __call__(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
        """Returns [R, 1, N, H]."""
        self._cache.write(layer, self._places_RK, k_BTKH[:, 0], v_BTKH[:, 0])
        keys = self._cache.keys[layer][: self._rows, :, : self._longest]
        values = self._cache.values[layer][: self._rows, :, : self._longest]
        # Queries that share a key head become its rows: one pass over the cache for all of them, and no repeated keys.
        q_RKGH = q_BTNH.reshape(self._rows, keys.shape[1], -1, q_BTNH.shape[-1])
        mask = self._masks[self._windows[layer]]
        mixed_RKGH = functional.scaled_dot_product_attention(q_RKGH, keys, values, attn_mask=mask)
        return mixed_RKGH.reshape(q_BTNH.shape)
