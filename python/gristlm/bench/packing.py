"""Rows of packing: writing token shards, packed batches, random windows. Tokens are counted, not bytes of text.

What each contender delivers is asserted before it is timed: packers that lose tokens say how many in their note.
"""

from __future__ import annotations

import collections
import importlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.errors import InputError
from gristlm.tokenize import TokenDataset
from gristlm.training.packed_loader import PackedLoader

PEERS = ("numpy", "nanochat-like", "trl")
SEQ_LEN, BATCH_SIZE = 2048, 8
NUM_DOCUMENTS, NUM_BATCHES, NUM_WINDOWS = 20_000, 600, 400
VOCAB_SIZE = 50_304
BUFFER_DOCUMENTS = 1000

Tokens = npt.NDArray[np.uint16]


def measure(table: BenchTable, texts: list[str], vocabulary: Path | None, peers: Sequence[str] | None) -> None:
    """Adds every row to `table`; the tokens are drawn, with lengths as of web pages, so the texts play no part.

    Raises:
        InputError: a name in `peers` is unknown.
    """
    del texts, vocabulary
    for name in peers or ():
        if name not in PEERS:
            raise InputError(f"peers has {name!r}; known are {', '.join(PEERS)}")
    wanted = set(PEERS if peers is None else peers)
    random = np.random.default_rng(0)
    lengths = np.maximum(1, random.lognormal(6.2, 1.2, NUM_DOCUMENTS).astype(np.int64))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids: Tokens = random.integers(1, VOCAB_SIZE, offsets[-1], dtype=np.uint16)
    table.unit = "Mtok"
    table.text = f"{NUM_DOCUMENTS:,} documents, {len(ids) / 1e6:.1f} M tokens drawn; rows of {SEQ_LEN}; one thread"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write = Contender[None](
            OURS, lambda: None, lambda _: _written(path / "again", ids, offsets), lambda count: count == len(ids)
        )
        table.compare("write and index, checksummed", len(ids), [write])
        dataset = TokenDataset.write(path / "tokens", ids, offsets, vocab_size=VOCAB_SIZE)
        _packed(table, dataset, ids, offsets, wanted)
        _windows(table, dataset, ids, wanted)


def _written(path: Path, ids: Tokens, offsets: npt.NDArray[np.int64]) -> int:
    return TokenDataset.write(path, ids, offsets, vocab_size=VOCAB_SIZE).num_tokens


def _packed(
    table: BenchTable, dataset: TokenDataset, ids: Tokens, offsets: npt.NDArray[np.int64], wanted: set[str]
) -> None:
    tokens = NUM_BATCHES * BATCH_SIZE * SEQ_LEN
    once = list(PackedLoader(dataset, seq_len=SEQ_LEN, batch_size=BATCH_SIZE, seed=0, epochs=1))
    real = sum(int(batch.segments[batch.segments[:, 0] >= 0, 3].sum()) for batch in once)
    rows = sum(batch.input_ids.size for batch in once)
    assert real == dataset.num_tokens, "an epoch holds every token once"

    def ours() -> Iterator[npt.NDArray[np.int64]]:
        loader = PackedLoader(dataset, seq_len=SEQ_LEN, batch_size=BATCH_SIZE, seed=0)
        return (batch.input_ids for batch in itertools.islice(loader, NUM_BATCHES))

    contenders = [_batches(OURS, ours, f"{real / rows:.2%} full, 0 tokens lost in an epoch")]
    documents = [ids[begin:end] for begin, end in itertools.pairwise(offsets.tolist())]
    if "nanochat-like" in wanted:
        lost = _BestFit(documents)
        collections.deque(lost.batches(NUM_BATCHES), maxlen=0)
        note = f"{lost.lost / (lost.lost + tokens):.1%} of tokens lost"
        contenders.append(_batches("nanochat-like", lambda: _BestFit(documents).batches(NUM_BATCHES), note))
    table.compare("packed batches, int64", tokens, contenders)
    if "trl" in wanted:
        _trl(table, documents)


def _batches(library: str, make: Callable[[], Iterator[npt.NDArray[np.int64]]], note: str) -> Contender[Any]:
    """A contender whose batches must have the right shape and no padding."""

    def run(batches: Iterator[npt.NDArray[np.int64]]) -> bool:
        return all(batch.shape == (BATCH_SIZE, SEQ_LEN) and batch.dtype == np.int64 for batch in batches)

    return Contender(library, make, run, note=note)


def _alone(
    library: str, run: Callable[[], object], result: Callable[[object], object] = bool, note: str = ""
) -> Contender[None]:
    return Contender(library, lambda: None, lambda _: run(), result, note)


