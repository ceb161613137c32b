"""`PackedLoader` as a torch `IterableDataset`, for those who bring their own trainer.

Every item is a whole batch, so `DataLoader(dataset, batch_size=None)` is all there is to it; the sequence of batches is
the same with any number of worker processes (none are needed: a Rust thread works ahead).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from gristlm.errors import InputError
from gristlm.training.packed_loader import Batch, LoaderState, PackedLoader


class PackedDataset(IterableDataset[dict[str, Tensor]]):
    """The batches of a `PackedLoader` as dictionaries of tensors, from its current step on.

    Keys: `input_ids`, `labels`, `position_ids` int64[B, T]; `cu_seqlens` int32[S + 1]; `segments` int64[S, 4].

    `state_dict` and `load_state_dict` are what torchdata's `StatefulDataLoader` calls. Beside a plain `DataLoader` with
    worker processes, which run ahead of the trainer, give `state_dict` the number of batches that were taken.
    """

    def __init__(self, **options: Any) -> None:
        """Takes the arguments of `PackedLoader`, all by name; the data are opened in each worker."""
        super().__init__()
        self._options = options
        self._loader: PackedLoader | None = None
        self._start = self._open().step
        self._next = self._start

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yields batches from the current step on; a worker yields its share."""
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        loader = self._open()
        loader.seek(self._next)
        for batch in itertools.islice(loader, number, None, count):
            self._next += count
            yield tensors(batch)

    def state_dict(self, step: int | None = None) -> LoaderState:
        """Returns where this dataset is; or where a trainer is that took `step` batches since the start."""
        state = self._open().state_dict()
        state["step"] = self._next if step is None else self._start + step
        return state

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Goes on where `state` was taken.

        Raises:
            InputError: as `PackedLoader.load_state_dict`.
        """
        loader = self._open()
        loader.load_state_dict(state)
        self._start = self._next = loader.step

    def __getstate__(self) -> dict[str, object]:
        """Leaves the open files out: a worker opens its own."""
        return {**self.__dict__, "_loader": None}

    def _open(self) -> PackedLoader:
        if self._loader is None:
            try:
                self._loader = PackedLoader(**self._options)
            except TypeError as error:
                raise InputError(f"PackedDataset takes what PackedLoader takes, by name: {error}") from error
        return self._loader


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Returns the arrays of a batch as tensors that share their memory."""
    names = ("input_ids", "labels", "position_ids", "cu_seqlens", "segments")
    return {name: torch.from_numpy(cast("Any", getattr(batch, name))) for name in names}
