"""A model-based score of quality: linear classifiers over words and word n-grams, in fastText's file format.

`QualityModel.load` reads any supervised fastText model (`.bin`, or quantised `.ftz`); `QualityModel.train` makes one
from good and bad texts; `score` tells how sure it is of a label. numpy is all it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gristlm import _core
from gristlm.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gristlm._core import _Texts

__all__ = ["QualityModel"]

PREFIX = "__label__"
GOOD, BAD = "good", "bad"


class QualityModel:
    """A classifier that tells how likely a text is of a label."""

    def __init__(self, classifier: _core.TextClassifier) -> None:
        """Takes a model of the core; use `load` or `train`."""
        self._classifier = classifier

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> QualityModel:
        """Reads a supervised fastText model, version 11 or 12.

        Raises:
            InputError: the file is no such model, or damaged; names it. Every size in the file is checked before
                memory is taken for it, so a hostile one costs no more memory than its own length.
        """
        return cls(_core.TextClassifier.load(path))

    @classmethod
    def train(
        cls,
        good: _Texts,
        bad: _Texts,
        *,
        dim: int = 16,
        epochs: int = 5,
        learning_rate: float = 0.5,
        word_ngrams: int = 2,
        buckets: int = 1 << 18,
        max_words: int = 200_000,
        seed: int = 0,
        progress: Callable[[int], object] | None = None,
    ) -> QualityModel:
        """Trains a model of two labels, `good` and `bad`; the same texts and seed give the same model, bit for bit.

        Args:
            good: texts to find more of.
            bad: texts to be without.
            dim: numbers per word.
            epochs: times that every text is looked at.
            learning_rate: of the first step; falls to 0 in a line.
            word_ngrams: longest run of words that is looked at.
            buckets: rows for runs of words; with `dim` this is the size of the model, 4 bytes each.
            max_words: most words known by themselves, the most frequent ones.
            seed: of the order of texts and the first weights.
            progress: called about twenty times a second with the bytes of text done so far, over all epochs.

        Raises:
            InputError: there is no text on one side, or a number is below 1.
        """
        sizes = {"dim": dim, "epochs": epochs, "word_ngrams": word_ngrams, "buckets": buckets, "max_words": max_words}
        for name, value in sizes.items():
            if not 1 <= value < 2**31:
                raise InputError(f"{name} is {value}; give a number from 1 to {2**31 - 1:,}")
        if not 0 < learning_rate <= 10:
            raise InputError(f"learning_rate is {learning_rate}; give a number above 0, such as 0.5")
        sides = [(PREFIX + GOOD, good), (PREFIX + BAD, bad)]
        for name, texts in sides:
            if not len(texts):  # type: ignore[arg-type]
                raise InputError(f"there is no {name.removeprefix(PREFIX)} text to learn from")
        how = (dim, epochs, learning_rate, word_ngrams, buckets, max_words, seed % 2**64)
        return cls(_core.TextClassifier.train(sides, how, progress))

    @property
    def labels(self) -> list[str]:
        """The labels, without fastText's `__label__`."""
        return [label.removeprefix(PREFIX) for label in self._classifier.labels]

    def score(
        self,
        texts: _Texts,
        *,
        label: str = GOOD,
        num_threads: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """Returns float32[N], the probability of `label` for each text; line ends in it are white space.

        Args:
            texts: N texts.
            label: one of `labels`, with or without `__label__`.
            num_threads: None for all cores. The result does not depend on it.
            progress: called about twenty times a second with the bytes of text done so far.

        Raises:
            InputError: the model has no such label.
        """
        name = label.removeprefix(PREFIX)
        if name not in self.labels:
            known = ", ".join(self.labels[:10]) + (", …" if len(self.labels) > 10 else "")
            raise InputError(f"label: the model has no {name!r}; it has {known}")
        return self._classifier.score(texts, self.labels.index(name), num_threads, progress)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model as a fastText `.bin`, under a temporary name first.

        Raises:
            InputError: it was read from a quantised file, which is not written again.
        """
        target = Path(path)
        torn = target.with_name(f".{target.name}.tmp")
        data = self._classifier.to_bytes()
        with torn.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        torn.replace(target)
