"""Votes as JSONL: preferences for training, or every vote for analysis.

A preference row is `{"prompt", "chosen", "rejected"}` as messages, which `finetune` and `rlhf` read at once, with what
is known of its origin beside it. A vote with a strength has a `margin` for reward models (Touvron et al. 2023, Llama 2,
eq. 2): a fifth of the strength, so 0.2 to 1, the range of their smaller margins. Ties, both-bad and skips prefer
nothing, so they are in `all_votes` only. Of a vote with a correction another row prefers the correction to the better
answer (to the left one where neither is better): what an annotator wrote is the best that is known. Gold questions are
left out: their answers were known before. With an overlap, each annotator's vote is a row of its own: where people
disagree, the rows say so.
"""

from __future__ import annotations

import json
from pathlib import Path

from gristlm.errors import missing_extra
from gristlm.runs.files import atomic_path
from gristlm.serve.label.project import Project

Row = dict[str, object]


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
            better = pair.b if vote.preferred == "b" or (vote.preferred != "a" and vote.left_answer == "b") else pair.a
            said = [{"role": "assistant", "content": vote.correction}]
            if said != better:
                rows.append({"prompt": pair.prompt, "chosen": said, "rejected": better, "correction": True} | origin)
        if vote.preferred not in ("a", "b"):
            continue
        answers = (pair.a, pair.b) if vote.preferred == "a" else (pair.b, pair.a)
        models = (pair.model_a, pair.model_b) if vote.preferred == "a" else (pair.model_b, pair.model_a)
        row: Row = {"prompt": pair.prompt, "chosen": answers[0], "rejected": answers[1]}
        if vote.strength is not None:
            row |= {"margin": vote.strength / 5, "strength": vote.strength}
        row |= origin | {"aspects": dict(vote.aspects)}
        row |= {"chosen_side": "left" if vote.left_answer == vote.preferred else "right", "seconds": vote.seconds}
        if annotator is None:
            row |= {"chosen_model": models[0], "rejected_model": models[1]}
        rows.append(row)
    return rows


def all_votes(project: Project, annotator: str | None = None) -> list[Row]:
    """Returns a row for each active vote: `vote` is "a", "b", "tie", "both_bad" or "skip"."""
    pairs = project.pairs()
    rows: list[Row] = []
    for vote in project.votes(annotator):
        pair = pairs[vote.pair]
        row: Row = {"prompt": pair.prompt, "a": pair.a, "b": pair.b, "vote": vote.preferred, "left": vote.left_answer}
        row |= {"strength": vote.strength, "reason": vote.reason, "annotator": vote.annotator, "pair": vote.pair}
        row |= {"seconds": vote.seconds, "voted_at": vote.voted_at, "gold": pair.gold}
        row |= {"aspects": dict(vote.aspects), "correction": vote.correction}
        if annotator is None:
            row |= {"model_a": pair.model_a, "model_b": pair.model_b}
        rows.append(row)
    return rows


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
