"""Batches with BPE dropout: each row draws from a seed of its own, so threads change nothing."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from gristlm import _core
from gristlm.errors import InputError
from gristlm.tokenize.batch import TokenBatch

if TYPE_CHECKING:
    from gristlm.tokenize.training import Texts

_STEP = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def encode_batch(
    tokenizer: _core.Tokenizer,
    texts: Texts,
    num_threads: int | None,
    dropout: float,
    seed: int,
    *,
    allowed_special: Collection[str] | Literal["all"] | None,
    disallowed_special: Collection[str] | Literal["all"] | None,
) -> TokenBatch:
    """Returns the ids of all texts, with the share `dropout` of merges left out.

    Row n draws from the seed `seed + n * 0x9E3779B97F4A7C15` modulo 2**64 (ours: SplitMix64's step keeps rows apart).

    Raises:
        InputError: an argument is out of range, or a row is not a text; names the row.
        SpecialTokenError: a text holds a disallowed special token.
    """
    if num_threads is not None and num_threads < 1:
        raise InputError(f"num_threads is {num_threads}; give 1 or more, or None for all cores")
    if not 0 <= seed <= _WORD:
        raise InputError(f"seed is {seed}; give 0 to 2**64 - 1")
    rows = _rows(texts)

    def encode(row: int) -> npt.NDArray[np.uint32]:
        return tokenizer.encode_array(
            rows[row],
            allowed_special=allowed_special,
            disallowed_special=disallowed_special,
            dropout=dropout,
            seed=(seed + row * _STEP) & _WORD,
        )

    with ThreadPoolExecutor(num_threads or os.cpu_count() or 1) as threads:
        try:
            encoded = list(threads.map(encode, range(len(rows))))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    offsets_N1 = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(ids) for ids in encoded], out=offsets_N1[1:])
    return TokenBatch(np.concatenate([*encoded, np.empty(0, np.uint32)]), offsets_N1)


def _rows(texts: Texts) -> list[str]:
    as_list = getattr(texts, "to_pylist", None) or getattr(texts, "to_list", None)
    rows = list(as_list()) if as_list is not None else list(texts) if isinstance(texts, (list, tuple)) else None
    if rows is None:
        raise InputError(f"texts is {type(texts).__name__}; give a list of str, or an Arrow array")
    for number, row in enumerate(rows):
        if not isinstance(row, str):
            raise InputError(f"row {number} is {type(row).__name__}; give str")
    return rows
