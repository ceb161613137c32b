"""The other tokenizers, each behind the same few calls. Their own fastest call for the kind of result is used."""

from __future__ import annotations

import base64
import functools
import importlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gristlm.bench.vocabulary import Vocabulary
from gristlm.errors import InputError

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Peer:
    """A loaded library. `fresh` makes one with empty caches; the calls take it."""

    name: str
    fresh: Callable[[], Any]
    encode: Callable[[Any], Encode]
    """Returns the call that makes a list of ids of a text."""
    encode_flat: Callable[[Any, list[str]], Any] | None = None
    """All texts to one array, on one thread."""
    encode_threads: Callable[[Any, list[str], int], Any] | None = None
    """The same on so many threads; a library whose pool is sized by the environment finds it sized so."""
    decode: Callable[[Any], Callable[[list[int]], str]] | None = None
    load_tiktoken: Callable[[], Any] | None = None
    load_json: Callable[[str], Any] | None = None
    note: str = ""


def check(names: Sequence[str] | None) -> None:
    """Looks at names of peers.

    Raises:
        InputError: one is unknown; names those that are known.
    """
    for name in names or ():
        if name not in PEERS:
            raise InputError(f"peers has {name!r}; known are {', '.join(PEERS)}")


def load(names: Sequence[str] | None, vocabulary: Vocabulary) -> tuple[list[Peer], dict[str, str], dict[str, str]]:
    """Returns the peers, their versions, and why others are left out.

    Raises:
        InputError: a name in `names` is unknown or its package is not installed.
    """
    check(names)
    peers: list[Peer] = []
    versions, left_out = {}, {}
    for name in PEERS if names is None else names:
        try:
            module = importlib.import_module(name.replace("-", "_"))
        except ImportError:
            if names is not None:
                raise InputError(
                    f"the peer {name!r} is not installed; run: pip install {PACKAGES.get(name, name)}"
                ) from None
            left_out[name] = "not installed"
            continue
        versions[name] = importlib.metadata.version(PACKAGES.get(name, name))
        if name not in _LOADERS:
            continue  # it only trains
        try:
            peer = _LOADERS[name](module, vocabulary)
            peer.fresh()
            peers.append(peer)
        except Exception as error:
            left_out[name] = f"cannot load this vocabulary: {(str(error).splitlines() or [repr(error)])[0][:120]}"
    return peers, versions, left_out


def published_pattern(vocabulary: Vocabulary) -> str:
    """Returns the regular expression of the vocabulary in the form tiktoken publishes, which is the faster one there.

    Raises:
        InputError: the pattern is not one regular expression.
    """
    if vocabulary.tokenizer.pattern == "cl100k":
        return (
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
            r"\s*[\r\n]|\s+(?!\S)|\s"
        )
    return _written_pattern(vocabulary)


def _written_pattern(vocabulary: Vocabulary) -> str:
    steps = json.loads(vocabulary.tokenizer.state.to_json())["pre_tokenizer"]["pretokenizers"]
    regexes = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
    if len(regexes) != 1:
        raise InputError("its pattern is not one regular expression")
    return str(regexes[0])


def _file(vocabulary: Vocabulary) -> str:
    if vocabulary.tiktoken_file is None:
        raise InputError("it has no .tiktoken form")
    return str(vocabulary.tiktoken_file)


def _builtin(vocabulary: Vocabulary) -> str:
    """The name under which a library with vocabularies built in has this one."""
    name = vocabulary.name.partition(".")[0]
    if name not in ("cl100k_base", "o200k_base"):
        raise InputError("it has only cl100k_base and o200k_base, which are built in")
    return name


def _packed(result: tuple[bytes, bytes]) -> Any:
    return np.frombuffer(result[0], np.uint32)


def _tiktoken(module: Any, vocabulary: Vocabulary) -> Peer:
    pattern, file = published_pattern(vocabulary), _file(vocabulary)

    def read() -> Any:
        with open(file, "rb") as lines:  # noqa: PTH123
            ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
        return module.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})

    encoding = read()
    return Peer(
        "tiktoken",
        fresh=lambda: encoding,  # it keeps nothing between calls
        encode=lambda own: own.encode_ordinary,
        encode_flat=lambda own, texts: np.concatenate(
            [own.encode_to_numpy(text, disallowed_special=()) for text in texts]
        ),
        encode_threads=lambda own, texts, threads: own.encode_ordinary_batch(texts, num_threads=threads),
        decode=lambda own: own.decode,
        load_tiktoken=read,
    )


def _tokenizers(module: Any, vocabulary: Vocabulary) -> Peer:
    definition = vocabulary.tokenizer.state.to_json()
    return Peer(
        "tokenizers",
        fresh=lambda: module.Tokenizer.from_str(definition),
        encode=lambda own: lambda text: own.encode(text, add_special_tokens=False).ids,
        encode_flat=lambda own, texts: np.concatenate(
            [e.ids for e in own.encode_batch_fast(texts, add_special_tokens=False)]
        ),
        encode_threads=lambda own, texts, threads: own.encode_batch_fast(texts, add_special_tokens=False),
        decode=lambda own: functools.partial(own.decode, skip_special_tokens=False),
        load_json=module.Tokenizer.from_file,
    )


