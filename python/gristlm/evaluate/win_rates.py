"""Win rates between checkpoints: each against the first, on the same prompts, by a reward model, a judge, or votes.

A reward model prefers the answer with the higher score, a judge is asked in both orders, votes are those of an export
(`gristlm label PROJECT --export FILE --all-votes`). A reward model that a checkpoint was trained on is no fair judge.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gristlm.errors import FormatError
from gristlm.evaluate import asking, conversations
from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.length_control import Cases, win_rate
from gristlm.evaluate.rows import messages, read
from gristlm.evaluate.suites import rows_file
from gristlm.runs.files import write_atomic
from gristlm.runs.rows import Row
from gristlm.training.chat_prompt import Message
from gristlm.verify.judge import Judge

Score = Callable[[Sequence[Sequence[Message]], Sequence[str]], NDArray[np.floating]]
"""Conversations and an answer to each: a number for each, higher is better."""
ANSWERS = "answers"
_VOTES = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
Prompts = list[list[dict[str, str]]]


def prompts_of(config: EvaluateConfig, inputs: Mapping[str, Path]) -> Prompts:
    """Returns the prompts to compare on: of the input "prompts", else the held-out ones of "conversations".

    Raises:
        FormatError: the file is missing, empty or malformed; names it and the row.
    """
    if "prompts" in inputs:
        return read(inputs["prompts"], messages, most=config.max_suite_rows, seed=config.seed)
    if "conversations" in inputs:
        held_out = conversations.prompts(inputs["conversations"], config)
        return [[dict(message) for message in prompt.prompt] for prompt in held_out]
    return []


def answer(
    checkpoint: Checkpoint, name: str, prompts: Prompts, config: EvaluateConfig, output_dir: Path, device: torch.device
) -> None:
    """Writes a checkpoint's answers to `<name>.answers.jsonl`: the prompt, as it was rendered, and the answer."""
    asked = asking.answers(checkpoint, prompts, config, device)
    rows = [
        {"prompt": prompt, "rendered": rendered, "response": given.text, "finished": given.finished}
        for prompt, rendered, given in zip(prompts, asked.rendered, asked.answers, strict=True)
    ]
    _write(rows_file(output_dir, name, ANSWERS), rows)


def compare(
    config: EvaluateConfig, output_dir: Path, score: Score | None, votes: Path | None, *, answered: bool
) -> list[dict[str, object]]:
    """Returns the win rates that can be told; writes each comparison's rows to `<name>.against.<first>.<by>.jsonl`.

    Args:
        config: names the checkpoints, the first of which the others are compared with, and the judge.
        output_dir: has the answers of each.
        score: the reward model.
        votes: an export of all votes.
        answered: whether there are answers.

    Raises:
        TrainingError: the judge gives no reply, or its budget is spent.
        FormatError: the votes are malformed.
    """
    found: list[dict[str, object]] = []
    first, *others = config.checkpoints
    judge = None if config.judge is None else Judge(config.judge, output_dir)
    base = _read(rows_file(output_dir, first, ANSWERS)) if answered else []
    for name in others if answered else ():
        rows = _read(rows_file(output_dir, name, ANSWERS))
        prompts = [row["prompt"] for row in rows]
        mine, theirs = ([row["response"] for row in side] for side in (rows, base))
        kinds: dict[str, list[float]] = {}
        scores: tuple[NDArray[np.floating], ...] = ()
        if score is not None:
            scores = (score(prompts, mine), score(prompts, theirs))
            kinds["reward_model"] = ((np.sign(scores[0] - scores[1]) + 1) / 2).tolist()
        if judge is not None:
            kinds["judge"] = judge.prefer(prompts, mine, theirs).tolist()
        same = [row["rendered"] for row in rows] == [row["rendered"] for row in base]
        for by, preferences in kinds.items():
            cases = Cases(preferences, [len(text) for text in mine], [len(text) for text in theirs])
            figures = win_rate(cases, seed=config.seed) | {"same_prompts": same}
            found.append({"of": name, "against": first, "by": by} | figures)
            kept = [
                {"prompt": prompt, "first": a, "second": b, "preference": preference}
                for prompt, a, b, preference in zip(prompts, mine, theirs, preferences, strict=True)
            ]
            for row, *each in zip(kept, *(scores if by == "reward_model" else ()), strict=True):
                row |= {"scores": [float(value) for value in each]} if each else {}
            _write(output_dir / f"{name}.against.{first}.{by}.jsonl", kept)
    return [*found, *(by_votes(votes, seed=config.seed) if votes is not None else [])]


def by_votes(path: Path, *, seed: int) -> list[dict[str, object]]:
    """Returns the win rates of an export of all votes, one for each two models, in the order of their names.

    Skips count for nothing, ties and "both bad" for a half. Several votes on one pair are drawn together. Rankings,
    ratings, gold questions and pairs without the models' names are passed over.

    Raises:
        FormatError: the file is missing or malformed, or no vote compares two named models.
    """
    cases: dict[tuple[str, str], list[tuple[float, int, int, str]]] = collections.defaultdict(list)
    for vote in read(path, _vote, most=None, seed=seed):
        if vote is not None:
            models, case = vote
            cases[models].append(case)
    if not cases:
        raise FormatError(
            f"{path}: no vote compares the answers of two named models; write it with: "
            "gristlm label PROJECT --export FILE --all-votes"
        )
    found = []
    for (first, second), given in sorted(cases.items()):
        preferences, lengths, others, units = zip(*given, strict=True)
        figures = win_rate(Cases(preferences, lengths, others, units), seed=seed)
        found.append({"of": first, "against": second, "by": "votes"} | figures)
    return found


def _vote(row: Row) -> tuple[tuple[str, str], tuple[float, int, int, str]] | None:
    """Returns the two models, and how far the answer of the first by name was preferred, both lengths, the pair."""
    kind = row["vote"]
    names = (row.get("model_a"), row.get("model_b"))
    if kind not in _VOTES or row.get("gold") is not None or names[0] == names[1] or not all(names):
        return None
    preference = _VOTES[str(kind)]
    lengths = [sum(len(message["content"]) for message in messages(row, side)) for side in ("a", "b")]
    unit = str(row.get("pair"))
    a, b = str(names[0]), str(names[1])
    if a > b:
        return (b, a), (1 - preference, lengths[1], lengths[0], unit)
    return (a, b), (preference, lengths[0], lengths[1], unit)


def _write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
