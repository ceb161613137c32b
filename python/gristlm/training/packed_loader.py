"""Packed batches for next-token training, in an order that is a pure function of (seed, step).

Documents are packed into rows of `seq_len` by best fit within windows of about two million tokens; what fits nowhere is
cut, so rows are full and no token is lost. The order knows neither the batch size nor the ranks nor how often training
was interrupted: the global batch of a step is the same rows at any `world_size`, rank `k` holding rows
`[k * batch_size, (k + 1) * batch_size)` of it. A Rust thread works a few batches ahead; no worker processes are needed.

Letters: B rows per rank, T tokens per row, S segments in a batch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, TypedDict, cast

import numpy as np
import numpy.typing as npt

from gristlm import _core
from gristlm.errors import InputError

STATE_VERSION = 1


class OpenDataset(Protocol):
    """A dataset that is open already, such as a `TokenDataset`."""

    path: Path
    store: _core.TokenStore


Source: TypeAlias = str | os.PathLike[str] | OpenDataset
Weight: TypeAlias = float | Sequence[tuple[int, float]]
"""A share of tokens; or shares from steps on, such as [(0, 0.1), (8000, 0.4)], held until the next."""
Epochs: TypeAlias = int | Mapping[Source, int | None] | None


class LoaderState(TypedDict):
    """Where a loader is, and in what: under 1 KB of JSON whatever the data."""

    version: int
    step: int
    global_batch_size: int
    seq_len: int
    seed: int
    epochs: int | None
    sources: str


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """One rank's rows of one step. A segment is a document, or the part of one that a row holds.

    The memory is used again for a later batch once nothing holds this one, any of its arrays or a view of them; until
    then it is yours, to write to as well.

    Padding (only where the last epoch ends) is a segment too: its input ids are 0, its labels -100, its source and
    sequence -1, its document id "".
    """

    input_ids: npt.NDArray[np.int64]
    """int64[B, T]."""
    labels: npt.NDArray[np.int64]
    """int64[B, T]: the token after each in the same document (also where a row cuts it), -100 where there is none."""
    position_ids: npt.NDArray[np.int64]
    """int64[B, T]: from 0 in each segment."""
    cu_seqlens: npt.NDArray[np.int32]
    """int32[S + 1] over the flattened [B * T], from 0 to B * T: where each segment starts, and the end."""
    segments: npt.NDArray[np.int64]
    """int64[S, 4]: source (in the order given), sequence in it, first token in the sequence, number of tokens."""
    _document_id: Callable[[int, int], str] = dataclasses.field(repr=False)

    @property
    def document_ids(self) -> list[str]:
        """One document id per segment ("" for padding), looked up when asked for."""
        return [self._document_id(source, sequence) for source, sequence in self.segments[:, :2].tolist()]


class PackedLoader:
    """An endless (or `epochs` long) iterator of `Batch` over weighted datasets.

    Weights are shares of tokens, kept within one row per source at every step. With `epochs=n` every token of every
    source is delivered exactly n times: a source that has ended leaves its share to the others, and the only padding is
    less than one row per source and what fills up the last batch. With `epochs=None` an epoch's end is filled with the
    next epoch's beginning; each epoch has an order of its own.

    Weights may change at steps; each source goes on where it was, so no token is lost by that either.

    A document comes within one window (at most `max_delay_rows` rows of its source) of its place in the keyed order.
    """

    def __init__(
        self,
        sources: Mapping[Source, Weight] | Source,
        *,
        seq_len: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        epochs: Epochs = None,
    ) -> None:
        """Opens the sources: milliseconds, and beyond 65,536 sequences 0.2 microseconds of CPU for each.

        Args:
            sources: {path or open dataset: weight}; or one of them alone. Their order is part of the order of rows. A
                weight may be a schedule, [(step, weight), …] from step 0 on; 0 there: none of it for the time being.
            seq_len: tokens per row.
            batch_size: rows per rank; the global batch is `batch_size * world_size` rows.
            seed: names the order.
            rank: which part of each global batch this loader yields.
            world_size: number of ranks.
            epochs: passes over each source, None loops forever; or {source: passes} for those that have a limit.

        Raises:
            InputError: no source or one without tokens, a weight that is not positive and finite, an impossible number.
            MissingArtifactError, DamagedArtifactError, FormatError: as `TokenDataset`.
        """
        weights: dict[Source, Weight] = dict(sources) if isinstance(sources, Mapping) else {sources: 1.0}
        if not weights:
            raise InputError("no source is given; give at least one dataset and its weight")
        self._paths = [_path_of(source) for source in weights]
        self._stores = [_store_of(source) for source in weights]
        self._seq_len = _number("seq_len", seq_len)
        self._batch_size = _number("batch_size", batch_size)
        self._world_size = _number("world_size", world_size)
        self._seed = operator.index(seed)
        self._epochs = _epochs_of(epochs, list(weights))
        self._phases = _phases_of(list(weights.values()))
        self._sources = _fingerprint(self._stores, self._phases, self._epochs)
        self._rows = _core.RowLoader(
            self._stores,
            self._epochs,
            self._phases,
            self._seq_len,
            self._batch_size,
            self._seed % 2**64,
            _number("rank", rank, least=0),
            self._world_size,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Goes on from the current step (it does not start over)."""
        return self

    def __next__(self) -> Batch:
        """Returns this rank's batch of the current step and moves to the next.

        Raises:
            DamagedArtifactError: a shard is not what was written; names it.
        """
        arrays = self._rows.next_batch()
        if arrays is None:
            raise StopIteration
        return Batch(*arrays, self._document_id)

    @property
    def step(self) -> int:
        """The step that `next` returns."""
        return self._rows.step

    @property
    def num_steps(self) -> int | None:
        """Steps in all epochs; None when there is no end."""
        last = self._phases[-1][1]
        endless = any(epochs is None and weight for epochs, weight in zip(self._epochs, last, strict=True))
        return None if endless else self._rows.num_steps

    @property
    def max_delay_rows(self) -> list[int]:
        """For each source, the most of its rows that may come between a document and its place in the keyed order."""
        return [cast("int", self._rows.max_delay_rows(source)) for source in range(len(self._stores))]

    def batch(self, step: int) -> Batch:
        """Returns the batch of any step without moving (it plans that step alone; for looking things up)."""
        return Batch(*self._rows.batch(self._checked(step)), self._document_id)

    def seek(self, step: int) -> None:
        """Goes to `step`, forwards or backwards, in microseconds; the batch there is the one that walking would reach.

        Raises:
            InputError: the data end before it.
        """
        self._rows.seek(self._checked(step))

    def state_dict(self) -> LoaderState:
        """Returns where this loader is: JSON-able, under 1 KB, the same on every rank."""
        return {
            "version": STATE_VERSION,
            "step": self.step,
            "global_batch_size": self._batch_size * self._world_size,
            "seq_len": self._seq_len,
            "seed": self._seed,
            "epochs": self._epochs[0] if len(set(self._epochs)) == 1 else None,
            "sources": self._sources,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Goes on where `state` was taken, at any `world_size`, `batch_size` and rank.

        With another global batch size the rows go on where they were, if that is a whole number of steps.

        Raises:
            InputError: the state belongs to other data, weights, seq_len or seed, or lies inside a step; names which.
        """
        own = self.state_dict()
        if missing := [key for key in own if key not in state]:
            raise InputError(f"the loader's state lacks {', '.join(missing)}; give what state_dict returned")
        if state["version"] != STATE_VERSION:
            raise InputError(f"the loader's state has version {state['version']}; this version reads {STATE_VERSION}")
        if state["sources"] != own["sources"]:
            raise InputError(
                "the loader's state was taken with other datasets or weights, or in another order; give the same"
            )
        for key, value in (("seq_len", self._seq_len), ("seed", self._seed), ("epochs", own["epochs"])):
            if state[key] != value:
                raise InputError(f"the loader's state was taken with {key}={state[key]}, not {value}; give the same")
        if len(self._phases) > 1 and state["global_batch_size"] != own["global_batch_size"]:
            raise InputError(
                f"the loader's state was taken with {state['global_batch_size']} rows per step, not "
                f"{own['global_batch_size']}; the weights change at steps, so give the same"
            )
        rows = _number("step", state["step"], 2**63, 0) * _number("global_batch_size", state["global_batch_size"])
        step, inside = divmod(rows, own["global_batch_size"])
        if inside:
            raise InputError(
                f"the loader's state is {rows} rows in, no whole number of steps of {own['global_batch_size']} rows; "
                "choose batch_size and world_size so that it is"
            )
        self.seek(step)

    def _checked(self, step: int) -> int:
        return _number("step", step, 2**63, 0)

    def _document_id(self, source: int, sequence: int) -> str:
        if source < 0:
            return ""
        document_id = self._stores[source].document_id(sequence)
        return str(sequence) if document_id is None else document_id

    def __repr__(self) -> str:
        paths = ", ".join(map(str, self._paths))
        return f"PackedLoader({paths}; step {self.step}, {self._batch_size} x {self._seq_len} tokens per rank)"


def _path_of(source: Source) -> Path:
    return Path(source) if isinstance(source, str | os.PathLike) else source.path


def _store_of(source: Source) -> _core.TokenStore:
    return _core.TokenStore(source) if isinstance(source, str | os.PathLike) else source.store


def _weight(weight: object) -> float:
    try:
        return float(cast("float", weight))
    except (TypeError, ValueError) as error:
        raise InputError(f"a weight is {weight!r}; give a number above 0") from error


def _phases_of(weights: list[Weight]) -> list[tuple[int, list[float]]]:
    """Returns the weights of all sources from each step on at which one of them changes."""
    schedules: list[list[tuple[int, float]]] = []
    for weight in weights:
        if isinstance(weight, str | bytes) or not isinstance(weight, Sequence):
            value = _weight(weight)
            if value == 0:
                raise InputError("a weight is 0; leave sources you do not want out")
            schedules.append([(0, value)])
            continue
        try:
            steps = [(_number("a step of a weight", step, 2**62, 0), _weight(value)) for step, value in weight]
        except (TypeError, ValueError) as error:
            raise InputError(f"a weight is {weight!r}; a schedule is [(step, weight), …]") from error
        if not steps or steps[0][0] != 0 or any(one[0] >= other[0] for one, other in itertools.pairwise(steps)):
            raise InputError(f"a weight is {weight!r}; a schedule begins at step 0 and its steps rise")
        schedules.append(steps)
    changes = sorted({step for schedule in schedules for step, _ in schedule})
    return [
        (change, [next(value for step, value in reversed(schedule) if step <= change) for schedule in schedules])
        for change in changes
    ]


def _epochs_of(epochs: Epochs, sources: list[Source]) -> list[int | None]:
    if not isinstance(epochs, Mapping):
        return [None if epochs is None else _number("epochs", epochs, 2**63)] * len(sources)
    if unknown := [source for source in epochs if source not in sources]:
        raise InputError(f"epochs names {unknown[0]!r}, which is no source; give the keys of sources")
    limits = [epochs.get(source) for source in sources]
    return [None if limit is None else _number("epochs", limit, 2**63) for limit in limits]


def _number(name: str, value: object, limit: int = 2**31, least: int = 1) -> int:
    try:
        number = operator.index(cast("int", value))
    except TypeError as error:
        raise InputError(f"{name} is {value!r}; give a whole number") from error
    if not least <= number < limit:
        raise InputError(f"{name} is {number}; give {least} or more, below {limit}")
    return number


def _fingerprint(
    stores: list[_core.TokenStore], phases: list[tuple[int, list[float]]], epochs: list[int | None]
) -> str:
    text = " ".join(f"{store.fingerprint}:{weight.hex()}" for store, weight in zip(stores, phases[0][1], strict=True))
    for step, weights in phases[1:]:
        text += f" {step}@" + ",".join(weight.hex() for weight in weights)
    if len(set(epochs)) > 1:
        text += f" epochs {epochs}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
