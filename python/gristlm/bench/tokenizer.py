"""Rows of the tokenizer: encoding, decoding, hostile inputs, loading and training.

One thread everywhere but in the row of two: peers' pools are held to one by their environment variables.
"""

from __future__ import annotations

import functools
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristlm.bench import adversarial, tokenizer_peers, tokenizer_training, two_threads
from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.bench.tokenizer_corpus import Corpus, read_corpus
from gristlm.bench.tokenizer_peers import Peer
from gristlm.bench.vocabulary import Vocabulary, choose
from gristlm.tokenize import Tokenizer

ONE_STRING_BYTES = 12_000_000
SHORT_CALL = " the cats"
SHORT_CALLS = 50_000
TRIAL_SECONDS = 0.2
"""Whoever takes longer than this for an eighth of a hostile input takes no part in its row."""


def measure(table: BenchTable, files: Sequence[Path], peers: Sequence[str] | None, *, large: bool) -> None:
    """Adds every row to `table`; `large` also trains on 100 MB.

    Raises:
        InputError: a peer is unknown or not installed, or the files hold no text.
        MissingArtifactError: a file is not there.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("RAYON_NUM_THREADS", "1")
    tokenizer_peers.check(peers)
    corpus = read_corpus(files)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = choose(corpus.vocabulary, [*corpus.english, *corpus.code], Path(folder))
        others, versions, left_out = tokenizer_peers.load(peers, vocabulary)
        table.text = f"{corpus.described}; vocabulary {vocabulary.name}; one thread"
        table.versions.update(versions)
        table.skipped.update(left_out)
        libraries = [ours(vocabulary), *others]
        _documents(table, corpus, libraries)
        _batches(table, corpus, libraries)
        two_threads.measure(table, corpus.english, vocabulary, [peer.name for peer in others])
        _one_string(table, corpus.english, libraries)
        _short_call(table, libraries)
        _decode(table, corpus.english, vocabulary, libraries)
        _hostile(table, libraries)
        _load(table, vocabulary, Path(folder), libraries)
    tokenizer_training.measure(table, corpus, peers, large=large)


def ours(vocabulary: Vocabulary) -> Peer:
    """Returns us, behind the same calls as the others."""
    file, pattern = vocabulary.tiktoken_file, vocabulary.tokenizer.pattern
    return Peer(
        OURS,
        fresh=vocabulary.fresh,
        encode=lambda own: own.encode,
        encode_flat=lambda own, texts: own.encode_batch(texts, num_threads=1).ids,
        decode=lambda own: own.decode,
        load_tiktoken=None if file is None else functools.partial(Tokenizer.from_tiktoken, file, pattern=pattern),
        load_json=Tokenizer.from_file,
    )


def _documents(table: BenchTable, corpus: Corpus, libraries: list[Peer]) -> None:
    for kind, texts in (("English", corpus.english), ("multilingual", corpus.multilingual), ("code", corpus.code)):
        runs = [(peer, functools.partial(encode_each, peer, texts)) for peer in libraries]
        cold = [Contender(peer.name, peer.fresh, run) for peer, run in runs]
        table.compare(f"{kind}, one by one, cold", size(texts), cold, rounds=2)
        if kind == "English":
            warm = [Contender(peer.name, same(warmed(peer, texts)), run) for peer, run in runs]
            table.compare(f"{kind}, one by one, warm", size(texts), warm)


def _batches(table: BenchTable, corpus: Corpus, libraries: list[Peer]) -> None:
    for kind, texts in (("English", corpus.english), ("multilingual", corpus.multilingual)):
        task = f"{kind}, batch to array, warm"
        contenders = [
            Contender(
                peer.name,
                same(warmed(peer, texts)),
                functools.partial(_encode_flat, peer.encode_flat, texts),
                result=_flat,
            )
            for peer in _able(table, task, libraries, "encode_flat")
            if peer.encode_flat
        ]
        table.compare(task, size(texts), contenders)


def _one_string(table: BenchTable, texts: list[str], libraries: list[Peer]) -> None:
    repeats = ONE_STRING_BYTES // max(size(texts), 1) + 1
    text = "".join(itertools.chain.from_iterable(itertools.repeat(texts, repeats)))[:ONE_STRING_BYTES].rstrip()
    contenders = [
        Contender(peer.name, same(warmed(peer, texts)), functools.partial(encode_each, peer, [text]))
        for peer in libraries
    ]
    table.compare(f"one string of {len(text) / 1e6:.0f} MB", len(text.encode()), contenders, rounds=2)


def _short_call(table: BenchTable, libraries: list[Peer]) -> None:
    def calls(encode: Callable[[str], Sequence[int]]) -> list[int]:
        for _ in itertools.repeat(None, SHORT_CALLS - 1):
            encode(SHORT_CALL)
        return list(encode(SHORT_CALL))

    contenders = [Contender(peer.name, same(peer.encode(peer.fresh())), calls) for peer in libraries]
    table.compare(
        f"a call with {len(SHORT_CALL)} bytes", len(SHORT_CALL), contenders, unit="ns/call", calls=SHORT_CALLS
    )


def _decode(table: BenchTable, texts: list[str], vocabulary: Vocabulary, libraries: list[Peer]) -> None:
    own = vocabulary.tokenizer
    lists = [own.encode(text) for text in texts]
    arrays = [own.encode_array(text) for text in texts]

    def contender(peer: Peer, rows: Sequence[Any], note: str = "") -> Contender[Any]:
        assert peer.decode is not None
        return Contender(
            peer.name, same(peer.decode(peer.fresh())), lambda decode: [decode(ids) for ids in rows], note=note
        )

    able = _able(table, "decode", libraries, "decode")
    table.compare("decode from lists", size(texts), [contender(peer, lists) for peer in able])
    # None of the others takes arrays faster than lists: theirs is the list's figure again, in the same rounds.
    from_arrays = [contender(able[0], arrays), *(contender(peer, lists, "lists") for peer in able[1:])]
    table.compare("decode from arrays", size(texts), from_arrays)


def _hostile(table: BenchTable, libraries: list[Peer]) -> None:
    owns = {peer.name: peer.encode(peer.fresh()) for peer in libraries}
    for kind, text in adversarial.inputs().items():
        task = f"1 MB: {kind}"
        contenders = []
        for name, encode in owns.items():
            try:
                began = time.process_time()
                encode(text[: len(text) // 8])
                seconds = time.process_time() - began
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:
                table.skipped[f"{name}: {task}"] = "refuses it"
                continue
            if seconds > TRIAL_SECONDS and name != OURS:
                table.skipped[f"{name}: {task}"] = f"an eighth of it takes longer than {TRIAL_SECONDS} s"
                continue
            contenders.append(Contender(name, same(encode), functools.partial(_call, text), result=_listed))
        # One round: many libraries remember the whole text, and would look it up in the next.
        table.compare(task, len(text.encode()), contenders, rounds=1, unit="ms")


def _load(table: BenchTable, vocabulary: Vocabulary, folder: Path, libraries: list[Peer]) -> None:
    sample = "The loaded vocabulary gives these ids: naïve, 東京, 1234.\n"
    definition = folder / "tokenizer.json"
    vocabulary.tokenizer.save(definition)
    of: dict[str, Callable[[Peer], Callable[[], Any] | None]] = {
        "load .tiktoken": lambda peer: peer.load_tiktoken,
        "load tokenizer.json": lambda peer: peer.load_json and functools.partial(peer.load_json, str(definition)),
    }
    for task, reader in of.items():
        contenders: list[Contender[None]] = []
        for peer in libraries:
            read = reader(peer)
            if read is None:
                table.skipped[f"{peer.name}: {task}"] = "does not read it"
                continue
            contenders.append(
                Contender(
                    peer.name,
                    prepare=lambda: None,
                    run=functools.partial(_ignoring, read),
                    result=functools.partial(_encoded, peer, sample),
                    note=peer.note,
                )
            )
        if contenders and contenders[0].library == OURS:
            table.compare(task, definition.stat().st_size, contenders, unit="s")


def size(texts: Sequence[str]) -> int:
    """Bytes of UTF-8."""
    return sum(len(text.encode()) for text in texts)


def same(own: Any) -> Callable[[], Any]:
    """Returns a call that gives `own`: what is used again and again, caches and all."""
    return lambda: own


def encode_each(peer: Peer, texts: Sequence[str], own: Any) -> list[Sequence[int]]:
    """Returns the ids of every text, one call each."""
    encode = peer.encode(own)
    return [encode(text) for text in texts]


def warmed(peer: Peer, texts: Sequence[str]) -> Any:
    """Returns the library, after it has seen `texts`."""
    own = peer.fresh()
    encode_each(peer, texts, own)
    return own


def _able(table: BenchTable, task: str, libraries: list[Peer], call: str) -> list[Peer]:
    """Those that have the call; the others are left out by name."""
    for peer in libraries:
        if getattr(peer, call) is None:
            table.skipped[f"{peer.name}: {task}"] = "has no such call"
    return [peer for peer in libraries if getattr(peer, call) is not None]


def _encode_flat(encode: Callable[[Any, list[str]], Any], texts: list[str], own: Any) -> Any:
    return encode(own, texts)


def _listed(ids: Any) -> list[int]:
    return list(ids)


def _call(text: str, encode: Callable[[str], Sequence[int]]) -> Sequence[int]:
    return encode(text)


def _ignoring(read: Callable[[], Any], _: None) -> Any:
    return read()


def _encoded(peer: Peer, text: str, own: Any) -> list[int]:
    return list(peer.encode(own)(text))


def _flat(result: Any) -> list[int]:
    """Ids of a batch in one list, whatever array type holds them."""
    if isinstance(result, np.ndarray):
        return [int(id) for id in result]
    return [int(id) for row in result for id in row]