class _BestFit:
    """The slow twin of nanochat's packing: the longest buffered document that fits, else the shortest one, cut.

    What is cut off is lost. Documents are lists of ids as a tokenizer gives them.
    """

    def __init__(self, documents: Sequence[Tokens]) -> None:
        self._documents = itertools.cycle([document.tolist() for document in documents])
        self._buffer: list[list[int]] = []
        self.lost = 0

    def batches(self, count: int) -> Iterator[npt.NDArray[np.int64]]:
        for _ in range(count):
            yield np.array([self._row() for _ in range(BATCH_SIZE)], np.int64)

    def _row(self) -> list[int]:
        row: list[int] = []
        while len(row) < SEQ_LEN:
            while len(self._buffer) < BUFFER_DOCUMENTS:
                self._buffer.append(next(self._documents))
            room = SEQ_LEN - len(row)
            best, best_length = -1, 0
            for place, document in enumerate(self._buffer):
                if best_length < len(document) <= room:
                    best, best_length = place, len(document)
            if best >= 0:
                row += self._buffer.pop(best)
            else:
                shortest = min(range(len(self._buffer)), key=lambda place: len(self._buffer[place]))
                document = self._buffer.pop(shortest)
                row += document[:room]
                self.lost += len(document) - room
        return row


def _trl(table: BenchTable, documents: Sequence[Tokens]) -> None:
    """TRL packs a whole corpus before training; so do we here, one epoch, its arrays included."""
    try:
        datasets, packing = importlib.import_module("datasets"), importlib.import_module("trl")
    except ImportError:
        table.skipped["trl"] = "not installed"
        return
    few = documents[:4000]
    tokens = sum(map(len, few))
    rows = datasets.Dataset.from_dict({"input_ids": [document.astype(np.int64) for document in few]})
    datasets.disable_progress_bars()
    offsets = np.cumsum([0, *map(len, few)])
    for strategy in ("bfd", "bfd_split"):

        def theirs(strategy: str = strategy) -> Any:
            return packing.pack_dataset(
                rows, seq_length=SEQ_LEN, strategy=strategy, map_kwargs={"keep_in_memory": True}
            )

        try:
            packed = theirs()
        except (TypeError, ValueError) as error:
            table.skipped[f"trl {strategy}"] = str(error)
            continue
        kept = sum(len(row) for row in packed["input_ids"])
        with tempfile.TemporaryDirectory() as folder:
            dataset = TokenDataset.write(Path(folder) / "t", np.concatenate(few), offsets, vocab_size=VOCAB_SIZE)

            def ours(dataset: TokenDataset = dataset) -> bool:
                loader = PackedLoader(dataset, seq_len=SEQ_LEN, batch_size=BATCH_SIZE, seed=0, epochs=1)
                return sum(batch.input_ids.size for batch in loader) >= tokens

            note = f"{1 - kept / tokens:.1%} of tokens lost, {kept / (len(packed) * SEQ_LEN):.3%} full"
            contenders = [_alone(OURS, ours), _alone("trl", theirs, note=note)]
            table.compare(f"pack a corpus, trl {strategy}", tokens, contenders, rounds=2)


def _windows(table: BenchTable, dataset: TokenDataset, ids: Tokens, wanted: set[str]) -> None:
    """Windows begin at random; those of a contender must be stretches of the stream."""
    for batch_size, seq_len in ((12, 64), (32, 1024)):
        length = seq_len + 1

        def ours(batch_size: int = batch_size, length: int = length) -> npt.NDArray[np.int64]:
            for step in range(NUM_WINDOWS):
                last = dataset.store.random_windows(length, batch_size, 0, step)
            return last

        def gather(batch_size: int = batch_size, length: int = length) -> npt.NDArray[np.int64]:
            random, reach = np.random.default_rng(0), np.arange(length)
            for _ in range(NUM_WINDOWS):
                starts = random.integers(0, len(ids) - length + 1, batch_size)
                last = ids[starts[:, None] + reach].astype(np.int64)
            return last

        def stretches(windows: object) -> bool:
            assert isinstance(windows, np.ndarray)
            at = np.lib.stride_tricks.sliding_window_view(ids, 4)
            return all(bool((at == window[:4]).all(axis=1).any()) for window in windows[:3])

        contenders = [_alone(OURS, ours, stretches)]
        if "numpy" in wanted:
            contenders.append(_alone("numpy", gather, stretches, "gather"))
        task = f"random windows, {batch_size} x {seq_len}"
        table.compare(task, NUM_WINDOWS * batch_size * length, contenders)
