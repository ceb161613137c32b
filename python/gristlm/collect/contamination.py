"""Evaluation sets that must not be trained on: read once, and looked for in every batch.

A row of a set is one evaluation text: all its strings, so that questions, choices and answers are found alike.
Source: Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C (runs of 13 words).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gristlm import dedup
from gristlm.errors import InputError
from gristlm.runs.rows import read_rows

REASON = "contaminated"
_SHOWN = 200  # characters of a passage


@dataclasses.dataclass(frozen=True)
class EvaluationSets:
    """The texts of all sets."""

    texts: list[str]
    files: list[str]
    """The file of each text."""
    places: list[str]
    """Where each text stands: file and row."""
    ngram: int
    too_short: int
    """Texts of fewer than `ngram` words, which cannot be found."""


@dataclasses.dataclass(frozen=True)
class Hit:
    """A document that shares words with evaluation sets."""

    index: int
    """Of the document, in the list that was looked through."""
    overlap: float
    """The share of its words in passages that a set has too."""
    files: list[str]
    """The sets."""
    detail: str
    """Where the first one stands, and the passage."""


def load(files: Sequence[str], ngram: int) -> EvaluationSets:
    """Returns the sets in files, read once as long as those do not change.

    Raises:
        InputError: a file is not there.
        FormatError: a file is not what its name says; names it and the row.
    """
    stamps = []
    for file in files:
        try:
            stat = Path(file).stat()
        except OSError as error:
            raise InputError(f"evaluation_sets: {file}: {error.strerror}") from error
        stamps.append((file, stat.st_size, stat.st_mtime_ns))
    return _load(tuple(stamps), ngram)


@functools.lru_cache(maxsize=1)
def _load(stamps: tuple[tuple[str, int, int], ...], ngram: int) -> EvaluationSets:
    texts, files, places = [], [], []
    for file, _, _ in stamps:
        for place, row in read_rows(Path(file)):
            texts.append("\n".join(_strings(row)).encode("utf-8", "replace").decode())
            files.append(file)
            places.append(place)
    short = len(dedup.contamination([], texts, ngram=ngram).too_short)
    return EvaluationSets(texts, files, places, ngram, short)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def find(texts: Sequence[str], sets: EvaluationSets, num_threads: int | None) -> list[Hit]:
    """Returns those of `texts` that share a run of words with a set, in order."""
    found = dedup.contamination(list(texts), sets.texts, ngram=sets.ngram, num_threads=num_threads)
    hits = []
    for index in np.flatnonzero(found.contaminated).tolist():
        rows = found.hits[np.searchsorted(found.hits[:, 0], index) : np.searchsorted(found.hits[:, 0], index + 1)]
        against = list(dict.fromkeys(rows[:, 3].tolist()))
        passage = texts[index].encode()[rows[0, 1] : rows[0, 2]].decode("utf-8", "replace")
        shown = " ".join(passage.split())[:_SHOWN]
        more = f" (and {len(against) - 1} more rows)" if len(against) > 1 else ""
        hits.append(
            Hit(
                index,
                float(found.overlap[index]),
                list(dict.fromkeys(sets.files[each] for each in against)),
                f"{sets.places[against[0]]}{more}: {shown}",
            )
        )
    return hits
