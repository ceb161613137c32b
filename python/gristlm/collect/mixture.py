"""How much of each source goes into the training split: weights, met by leaving out and by repeating documents.

A mixture is as large as it can be with exactly the shares asked for: no source is read more than `max_epochs` times,
and no more than `total` is taken. Which documents stay, or come once more than others, is told by a hash of their ids
and the seed, so it does not depend on order, memory or threads. The held-out split is left as it is. (Ours; datasets'
and Megatron's mixtures draw at random while they train, which says nothing of what was never read.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristlm import _core
from gristlm.collect.config import MixtureConfig
from gristlm.collect.split import position
from gristlm.errors import ConfigError, InputError

REASON = "mixture"


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
    ids: Sequence[str], sources: Sequence[str], sizes: npt.NDArray[np.int64], config: MixtureConfig, seed: int
) -> npt.NDArray[np.int64]:
    """Returns int64[N]: how often each document is to be written.

    Whole epochs first; of the rest, documents in the order of their hash, to the size nearest to the target.

    Raises:
        ConfigError: the weights do not fit the sources.
    """
    names = np.array(sources, dtype=object)
    there = {str(name): int(sizes[names == name].sum()) for name in dict.fromkeys(sources)}
    times = np.zeros(len(ids), dtype=np.int64)
    for name, target in targets(there, config).items():
        rows = np.flatnonzero(names == name)
        epochs, rest = divmod(target, there[name]) if there[name] else (0, 0.0)
        order = sorted(rows, key=lambda row: (position(f"{seed}/{ids[row]}"), ids[row]))
        reached = np.concatenate(([0], np.cumsum(sizes[order])))
        times[rows] = int(epochs)
        times[order[: int(np.argmin(np.abs(reached - rest)))]] += 1
    return times


def measures(tables: Sequence[pa.Table], config: MixtureConfig, num_threads: int | None) -> npt.NDArray[np.int64]:
    """Returns int64[N]: the size of each document in what is weighed.

    Raises:
        InputError: the tokenizer cannot be read.
    """
    counter = _counter(config.tokenizer, num_threads) if config.tokenizer else None
    sizes: list[npt.NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
    for table in tables:
        for chunk in table.column("text").chunks:
            for start in range(0, len(chunk), 256):
                piece = chunk.slice(start, 256)
                if config.by == "documents":
                    sizes.append(np.ones(len(piece), dtype=np.int64))
                elif counter is not None:
                    sizes.append(counter(piece))
                else:
                    sizes.append(np.array([len(text.as_buffer()) for text in piece], dtype=np.int64))
    return np.concatenate(sizes)


def _counter(tokenizer: str, num_threads: int | None) -> Callable[[pa.Array], npt.NDArray[np.int64]]:
    try:
        state = _core.TokenizerState.from_json(Path(tokenizer).read_bytes(), tokenizer)
    except OSError as error:
        raise InputError(f"mixture.tokenizer {tokenizer} cannot be read: {error}") from error
    encoder = _core.Tokenizer(state)
    return lambda texts: np.diff(encoder._encode_batch(texts, num_threads, None, None)[1])


def repeated(table: pa.Table, times: npt.NDArray[np.int64]) -> pa.Table:
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
