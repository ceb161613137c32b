"""How much of each source goes into the training split: weights, met by leaving out and by repeating documents.

A mixture is as large as it can be with exactly the shares asked for: no source is read more than `max_epochs` times,
and no more than `total` is taken. Which documents stay, or come once more than others, is told by a hash of their ids
and the seed, so it does not depend on order, memory or threads. The held-out split is left as it is. (Ours; datasets'
and Megatron's mixtures draw at random while they train, which says nothing of what was never read.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gristlm import _core
from gristlm.collect.config import MixtureConfig
from gristlm.collect.split import position
from gristlm.errors import ConfigError, InputError

REASON = "mixture"
_BUCKETS = 1 << 16
_ROWS = 256  # whose tokens are held at a time


def targets(sizes: Mapping[str, int], config: MixtureConfig) -> dict[str, float]:
    """Returns how much of each source to take, in the unit of `sizes` (what there is).

    Raises:
        ConfigError: a source has no weight, or a weight no source; names both.
    """
    if set(sizes) - set(config.weights):
        raise ConfigError(
            f"mixture.weights names {', '.join(sorted(config.weights))}, but there are documents from "
            f"{', '.join(sorted(set(sizes) - set(config.weights)))} too; give every source a weight (0 leaves it out)"
        )
    empty = [name for name, weight in sorted(config.weights.items()) if weight > 0 and not sizes.get(name)]
    if empty:
        raise ConfigError(f"mixture.weights names {', '.join(empty)}; there is nothing from there to train on, only "
                          f"from {', '.join(sorted(sizes)) or 'nowhere'}")  # fmt: skip
    whole = sum(config.weights.values())
    largest = min(
        sizes[name] * config.cap(name) / (weight / whole) for name, weight in config.weights.items() if weight > 0
    )
    taken = largest if config.total is None else min(largest, float(config.total))
    return {name: taken * config.weights[name] / whole for name in sizes}


def copies(
    parts: Sequence[tuple[Sequence[str], Sequence[str]]],
    sizes: npt.NDArray[np.int64],
    config: MixtureConfig,
    seed: int,
    times: npt.NDArray[np.int32],
    places: npt.NDArray[np.float64],
) -> None:
    """Puts into `times` how often each document is to be written.

    Whole epochs first; of the rest, documents in the order of their hash, to the size nearest to the target. No more
    than one document in 65,536 is sorted at a time: hashes part them into buckets, and all but one are taken whole.

    Args:
        parts: ids and sources of the N documents, in parts that are looked at twice.
        sizes: int64[N], in the unit that is weighed; 0 for a document that is no part of the mixture.
        config: the weights.
        seed: of the hash.
        times: int32[N].
        places: float64[N], for the hashes.

    Raises:
        ConfigError: the weights do not fit the sources.
    """
    buckets: dict[str, npt.NDArray[np.int64]] = {}
    for row, name, source, size in _documents(parts, sizes):
        places[row] = place = position(f"{seed}/{name}")
        buckets.setdefault(source, np.zeros(_BUCKETS, dtype=np.int64))[int(place * _BUCKETS)] += size
    there = {source: int(sums.sum()) for source, sums in buckets.items()}
    wanted = {source: divmod(target, there[source]) for source, target in targets(there, config).items()}
    split = {source: int(np.searchsorted(np.cumsum(sums), wanted[source][1])) for source, sums in buckets.items()}
    between: dict[str, list[tuple[float, str, int]]] = {source: [] for source in buckets}
    for row, name, source, _ in _documents(parts, sizes):
        place = float(places[row])
        bucket = int(place * _BUCKETS)
        times[row] = int(wanted[source][0]) + (bucket < split[source])
        if bucket == split[source]:
            between[source].append((place, name, row))
    for source, documents in between.items():
        rows = [row for _, _, row in sorted(documents)]
        reached = int(buckets[source][: split[source]].sum()) + np.concatenate(([0], np.cumsum(sizes[rows])))
        times[rows[: int(np.argmin(np.abs(reached - wanted[source][1])))]] += 1


def _documents(
    parts: Sequence[tuple[Sequence[str], Sequence[str]]], sizes: npt.NDArray[np.int64]
) -> Iterator[tuple[int, str, str, int]]:
    """Yields row, id, source and size of each document of the mixture."""
    start = 0
    for ids, sources in parts:
        weighed = zip(ids, sources, sizes[start : start + len(ids)].tolist(), strict=True)
        yield from ((row, *each) for row, each in enumerate(weighed, start) if each[2])
        start += len(ids)


def meter(config: MixtureConfig, num_threads: int | None) -> Callable[[pa.ChunkedArray], npt.NDArray[np.int64]]:
    """Returns what gives the size of each of N texts, int64[N], in what is weighed.

    Raises:
        InputError: the tokenizer cannot be read.
    """
    if config.by == "documents":
        return lambda texts: np.ones(len(texts), dtype=np.int64)
    if config.tokenizer is None:
        return lambda texts: np.asarray(pc.binary_length(texts), dtype=np.int64)
    try:
        state = _core.TokenizerState.from_json(Path(config.tokenizer).read_bytes(), config.tokenizer)
    except OSError as error:
        raise InputError(f"mixture.tokenizer {config.tokenizer} cannot be read: {error}") from error
    encoder = _core.Tokenizer(state)

    def tokens(texts: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        pieces = [chunk.slice(start, _ROWS) for chunk in texts.chunks for start in range(0, len(chunk), _ROWS)]
        counts = [np.diff(encoder._encode_batch(piece, num_threads, None, None)[1]) for piece in pieces]
        return np.concatenate([np.zeros(0, dtype=np.int64), *counts])

    return tokens


def repeated(table: pa.Table, times: npt.NDArray[np.integer]) -> pa.Table:
    """Returns `table` with each row as often as `times` ([rows]) says.

    A copy's id ends in `#epoch=2` and so on, and its metadata says `epoch`: ids stay unique, the split stays the same.
    """
    if not len(times) or times.max() <= 1:
        return table if times.all() else table.filter(pa.array(times > 0))
    rows = np.repeat(np.arange(len(times)), times)
    epochs = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times) + 1
    taken = table.take(pa.array(rows))
    for column, change in (("id", _renamed), ("metadata", _noted)):
        values = taken.column(column).to_pylist()
        changed = [
            change(value, int(epoch)) if epoch > 1 else value for value, epoch in zip(values, epochs, strict=True)
        ]
        taken = taken.set_column(taken.schema.get_field_index(column), taken.schema.field(column), pa.array(changed))
    return taken


def _renamed(name: str, epoch: int) -> str:
    return f"{name}#epoch={epoch}"


def _noted(metadata: str, epoch: int) -> str:
    return json.dumps({**json.loads(metadata), "epoch": epoch}, ensure_ascii=True)
