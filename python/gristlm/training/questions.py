"""Cloze and multiple-choice rows of a local file, answered while a model is trained.

    {"context": "The capital of France is", "answer": " Paris"}                               cloze
    {"context": "The sky is", "choices": [" blue", " loud"], "answer": 0}                     multiple choice

1. A cloze row is right when each token of the answer is the most likely one (LAMBADA, arXiv 1606.06031).
2. A choice is right when its tokens have the highest log-probability per byte among the choices (the accuracy that
   published tables call normalised).

Shapes: B rows, T tokens of the longest, V ids.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from gristlm.errors import FormatError, MissingArtifactError
from gristlm.model import Model
from gristlm.training import device

MAX_ROWS = 10_000
BATCH_ROWS = 16


class Encoder(Protocol):
    """The part of `gristlm.Tokenizer` that this needs."""

    def encode(self, text: str, /) -> list[int]:
        """Returns the token ids of a text."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to go on: token ids of which those from `start` on are the continuation, `size` bytes."""

    ids: list[int]
    start: int
    size: int


class Questions:
    """The rows of a file, encoded.

    Args:
        cloze: the answer of each cloze row.
        choices: the candidates of each multiple-choice row, and which is right.
    """

    def __init__(self, cloze: Sequence[Candidate], choices: Sequence[tuple[list[Candidate], int]]) -> None:
        self._cloze, self._choices = cloze, choices

    @classmethod
    def read(cls, path: Path | None, tokenizer: Encoder, max_seq_len: int) -> Questions:
        """Returns the questions in `path`; none without a path.

        Raises:
            MissingArtifactError: there is no such file.
            FormatError: a line is no question; names the file, the line and the key.
        """
        if path is None:
            return cls((), ())
        if not path.is_file():
            raise MissingArtifactError(f"questions is {str(path)!r}; there is no such file")
        cloze: list[Candidate] = []
        choices: list[tuple[list[Candidate], int]] = []
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if number > MAX_ROWS:
                    raise FormatError(f"{path} has more than {MAX_ROWS:,} lines; give fewer")
                try:
                    context, candidates, right = _question(json.loads(line))
                    encoded = [_candidate(tokenizer, context, text, max_seq_len) for text in candidates]
                except (ValueError, KeyError, TypeError) as error:
                    raise FormatError(f"{path}, line {number}: {error}") from error
                if right is None:
                    cloze += encoded
                else:
                    choices.append((encoded, right))
        return cls(cloze, choices)

    @torch.no_grad()
    def measure(self, model: Model) -> dict[str, float]:
        """Returns `cloze_accuracy` and `choice_accuracy`, each where there are such rows."""
        figures = {}
        if self._cloze:
            right = sum(exact for _, exact in _score(model, self._cloze))
            figures["cloze_accuracy"] = right / len(self._cloze)
        if self._choices:
            flat = [candidate for candidates, _ in self._choices for candidate in candidates]
            scores = iter(_score(model, flat))
            right = 0
            for candidates, answer in self._choices:
                found = [next(scores)[0] / candidate.size for candidate in candidates]
                right += found.index(max(found)) == answer
            figures["choice_accuracy"] = right / len(self._choices)
        return figures


def _question(row: object) -> tuple[str, list[str], int | None]:
    if not isinstance(row, dict) or not isinstance(row.get("context"), str) or not row["context"]:
        raise ValueError("a question is an object with a `context`, a text that is not empty")
    answer = row.get("answer")
    if "choices" not in row:
        if not isinstance(answer, str) or not answer:
            raise ValueError(f"answer is {answer!r}; without `choices` it is a text that is not empty")
        return row["context"], [answer], None
    choices = row["choices"]
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(text, str) and text for text in choices):
        raise ValueError("`choices` is a list of two or more texts that are not empty")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise ValueError(f"answer is {answer!r}; it is the number of the right choice, 0 to {len(choices) - 1}")
    return row["context"], choices, answer


def _candidate(tokenizer: Encoder, context: str, text: str, max_seq_len: int) -> Candidate:
    before, after = tokenizer.encode(context), tokenizer.encode(text)
    if not before or not after or len(after) >= max_seq_len:
        raise ValueError(f"context and answer are {len(before)} and {len(after)} tokens; a row holds {max_seq_len}")
    before = before[-(max_seq_len - len(after)) :]
    return Candidate([*before, *after], len(before), len(text.encode()))


def _score(model: Model, rows: Sequence[Candidate]) -> list[tuple[float, bool]]:
    """Returns each continuation's log-probability (nats), and whether all its tokens are the most likely ones."""
    results: list[tuple[float, bool]] = []
    for begin in range(0, len(rows), BATCH_ROWS):
        part = rows[begin : begin + BATCH_ROWS]
        ids_BT = torch.zeros((len(part), max(len(row.ids) for row in part)), dtype=torch.int64)
        for place, row in enumerate(part):
            ids_BT[place, : len(row.ids)] = torch.tensor(row.ids)
        with device.autocast(model.device):
            logits_BTV = model(ids_BT.to(model.device))
        for place, row in enumerate(part):
            logprobs = logits_BTV[place, row.start - 1 : len(row.ids) - 1].float().log_softmax(-1)
            wanted = torch.tensor(row.ids[row.start :], device=logprobs.device)
            total = float(logprobs.gather(1, wanted[:, None]).double().sum())
            results.append((total, bool((logprobs.argmax(-1) == wanted).all())))
    return results
