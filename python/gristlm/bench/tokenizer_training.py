"""Training beside the other trainers: 32,768 tokens with cl100k's pattern.

HF's trainer must give the very same merges. The others break ties in their own way, so what is asked of them is as many
tokens, of which nearly all are ours too; gigatoken's pattern is fixed, so only the number of its tokens is looked at.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.bench.tokenizer_corpus import Corpus
from gristlm.tokenize import Tokenizer

VOCAB_SIZE = 32_768
SMALL_BYTES, LARGE_BYTES = 20_000_000, 100_000_000
LEAST_SHARED = 0.95
REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


def measure(table: BenchTable, corpus: Corpus, peers: Sequence[str] | None, *, large: bool) -> None:
    """Adds a row per size of text, smaller where there is less text, and a smaller vocabulary with it."""
    for num_bytes in (SMALL_BYTES, LARGE_BYTES) if large else (SMALL_BYTES,):
        texts = corpus.training_texts(num_bytes)
        size = sum(len(text.encode()) for text in texts)
        ours = _train(texts, None)
        contenders: list[Contender[None]] = [
            Contender(OURS, prepare=_nothing, run=functools.partial(_train, texts), result=_merges)
        ]
        for name, train in _TRAINERS.items():
            if peers is not None and name not in peers:
                continue
            try:
                contenders.append(train(importlib.import_module(name), texts, ours))
            except ImportError:
                table.skipped.setdefault(name, "not installed")
        table.compare(f"train {VOCAB_SIZE:,} on {size / 1e6:.0f} MB", size, contenders, rounds=2, unit="s")


def _nothing() -> None:
    return None


def _train(texts: list[str], _: None) -> Tokenizer:
    return Tokenizer.train(texts, vocab_size=VOCAB_SIZE, pattern="cl100k", num_threads=1)


def _merges(trained: Any) -> object:
    definition = trained.state.to_json() if isinstance(trained, Tokenizer) else trained.to_str()
    return json.loads(definition)["model"]["merges"]


def _tokenizers(module: Any, texts: list[str], ours: Tokenizer) -> Contender[None]:
    def run(_: None) -> Any:
        other = module.Tokenizer(module.models.BPE())
        level = module.pre_tokenizers.ByteLevel
        other.pre_tokenizer = module.pre_tokenizers.Sequence(
            [
                module.pre_tokenizers.Split(module.Regex(REGEX), "isolated"),
                level(add_prefix_space=False, use_regex=False),
            ]
        )
        trainer = module.trainers.BpeTrainer(
            vocab_size=VOCAB_SIZE, initial_alphabet=level.alphabet(), show_progress=False
        )
        other.train_from_iterator(texts, trainer)
        return other

    return Contender("tokenizers", _nothing, run, result=_merges, note="equal merges")


def _by_tokens(
    name: str, ours: Tokenizer, run: Callable[[None], Any], tokens: Callable[[Any], set[bytes]]
) -> Contender[None]:
    """A trainer with another tie-break: its result counts as ours when enough of its tokens are."""
    known = {ours.id_to_bytes(id) for id in range(ours.vocab_size)}
    expected = _merges(ours)

    def result(trained: Any) -> object:
        theirs = tokens(trained)
        enough = abs(len(theirs) - len(known)) <= 1 and len(theirs & known) >= LEAST_SHARED * len(known)
        return expected if enough else f"only {len(theirs & known):,} of {len(known):,} tokens are ours too"

    return Contender(name, _nothing, run, result=result, note="other ties")


def _rustbpe(module: Any, texts: list[str], ours: Tokenizer) -> Contender[None]:
    def run(_: None) -> Any:
        other = module.Tokenizer()
        other.train_from_iterator(iter(texts), VOCAB_SIZE, pattern=REGEX)
        return other

    return _by_tokens("rustbpe", ours, run, lambda other: {bytes(token) for token, _ in other.get_mergeable_ranks()})


def _bpeasy(module: Any, texts: list[str], ours: Tokenizer) -> Contender[None]:
    def run(_: None) -> Any:
        with _silenced():
            return module.train_bpe(iter(texts), REGEX, 1 << 20, VOCAB_SIZE)

    return _by_tokens("bpeasy", ours, run, set)


def _gigatoken(module: Any, texts: list[str], ours: Tokenizer) -> Contender[None]:
    data = "\n".join(texts).encode()

    def run(_: None) -> Any:
        with _silenced():
            return module.train_bpe(data, VOCAB_SIZE, [])

    def result(trained: Any) -> object:
        return _merges(ours) if abs(len(trained[0]) - ours.vocab_size) <= 1 else None

    return Contender("gigatoken", _nothing, run, result=result, note="own pattern")


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """What is written to either output goes nowhere: a trainer that reports its steps there cannot be told not to."""
    sys.stdout.flush()
    kept, nowhere = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        for number, output in enumerate(kept, start=1):
            os.dup2(output, number)
            os.close(output)
        os.close(nowhere)


_TRAINERS: dict[str, Callable[[Any, list[str], Tokenizer], Contender[None]]] = {
    "tokenizers": _tokenizers,
    "gigatoken": _gigatoken,
    "rustbpe": _rustbpe,
    "bpeasy": _bpeasy,
}
