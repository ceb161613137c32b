"""A model that tells good text from bad, from two folders (or files): `gristlm collect train-quality GOOD BAD`.

The texts are read and cleaned as `collect` reads and cleans prose, so that the model sees what it will judge. Every
tenth text or so, chosen by a hash of its content, is held out, and what the model makes of those is what is reported.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np

from gristlm.cleaning import clean
from gristlm.cleaning_model import BAD, GOOD, QualityModel
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import NO_LANGUAGE, Document, Rows
from gristlm.collect.reader import Place, Reader
from gristlm.collect.sources import from_config
from gristlm.collect.split import position
from gristlm.errors import InputError
from gristlm.runs import progress

HELDOUT = 0.1
BATCH = 256


@dataclasses.dataclass(frozen=True)
class Trained:
    """What was learned from, and how the held-out texts were judged at a score of 0.5."""

    good: int
    """Texts learned from."""
    bad: int
    heldout_good: int
    heldout_bad: int
    good_right: int
    """Held-out good texts with a score of at least 0.5."""
    bad_right: int
    """Held-out bad texts with a score below it."""

    @property
    def accuracy(self) -> float:
        """Share of the held-out texts that were judged right; each side counts half, whatever its size."""
        sides = [(self.good_right, self.heldout_good), (self.bad_right, self.heldout_bad)]
        return float(np.mean([right / count for right, count in sides if count]))

    def __str__(self) -> str:
        """Returns it as a person reads it."""
        return (
            f"learned from {self.good:,} good and {self.bad:,} bad texts; of those held out, {self.good_right:,} of "
            f"{self.heldout_good:,} good and {self.bad_right:,} of {self.heldout_bad:,} bad were told: "
            f"accuracy {self.accuracy:.1%}"
        )


def train_quality(
    good: str, bad: str, output: Path, *, seed: int = 0, num_threads: int | None = None, text_column: str = "text"
) -> Trained:
    """Trains a model of the labels `good` and `bad` and writes it to `output`, a fastText `.bin`.

    The texts of both are held in memory. The same texts and seed give the same file, on any number of threads.

    Args:
        good: files, a folder, or anything else that `CollectConfig.sources` takes, of text to find more of.
        bad: the same, of text to be without.
        output: the file to write.
        seed: of the order of texts and the first weights.
        num_threads: to read with; training takes one.
        text_column: the column or key of rows that holds the text.

    Raises:
        InputError: one of the two does not exist, or has fewer than two texts.
    """
    settings = CollectConfig(num_threads=num_threads, text_column=text_column)
    seen = set[str]()
    sides = {}
    for label, name in ((GOOD, good), (BAD, bad)):
        texts = [
            text for text in _texts(settings.model_copy(update={"sources": [name]}), output.parent) if text not in seen
        ]
        texts = list(dict.fromkeys(texts))
        if len(texts) < 2:
            raise InputError(f"{name} has {len(texts)} texts (that are not also in the other); give at least two")
        seen.update(texts)
        places = np.array([position(text) for text in texts])
        held = places < HELDOUT
        held[places.argmin()], held[places.argmax()] = True, False  # neither side is empty
        sides[label] = [
            [text for text, out in zip(texts, held, strict=True) if out == wanted] for wanted in (False, True)
        ]
    (train_good, held_good), (train_bad, held_bad) = sides[GOOD], sides[BAD]
    size = 5 * sum(len(text.encode()) for text in (*train_good, *train_bad))
    with progress.bar("train", total=size, unit="B") as bar:
        model = QualityModel.train(train_good, train_bad, epochs=5, seed=seed, progress=bar.update)
    model.save(output)
    scores = [model.score(texts, num_threads=num_threads) for texts in (held_good, held_bad)]
    return Trained(
        len(train_good),
        len(train_bad),
        len(held_good),
        len(held_bad),
        int((scores[0] >= 0.5).sum()),
        int((scores[1] < 0.5).sum()),
    )


def _texts(config: CollectConfig, work: Path) -> list[str]:
    reader = Reader(
        from_config(config, work),
        Place(),
        limit=None,
        num_threads=config.num_threads,
        max_bytes=config.batch_bytes,
    )
    with contextlib.closing(reader.items()) as items:
        documents = (each for item in items for each in (item.documents() if isinstance(item, Rows) else (item,)))
        found = [each.text for each in documents if isinstance(each, Document) and each.language != NO_LANGUAGE]
    found = [text.encode("utf-8", "replace").decode() for text in found]
    return [text for text in clean(found, rules=config.rules, num_threads=config.num_threads).texts if text.strip()]
