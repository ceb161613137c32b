"""Duplicates in text: exact, near, repeated substrings, overlap with evaluation sets.

Everything here is the Rust core behind typed results; numpy is all it needs. Bulk calls take `list[str]` or any Arrow
string array (pyarrow, Polars; nothing is copied on the way in), release the GIL, use all cores unless told otherwise,
and give the same result on any number of them. Ctrl-C ends a call within a moment; `progress`, where given, is called
about twenty times a second with the bytes of text done so far (of all passes together).

`memory` (bytes) bounds what a call holds beside the texts; what does not fit lies in `folder`, or in a temporary one,
arrays with a number for each text included (they are mapped files without a name, and go with the arrays). The result
does not depend on it. With texts in a mapped file (Arrow IPC, opened with `pyarrow.memory_map`) the corpus may be
larger than memory. Spans are bytes of the text's UTF-8, at character boundaries.
"""

from __future__ import annotations

import contextlib
import operator
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gristlm import _core
from gristlm.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gristlm._core import _How, _Texts

__all__ = [
    "PARTITIONS",
    "SHARD_TEXTS",
    "ContaminationResult",
    "DedupResult",
    "ExactResult",
    "MinHashResult",
    "SpanResult",
    "by_id",
    "contamination",
    "cut",
    "exact",
    "group_partitions",
    "minhash",
    "sign_shard",
    "signatures",
    "substrings",
]

Progress = Callable[[int], object]
MIN_MEMORY = 1_000_000
"""The least `memory` that a call takes, in bytes."""
SHARD_TEXTS = _core.DEDUP_SHARD_TEXTS
"""Texts in a shard of `sign_shard`."""
PARTITIONS = _core.DEDUP_PARTITIONS
"""Partitions of `group_partitions`."""


@dataclass(frozen=True, slots=True)
class DedupResult:
    """Which of N texts stay."""

    keep: NDArray[np.bool_]
    """bool[N]: whether the text stays."""
    cluster: NDArray[np.int64]
    """int64[N]: the text that stays for this one, the first of all equal or similar ones; itself where it stays."""


@dataclass(frozen=True, slots=True)
class ExactResult(DedupResult):
    """Which texts stay, and which of their units stood before."""

    spans: NDArray[np.int64]
    """int64[M, 3]: (document, start, end) of each unit that stood before, in order; `cut` removes them."""


@dataclass(frozen=True, slots=True)
class MinHashResult(DedupResult):
    """Which texts stay, and whose twins the others are."""

    twin: NDArray[np.int64]
    """int64[N]: the kept text that a dropped one was verified against; -1 for those that stay."""
    similarity: NDArray[np.float32]
    """float32[N]: the Jaccard similarity of the two; 0 for those that stay."""


@dataclass(frozen=True, slots=True)
class SpanResult:
    """Stretches of texts."""

    spans: NDArray[np.int64]
    """int64[M, 3]: (document, start, end), sorted, without overlaps."""


@dataclass(frozen=True, slots=True)
class ContaminationResult:
    """What N texts share with K evaluation texts."""

    contaminated: NDArray[np.bool_]
    """bool[N]: whether the text shares any run of `ngram` words."""
    overlap: NDArray[np.float32]
    """float32[N]: the share of the text's words inside such runs."""
    hits: NDArray[np.int64]
    """int64[M, 4]: (document, start, end, evaluation text), in order; of several evaluation texts the first."""
    too_short: NDArray[np.int64]
    """int64[]: evaluation texts with fewer than `ngram` words, which cannot be found."""


