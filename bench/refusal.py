"""How far the refusal matcher agrees with people.

    python bench/refusal.py [--data harmless-base-test.jsonl.gz]
    python bench/refusal.py --labelled xstest_v2_completions_*.csv

HH-RLHF's harmlessness test split has no label "refusal"; what can be told is whether refusals are found more often in
the answers that people preferred. XSTest's published completions (CSV: completion, final_label, which begins with 1 for
compliance, 2 for a full and 3 for a partial refusal) tell it outright.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from gristlm.evaluate import is_refusal
from gristlm.evaluate.intervals import rate

LAST = "\n\nAssistant:"


def main() -> None:
    """Prints the figures of one or the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).parents[2] / "shared/data/post/hh-rlhf/harmless-base-test.jsonl.gz"
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--labelled", type=Path, nargs="+", help="files of answers with labels")
    given = parser.parse_args()
    if given.labelled:
        agreement(given.labelled)
    else:
        preferred(given.data)


def agreement(files: Sequence[Path]) -> None:
    """Prints how often matcher and label agree, and how often each says refusal where the other does."""
    rows = list[tuple[bool, str]]()
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            rows += [(is_refusal(row["completion"]), row["final_label"]) for row in csv.DictReader(file)]
    for name, labels in (("full", "2"), ("full or partial", "23")):
        pairs = [(found, label[:1] in labels) for found, label in rows]
        both = sum(found and meant for found, meant in pairs)
        for what, hits, of in (
            ("agree", sum(found == meant for found, meant in pairs), len(pairs)),
            ("of those found are refusals", both, sum(found for found, _ in pairs)),
            ("of the refusals are found", both, sum(meant for _, meant in pairs)),
        ):
            share = rate(hits, of)
            print(f"{name} refusals: {share.value:.1%} {what} ({share.low:.1%} to {share.high:.1%}), n = {of:,}")


def preferred(path: Path) -> None:
    """Prints the shares of refusals found, and how often the one answer of a pair with a refusal is the preferred."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    found = [[is_refusal(row[side].rpartition(LAST)[2].strip()) for side in ("chosen", "rejected")] for row in rows]
    for name, flags in zip(("preferred", "other"), zip(*found, strict=True), strict=True):
        share = rate(sum(flags), len(flags))
        print(f"{name} answers: {share.value:.1%} refusals ({share.low:.1%} to {share.high:.1%}), n = {len(flags):,}")
    alone = [chosen for chosen, rejected in found if chosen != rejected]
    share = rate(sum(alone), len(alone))
    print(f"refusal in one answer of a pair alone: it is the preferred in {share.value:.1%}", end=" ")
    print(f"({share.low:.1%} to {share.high:.1%}), n = {len(alone):,}")


if __name__ == "__main__":
    main()
