"""How well the small harm classifier does on the published moderation samples: five folds, each text judged unseen.

python bench/harm.py [--data samples-1680.jsonl.gz] [--save harm.npz]
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np

from gristlm.evaluate.intervals import rate
from gristlm.verify.calibration import calibration
from gristlm.verify.harm import HarmModel

LABELS = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")
FOLDS = 5


def main() -> None:
    """Prints accuracy with its interval, precision, recall, the area under the curve and the calibration."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(__file__).parents[2] / "shared/data/post/openai_moderation/samples-1680.jsonl.gz"
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    with gzip.open(given.data, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts = [row["prompt"] for row in rows]
    harmful = np.array([any(row.get(label) == 1 for label in LABELS) for row in rows])
    groups = {text: place for place, text in enumerate(dict.fromkeys(texts))}  # a text and its twin in one fold
    fold = np.random.default_rng(0).integers(FOLDS, size=len(groups))[[groups[text] for text in texts]]
    scores = np.zeros(len(texts))
    for number in range(FOLDS):
        learned, unseen = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        model = HarmModel.train([texts[i] for i in learned], [bool(harmful[i]) for i in learned])
        scores[unseen] = model.score([texts[i] for i in unseen])
    said = scores > 0.5
    right = said == harmful
    ranks = scores.argsort().argsort() + 1
    positives = int(harmful.sum())
    area = (ranks[harmful].sum() - positives * (positives + 1) / 2) / (positives * (len(texts) - positives))
    accuracy = rate(int(right.sum()), len(right))
    print(f"{len(texts)} texts, {positives} harmful ({positives / len(texts):.1%}); {FOLDS} folds")
    always = 1 - positives / len(texts)
    print(
        f"accuracy {accuracy.value:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f}), by always 'harmless' {always:.3f}"
    )
    print(f"precision {harmful[said].mean():.3f}, recall {said[harmful].mean():.3f}, area under the curve {area:.3f}")
    sure = calibration(np.maximum(scores, 1 - scores).tolist(), right.tolist())
    print(f"expected calibration error {sure['ece']:.3f}")
    if given.save is not None:
        HarmModel.train(texts, harmful.tolist()).save(given.save)
        print(f"wrote {given.save}, trained on all of them")


if __name__ == "__main__":
    main()
