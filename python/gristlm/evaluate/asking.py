"""Prompts of a benchmark, as one checkpoint is asked them: the same text for every checkpoint that has a chat format.

A checkpoint without one gets the last message as plain text and a line end; its rows say so in what was rendered.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

import torch

from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.generation import Answer, cut
from gristlm.evaluate.scoring import Continuation, fit, score
from gristlm.training.chat_prompt import Message


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a suite found: its figures (JSON-able), and a row for each case, with the rendered prompt and its score."""

    figures: dict[str, object]
    rows: list[dict[str, object]]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Prompts as rendered, the answer to each, and how many prompts lost their beginning for want of room."""

    rendered: list[str]
    answers: list[Answer]
    truncated: int


def ids_of(checkpoint: Checkpoint, prompt: Sequence[Message]) -> list[int]:
    """Returns the ids of a prompt up to where the answer begins."""
    if checkpoint.can_chat:
        return checkpoint.prompt(prompt)
    return [checkpoint.document_start, *checkpoint.tokenizer.encode(prompt[-1]["content"] + "\n")]


def rendered(checkpoint: Checkpoint, ids: Sequence[int]) -> str:
    """Returns the text of ids as the model sees it, special tokens included."""
    return checkpoint.tokenizer.decode(list(ids))


def answers(
    checkpoint: Checkpoint, prompts: Sequence[Sequence[Message]], config: EvaluateConfig, device: torch.device
) -> Asked:
    """Returns one answer to each prompt.

    A prompt that leaves no room loses its beginning. Each has the seed `config.seed` + its place, whatever else is
    in the batch.
    """
    longest = min(config.suite_max_new_tokens, max(1, checkpoint.max_seq_len // 2))
    room = checkpoint.max_seq_len - longest
    whole = [ids_of(checkpoint, prompt) for prompt in prompts]
    ids = [each[-room:] for each in whole]
    with torch.inference_mode():
        completions = checkpoint.model.generate(
            ids,
            max_new_tokens=longest,
            temperature=config.temperature,
            stop=sorted(checkpoint.stops),
            seed=[config.seed + place for place in range(len(ids))],
        )
    given = [cut(checkpoint, list(row[0].tokens), row[0].finish_reason) for row in completions]
    return Asked([rendered(checkpoint, each) for each in ids], given, sum(len(each) > room for each in whole))


def logprobs(
    checkpoint: Checkpoint,
    rows: Sequence[tuple[Sequence[int], Sequence[int]]],
    config: EvaluateConfig,
    device: torch.device,
) -> list[float]:
    """Returns log p(continuation | context) in nats, summed over tokens, for pairs of ids."""
    fitted: list[Continuation] = [fit(context, answer, checkpoint.max_seq_len) for context, answer in rows]
    found = score(checkpoint.model, fitted, batch_tokens=config.batch_tokens, device=device)
    return [float(values.sum()) for values in found]


def fingerprint(rendered: Sequence[str]) -> str:
    """Returns a hash of all prompts as rendered: equal for two checkpoints that were asked the same."""
    return hashlib.sha256(json.dumps(list(rendered)).encode()).hexdigest()[:16]


def figures(rendered: Sequence[str], estimates: Mapping[str, object], **more: object) -> dict[str, object]:
    """Returns a suite's figures as they are stored."""
    return {"cases": len(rendered), "prompts": fingerprint(rendered), **estimates, **more}
