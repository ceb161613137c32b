"""Where the refusal matcher finds refusals in HH-RLHF's harmlessness test split, whose pairs people judged.

The data have no label "refusal"; what can be told is whether refusals are found more often in the answers that people
preferred.

python bench/refusal.py [--data harmless-base-test.jsonl.gz]
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from gristlm.evaluate import is_refusal
from gristlm.evaluate.intervals import rate

LAST = "\n\nAssistant:"


def main() -> None:
    """Prints the shares of refusals found, and how often the one answer of a pair with a refusal is the preferred."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).parents[2] / "shared/data/post/hh-rlhf/harmless-base-test.jsonl.gz"
    parser.add_argument("--data", type=Path, default=shared)
    given = parser.parse_args()
    with gzip.open(given.data, "rt", encoding="utf-8") as file:
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
