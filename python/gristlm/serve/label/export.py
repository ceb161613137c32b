"""Votes as JSONL: preferences for training, or every vote for analysis.

A preference row is `{"prompt", "chosen", "rejected"}` as messages, which `finetune` and `rlhf` read at once, with what
is known of its origin beside it. A vote with a strength has a `margin` for reward models (Touvron et al. 2023, Llama 2,
eq. 2): a fifth of the strength, so 0.2 to 1, the range of their smaller margins. Ties, both-bad and skips prefer
nothing, so they are in `all_votes` only. A ranking is a row for each two of its answers of which one is better (Ouyang
et al. 2022, InstructGPT, section 3.5), a rating is a row of `ratings`. Of a vote with a correction another row prefers
the correction to the better answer (to the left one where neither is better): what an annotator wrote is the best that
is known. Gold questions are left out: their answers were known before. With an overlap, each annotator's vote is a row
of its own: where people disagree, the rows say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from gristlm.errors import missing_extra
from gristlm.runs.files import atomic_path
from gristlm.serve.label.comparisons import comparisons
from gristlm.serve.label.pairs import Messages, Pair
from gristlm.serve.label.project import Project, Vote

NEITHER = 3
"""The rating that is neither good nor bad."""
Row = dict[str, object]
Kind = Literal["preferences", "ratings", "votes"]


def preferences(project: Project, annotator: str | None = None) -> list[Row]:
    """Returns a row for each vote that prefers an answer; of one annotator without the models' names."""
    pairs = project.pairs()
    rows: list[Row] = []
    for vote in project.votes(annotator):
        pair = pairs[vote.pair]
        if pair.gold is not None:
            continue
        origin: Row = {"reason": vote.reason, "annotator": vote.annotator, "pair": vote.pair}
        if vote.correction and vote.preferred != "skip":
            better = _better(vote, pair)
            said = [{"role": "assistant", "content": vote.correction}]
            if said != better:
                rows.append({"prompt": pair.prompt, "chosen": said, "rejected": better, "correction": True} | origin)
        for first, second, preferred in comparisons(vote):
            if preferred not in ("a", "b"):
                continue
            chosen, rejected = pair.answers[first], pair.answers[second]
            if preferred == "b":
                chosen, rejected = rejected, chosen
            row: Row = {"prompt": pair.prompt, "chosen": chosen[0], "rejected": rejected[0]}
            if vote.strength is not None:
                row |= {"margin": vote.strength / 5, "strength": vote.strength}
            names = {preferred: "chosen", "b" if preferred == "a" else "a": "rejected"}
            aspects = {aspect: names.get(side, side) for aspect, side in vote.aspects.items()}
            row |= origin | {"aspects": aspects, "seconds": vote.seconds}
            if pair.kind == "pair":
                row["chosen_side"] = "left" if vote.left_answer == preferred else "right"
            else:
                row["ranks"] = [
                    min(vote.ranks[i] for i in (first, second)),
                    max(vote.ranks[i] for i in (first, second)),
                ]
            if annotator is None:
                row |= {"chosen_model": chosen[1], "rejected_model": rejected[1]}
            rows.append(row)
    return rows


def _better(vote: Vote, pair: Pair) -> Messages:
    """Returns the better answer of a vote, the left one where neither is."""
    if vote.preferred == "ranked":
        return pair.answers[vote.ranks.index(min(vote.ranks))][0]
    return pair.b if vote.preferred == "b" or (vote.preferred != "a" and vote.left_answer == "b") else pair.a


def ratings(project: Project, annotator: str | None = None) -> list[Row]:
    """Returns a row for each rating that says good (4, 5) or bad (1, 2): `{"prompt", "completion", "label"}` for KTO.

    A 3 is neither, and in `all_votes` only.
    """
    pairs = project.pairs()
    rows: list[Row] = []
    for vote in project.votes(annotator):
        if vote.rating is None or vote.rating == NEITHER:
            continue
        pair = pairs[vote.pair]
        row: Row = {"prompt": pair.prompt, "completion": pair.a, "label": vote.rating > NEITHER, "rating": vote.rating}
        row |= {"reason": vote.reason, "annotator": vote.annotator, "pair": vote.pair, "seconds": vote.seconds}
        rows.append(row | ({"model": pair.model_a} if annotator is None else {}))
    return rows


def all_votes(project: Project, annotator: str | None = None) -> list[Row]:
    """Returns a row for each active vote: `vote` is "a", "b", "tie", "both_bad", "skip", "ranked" or "rated"."""
    pairs = project.pairs()
    rows: list[Row] = []
    for vote in project.votes(annotator):
        pair = pairs[vote.pair]
        row: Row = {"prompt": pair.prompt, "vote": vote.preferred}
        if pair.kind == "pair":
            row |= {"a": pair.a, "b": pair.b, "left": vote.left_answer}
        elif pair.kind == "ranking":
            row |= {"answers": [text for text, _ in pair.answers]}
            row |= {"ranks": vote.ranks, "shown_order": vote.shown_order}
        else:
            row |= {"answer": pair.a, "rating": vote.rating}
        row |= {"strength": vote.strength, "reason": vote.reason, "annotator": vote.annotator, "pair": vote.pair}
        row |= {"seconds": vote.seconds, "voted_at": vote.voted_at, "gold": pair.gold}
        row |= {"aspects": dict(vote.aspects), "correction": vote.correction}
        if annotator is None and pair.kind == "pair":
            row |= {"model_a": pair.model_a, "model_b": pair.model_b}
        elif annotator is None:
            row |= {"models": [model for _, model in pair.answers]}
        rows.append(row)
    return rows


ROWS: Mapping[Kind, Callable[[Project, str | None], list[Row]]] = {
    "preferences": preferences,
    "ratings": ratings,
    "votes": all_votes,
}
"""What can be exported."""


def to_jsonl(rows: list[Row]) -> str:
    """Returns one JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def to_parquet(rows: list[Row], file: Path) -> None:
    """Writes rows as Parquet; `aspects` is JSON there.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [{**dict.fromkeys(names), **row, "aspects": json.dumps(row.get("aspects") or {})} for row in rows]
    with atomic_path(file) as temporary:
        pq.write_table(pa.Table.from_pylist(columns), temporary)