def exact(
    texts: _Texts,
    *,
    unit: Literal["document", "paragraph", "line"] = "document",
    order: NDArray[np.int64] | Sequence[int] | None = None,
    num_threads: int | None = None,
    memory: int | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> ExactResult:
    """Returns which texts stay when each document, paragraph or line may stand once: the first one stays.

    With `unit="document"` equal texts are duplicates. With `"paragraph"` (between blank lines) and `"line"`, trailing
    white space aside, `spans` holds every unit that stood before, and a text stays unless all its units did.

    Args:
        texts: N texts.
        unit: What is compared.
        order: int64[M]: the texts to look at, each at most once, the one that is rather to stay first; the others stay
            as they are. None is all of them, in their order.
        num_threads: None for all cores.
        memory: Bytes to hold beside the texts; None for as many as it takes.
        folder: Where the rest goes; None for a temporary folder.
        progress: Called with the bytes done.

    Raises:
        InputError: `unit` is none of the three, or `order` names a text twice.
        StorageError: `folder` cannot be written.
        DamagedArtifactError: a file in it changed under the call; names it.
    """
    placed = None if order is None else _order(order)
    with _room(num_threads, memory, folder, progress) as how:
        return ExactResult(*_core.dedup_exact(texts, placed, unit, how))


def by_id(
    ids: _Texts,
    texts: _Texts,
    *,
    num_threads: int | None = None,
    memory: int | None = None,
    folder: Path | str | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns an `order` for `exact`, `minhash` and `substrings` that does not depend on how the texts lie.

    Args:
        ids: N ids.
        texts: the N texts, which tell equal ids apart; equal texts of one id stay as they lie.
        num_threads: None for all cores.
        memory: Bytes to hold beside ids and texts; None for as many as it takes.
        folder: Where the rest goes; None for a temporary folder.

    Returns:
        int64[N], the texts in the order of their ids' bytes; and bool[N], of each in that order, whether it has the id
        of the one before it.

    Raises:
        InputError: there are more ids or fewer than texts.
        StorageError: `folder` cannot be written.
    """
    with _room(num_threads, memory, folder, None) as how:
        return _core.dedup_by_id(ids, texts, how)


def minhash(
    texts: _Texts,
    *,
    num_perm: int = 112,
    bands: int = 14,
    rows: int = 8,
    ngram: int = 5,
    threshold: float = 0.8,
    seed: int = 0,
    order: NDArray[np.int64] | Sequence[int] | None = None,
    num_threads: int | None = None,
    memory: int | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> MinHashResult:
    """Returns which texts stay when no two that are similar may, by MinHash and LSH with every candidate verified.

    In the order of the texts, or in `order`, one is dropped if a text that is kept, stands before it and shares a band
    with it has a Jaccard similarity of at least `threshold` with it. The similarity is that of the sets of runs of
    `ngram` tokens; a token is a piece between white space, and each character in scripts without spaces (Chinese,
    Japanese, Thai, …). A text with fewer tokens is one run; texts without tokens equal each other. Two texts of
    similarity s share a band with probability 1 - (1 - s^rows)^bands. Of the kept texts that share one band, the first
    1,000 are compared.

    With an `order` of one's own, that of the documents' ids, say, the same documents stay wherever they stand in the
    list.

    A call that was killed, made again with the same texts and the same `folder`, goes on where it was; the files there
    can be removed once it returned.

    Args:
        texts: N texts.
        num_perm: Permutations available; `bands * rows` of them are used.
        bands: Bands of the signature; one equal band makes a candidate.
        rows: Numbers in a band.
        ngram: Tokens in a run.
        threshold: Above 0, at most 1.
        seed: Of the permutations, 0 to 2^64 - 1.
        order: int64[N]: each text's number once, the one that is rather to stay first; None is the order of the texts.
        num_threads: None for all cores.
        memory: Bytes to hold beside the texts; None for as many as it takes.
        folder: Where the rest goes; None for a temporary folder.
        progress: Called with the bytes done.

    Raises:
        InputError: A number is out of range, `bands * rows` is more than `num_perm`, or `order` does not name each text
            once.
        StorageError: `folder` cannot be written.
        DamagedArtifactError: a file in `folder` is not what was written; names it.
    """
    num_perm, bands, rows = _count("num_perm", num_perm), _count("bands", bands), _count("rows", rows)
    ngram, seed, threshold = _count("ngram", ngram), _count("seed", seed), _fraction("threshold", threshold)
    placed = None if order is None else _order(order)
    with _room(num_threads, memory, folder, progress) as how:
        return MinHashResult(*_core.dedup_minhash(texts, placed, num_perm, bands, rows, ngram, threshold, seed, how))


def sign_shard(
    texts: _Texts,
    positions: NDArray[np.int64] | Sequence[int],
    number: int,
    folder: Path | str,
    *,
    bands: int = 14,
    rows: int = 8,
    ngram: int = 5,
    seed: int = 0,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes the band keys of one shard to `folder`, where `minhash` finds them: so many machines share its work.

    First each shard of the corpus is signed, on any machine; then `group_partitions` finds what shares a band, on any
    machine; then one call of `minhash` with all texts, the same options and `folder` reads both, verifies every
    candidate and gives its usual result. What is missing in `folder`, or is of other texts, that call makes itself. A
    shard that is there already is not signed again.

    Args:
        texts: those from `number * SHARD_TEXTS` on, up to `SHARD_TEXTS` of them, of the whole corpus.
        positions: int64[len(texts)]: the position of each in the `order` of the whole corpus (its index, where there is
            none); -1 for an exact copy of a text before it in that order.
        number: of the shard, from 0.
        folder: that all machines reach.
        bands: as in `minhash`, like the others.
        rows: Numbers in a band.
        ngram: Tokens in a run.
        seed: Of the permutations.
        num_threads: None for all cores.
        progress: Called with the bytes done.

    Raises:
        InputError: A number is out of range, or `positions` are not as many as the texts.
        StorageError: `folder` cannot be written.
        DamagedArtifactError: a file in `folder` is not what was written; names it.
    """
    banded = _count("bands", bands), _count("rows", rows), _count("ngram", ngram), _count("seed", seed)
    with _room(num_threads, MIN_MEMORY, folder, progress) as how:
        _core.dedup_sign_shard(texts, _order(positions), _count("number", number), Path(folder), *banded, how)


def group_partitions(
    partitions: range,
    shards: int,
    folder: Path | str,
    *,
    bands: int = 14,
    rows: int = 8,
    ngram: int = 5,
    seed: int = 0,
    num_threads: int | None = None,
) -> None:
    """Finds which texts share a band, in some of the partitions of what `sign_shard` left, and writes it to `folder`.

    Args:
        partitions: of `range(PARTITIONS)`, such as `range(0, 16)`; all machines together do each once.
        shards: how many shards the corpus has; all must be signed.
        folder: that of `sign_shard`.
        bands: as in `sign_shard`, like the others.
        rows: Numbers in a band.
        ngram: Tokens in a run.
        seed: Of the permutations.
        num_threads: None for all cores.

    Raises:
        InputError: A number is out of range.
        StorageError: a shard is missing, or `folder` cannot be written.
        DamagedArtifactError: a file in `folder` is not what was written; names it.
    """
    if partitions.step != 1:
        raise InputError(f"partitions is {partitions}; give a range without a step")
    first, end = _count("partitions", partitions.start), _count("partitions", partitions.stop)
    banded = _count("bands", bands), _count("rows", rows), _count("ngram", ngram), _count("seed", seed)
    with _room(num_threads, MIN_MEMORY, folder, None) as how:
        _core.dedup_group_partitions(first, end, _count("shards", shards), Path(folder), *banded, how)


def signatures(
    texts: _Texts,
    *,
    num_perm: int = 112,
    ngram: int = 5,
    seed: int = 0,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> NDArray[np.uint32]:
    """Returns uint32[N, num_perm]: the MinHash signatures that `minhash` compares, for pipelines of one's own.

    The share of equal numbers in two rows estimates the Jaccard similarity of their texts. A text without tokens has
    2^32 - 1 everywhere.

    Args:
        texts: N texts.
        num_perm: Permutations.
        ngram: Tokens in a run, as in `minhash`.
        seed: Of the permutations.
        num_threads: None for all cores.
        progress: Called with the bytes done.

    Raises:
        InputError: A number is out of range.
    """
    num_perm, ngram, seed = _count("num_perm", num_perm), _count("ngram", ngram), _count("seed", seed)
    with _room(num_threads, None, None, progress) as how:
        return _core.dedup_signatures(texts, num_perm, ngram, seed, how)


def substrings(
    texts: _Texts,
    *,
    min_bytes: int = 200,
    min_tokens: int | None = None,
    order: NDArray[np.int64] | Sequence[int] | None = None,
    num_threads: int | None = None,
    memory: int | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> SpanResult:
    """Returns the spans whose every `min_bytes` bytes stood before, in an earlier text or earlier in the same one.

    Cutting them leaves the first copy. By rolling hashes, made sure of byte by byte. 200 bytes are about the 50 tokens
    of Lee et al. 2022 ("Deduplicating Training Data Makes Language Models Better"). With `min_tokens` the length is
    measured in the tokens of `minhash` instead: spans reach from the first byte of a token to the last of another, and
    the white space between them is compared like the rest.

    Args:
        texts: N texts.
        min_bytes: Length of a repetition that counts, in bytes of UTF-8.
        min_tokens: The same in tokens, at most 65,536; None measures in bytes.
        order: int64[M]: the texts to look at, each at most once, the one whose copy is left first; None is all of them,
            in their order.
        num_threads: None for all cores.
        memory: Bytes to hold beside the texts: less memory, more passes over them. None takes about eight times their
            size.
        folder: Where what there is for each text lies; None for a temporary folder.
        progress: Called with the bytes done.

    Raises:
        InputError: `min_bytes` or `min_tokens` is not positive, a text is longer than 4 GiB, or `order` names one
            twice.
        StorageError: `folder` cannot be written.
    """
    placed = None if order is None else _order(order)
    length = _count("min_bytes", min_bytes), None if min_tokens is None else _count("min_tokens", min_tokens)
    with _room(num_threads, memory, folder, progress) as how:
        return SpanResult(_core.dedup_substrings(texts, placed, *length, how))


def contamination(
    texts: _Texts,
    against: _Texts,
    *,
    ngram: int = 13,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> ContaminationResult:
    """Returns where texts share runs of `ngram` words with evaluation texts, case and punctuation aside.

    Thirteen words as in Brown et al. 2020 ("Language Models are Few-Shot Learners", appendix C).

    Args:
        texts: N texts to look through.
        against: K evaluation texts.
        ngram: Words in a run. Evaluation texts with fewer are listed in `too_short`.
        num_threads: None for all cores.
        progress: Called with the bytes done.

    Raises:
        InputError: `ngram` is not positive.
    """
    with _room(num_threads, None, None, progress) as how:
        overlap, hits, too_short = _core.dedup_contamination(texts, against, _count("ngram", ngram), how)
    return ContaminationResult(overlap > 0, overlap, hits, too_short)


def cut(
    texts: _Texts, spans: SpanResult | ExactResult | NDArray[np.int64], *, num_threads: int | None = None
) -> list[str]:
    """Returns the texts without `spans`, which may be in any order and overlap.

    Args:
        texts: The N texts that the spans were found in.
        spans: A result of `substrings` or `exact`, or int64[M, 3] rows of (document, start, end).
        num_threads: None for all cores.

    Raises:
        InputError: A span is not inside its text, or not at character boundaries.
    """
    rows = spans.spans if isinstance(spans, (SpanResult, ExactResult)) else spans
    with _room(num_threads, None, None, None) as how:
        return _core.cut_spans(texts, rows, how)


@contextlib.contextmanager
def _room(
    num_threads: int | None, memory: int | None, folder: Path | str | None, progress: Progress | None
) -> Iterator[_How]:
    """Yields what every call of the core takes; a temporary folder where one is needed and none is given."""
    if memory is None:
        if folder is not None:
            raise InputError(f"folder is {str(folder)!r} without memory; give memory, the bytes that may be held")
        yield num_threads, progress, None, None
        return
    if (limit := _count("memory", memory)) < MIN_MEMORY:
        raise InputError(f"memory is {memory}; give at least {MIN_MEMORY:,} bytes")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        yield num_threads, progress, limit, Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="gristlm-dedup-") as temporary:
        yield num_threads, progress, limit, Path(temporary)


def _order(given: NDArray[np.int64] | Sequence[int]) -> NDArray[np.int64]:
    import numpy as np

    array = np.asarray(given)
    if array.ndim != 1 or not (array.dtype.kind in "iu" or array.size == 0):
        raise InputError(f"order is {array.dtype} of shape {array.shape}; give whole numbers of texts, each once")
    return np.ascontiguousarray(array, dtype=np.int64)


def _count(name: str, value: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if not 0 <= count < 2**64:
        raise InputError(f"{name} is {value!r}; give a whole number of 0 or more")
    return count


def _fraction(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}; give a number above 0 and at most 1") from None