def _gigatoken(module: Any, vocabulary: Vocabulary) -> Peer:
    file, pattern = _file(vocabulary), vocabulary.tokenizer.pattern
    read = functools.partial(module.Tokenizer.from_tiktoken, file, pattern, {})
    return Peer(
        "gigatoken",
        fresh=read,
        encode=lambda own: lambda text: own.encode(text).tolist(),
        encode_flat=lambda own, texts: own.encode_batch(texts, parallel=False),
        encode_threads=lambda own, texts, threads: own.encode_batch(texts, parallel=threads > 1),
        decode=lambda own: lambda ids: own.decode(ids).decode(errors="replace"),
        load_tiktoken=read,
        load_json=module.Tokenizer,
    )


def _fastokens(module: Any, vocabulary: Vocabulary) -> Peer:
    read = functools.partial(
        module.Tokenizer.from_tiktoken, _file(vocabulary), pattern=published_pattern(vocabulary), special_tokens={}
    )
    return Peer(
        "fastokens",
        fresh=read,
        encode=lambda own: lambda text: own.encode(text).ids,
        encode_flat=lambda own, texts: _packed(own.encode_batch_flat(texts)),
        encode_threads=lambda own, texts, threads: own.encode_batch_flat(texts),
        decode=lambda own: own.decode,
        load_tiktoken=read,
        load_json=module.Tokenizer.from_file,
    )


def _snaptokens(module: Any, vocabulary: Vocabulary) -> Peer:
    # It knows cl100k's expression only without the end of the text, which is the same where no text ends in blanks.
    definition = vocabulary.tokenizer.state.to_json().replace(r"|\\s+\\z|", "|")
    return Peer(
        "snaptokens",
        fresh=lambda: module.Tokenizer.from_json_str(definition),
        encode=lambda own: lambda text: own.encode(text).ids,
        encode_flat=lambda own, texts: _packed(own.encode_batch_flat(texts)),
        encode_threads=lambda own, texts, threads: own.encode_batch_flat(texts),
        decode=lambda own: own.decode,
        load_json=lambda path: module.Tokenizer.from_json_str(Path(path).read_text().replace(r"|\\s+\\z|", "|")),
    )


def _splintr(module: Any, vocabulary: Vocabulary) -> Peer:
    read = functools.partial(module.Tokenizer, _file(vocabulary), _written_pattern(vocabulary))
    return Peer(
        "splintr",
        fresh=read,
        encode=lambda own: own.encode_ordinary,
        encode_flat=lambda own, texts: _packed(own.encode_batch_flat(texts)),
        encode_threads=lambda own, texts, threads: own.encode_batch_flat(texts),
        decode=lambda own: own.decode,
        load_tiktoken=read,
        load_json=module.from_json,
    )


def _toktok(module: Any, vocabulary: Vocabulary) -> Peer:
    name = _builtin(vocabulary)
    make: Callable[[str, str], Any] = module._Tokenizer
    read = functools.partial(make, name, "")
    return Peer(
        "toktok",
        fresh=read,
        encode=lambda own: own.encode_ordinary,
        encode_flat=lambda own, texts: own.encode_batch_to_numpy(texts, 1)[0],
        encode_threads=lambda own, texts, threads: own.encode_batch_to_numpy(texts, threads),
        decode=lambda own: own.decode,
        load_tiktoken=read,
        note="built in",
    )


def _rs_bpe(module: Any, vocabulary: Vocabulary) -> Peer:
    own = getattr(importlib.import_module(f"{module.__name__}.bpe").openai, _builtin(vocabulary))()
    return Peer(
        "rs-bpe", fresh=lambda: own, encode=lambda own: own.encode, decode=lambda own: own.decode, note="built in"
    )


def _bpe_openai(module: Any, vocabulary: Vocabulary) -> Peer:
    own = module.get_encoding(_builtin(vocabulary))
    return Peer(
        "bpe-openai",
        fresh=lambda: own,
        encode=lambda own: own.encode_ordinary,
        decode=lambda own: own.decode,
        note="built in",
    )


_LOADERS: dict[str, Callable[[Any, Vocabulary], Peer]] = {
    "tiktoken": _tiktoken,
    "tokenizers": _tokenizers,
    "gigatoken": _gigatoken,
    "fastokens": _fastokens,
    "snaptokens": _snaptokens,
    "splintr": _splintr,
    "toktok": _toktok,
    "rs-bpe": _rs_bpe,
    "bpe-openai": _bpe_openai,
}
TRAINERS = ("rustbpe", "bpeasy")
"""Libraries that take part in training alone."""
PEERS = (*_LOADERS, *TRAINERS)
PACKAGES = {"splintr": "splintr-rs", "toktok": "toktok-rs"}
"""Names on PyPI, where they differ."""
