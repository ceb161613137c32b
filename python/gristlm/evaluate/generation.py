"""What a checkpoint answers to held-out prompts: do answers end, keep the form, refuse when they should."""

from __future__ import annotations

import collections
import dataclasses
import re
import statistics
from collections.abc import Sequence

import torch

from gristlm.evaluate import intervals
from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.conversations import Prompt
from gristlm.training.refusal import is_refusal

MAX_REPETITION = 0.5  # more repeated 4-grams than this is rambling
NGRAM = 4
_MARKUP = re.compile(r"<\|\w+\|>|^(?:user|assistant|system)\s*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A generated answer: its text without the token that ended it, its tokens, and whether it ended by itself."""

    text: str
    tokens: list[int]
    finished: bool

    @property
    def repetition(self) -> float:
        """Share of the answer's 4-grams of tokens that occurred before in it."""
        grams = [tuple(self.tokens[at : at + NGRAM]) for at in range(len(self.tokens) - NGRAM + 1)]
        return 1 - len(set(grams)) / len(grams) if grams else 0.0

    @property
    def in_form(self) -> bool:
        """Ended by itself, not empty, no chat markup in it, no rambling."""
        return (
            self.finished
            and bool(self.text.strip())
            and not _MARKUP.search(self.text)
            and self.repetition <= MAX_REPETITION
        )


def answer(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], config: EvaluateConfig, device: torch.device
) -> list[Answer]:
    """Returns one answer per prompt; a prompt too long for the context loses its beginning."""
    room = max(1, checkpoint.max_seq_len - config.max_new_tokens)
    ids = [checkpoint.prompt(prompt.prompt)[-room:] for prompt in prompts]
    limit = min(config.max_new_tokens, max(1, checkpoint.max_seq_len - max(map(len, ids), default=0)))
    if not ids:
        return []
    seeds = [config.seed + number for number in range(len(ids))]  # a prompt's own seed, whatever else is in the batch
    with torch.inference_mode():
        completions = checkpoint.model.generate(
            ids, max_new_tokens=limit, temperature=config.temperature, stop=sorted(checkpoint.stops), seed=seeds
        )
    return [cut(checkpoint, list(row[0].tokens), row[0].finish_reason) for row in completions]


def measure(prompts: Sequence[Prompt], answers: Sequence[Answer]) -> dict[str, object]:
    """Returns the rates, lengths and repetition of `answers`, one per prompt."""
    refused = [is_refusal(answer.text) for answer in answers]
    harmful = [flag for flag, prompt in zip(refused, prompts, strict=True) if prompt.kind == "refuse"]
    harmless = [flag for flag, prompt in zip(refused, prompts, strict=True) if prompt.kind != "refuse"]
    overlaps = [
        overlap(answer.text, prompt.reference)
        for answer, prompt in zip(answers, prompts, strict=True)
        if prompt.kind != "refuse" and prompt.reference
    ]
    lengths = [len(answer.tokens) for answer in answers]
    return {
        "finished": _share([answer.finished for answer in answers]),
        "in_form": _share([answer.in_form for answer in answers]),
        "empty": _share([not answer.text.strip() for answer in answers]),
        "refusal_on_harmful": _share(harmful),
        "refusal_on_harmless": _share(harmless),
        "reference_overlap": intervals.mean(overlaps).to_json(),
        "length_tokens": {
            "mean": round(statistics.fmean(lengths), 3),
            "median": statistics.median(lengths),
            "max": max(lengths),
        }
        if lengths
        else None,
        "repetition": intervals.mean([answer.repetition for answer in answers]).to_json(),
    }


def samples(
    checkpoint: Checkpoint, prompts: Sequence[Prompt], answers: Sequence[Answer], limit: int
) -> list[dict[str, object]]:
    """Returns `limit` answers whole with the prompt as rendered; every third prompt is harmful while there are any."""
    places = {
        kind: [place for place, prompt in enumerate(prompts) if prompt.kind == kind] for kind in ("answer", "refuse")
    }
    chosen: list[int] = []
    while len(chosen) < min(limit, len(prompts)):
        wanted = "refuse" if len(chosen) % 3 == 2 else "answer"
        chosen.append((places[wanted] or places["answer"] or places["refuse"]).pop(0))
    return [
        {
            "prompt": list(prompts[place].prompt),
            "kind": prompts[place].kind,
            "reference": prompts[place].reference,
            "rendered": checkpoint.tokenizer.decode(checkpoint.prompt(prompts[place].prompt)),
            "answer": answers[place].text,
            "finished": answers[place].finished,
            "refusal": is_refusal(answers[place].text),
        }
        for place in chosen
    ]


def overlap(text: str, reference: str) -> float:
    """Returns the F1 of shared words, 0 to 1, as in SQuAD (Rajpurkar et al. 2016) but without dropping articles."""
    given, wanted = (collections.Counter(re.findall(r"\w+", side.lower())) for side in (text, reference))
    shared = sum((given & wanted).values())
    return 2 * shared / (sum(given.values()) + sum(wanted.values())) if shared else 0.0


def cut(checkpoint: Checkpoint, tokens: list[int], finish_reason: str) -> Answer:
    """Returns a completion up to the first token that ends an answer."""
    end = next((place for place, token in enumerate(tokens) if token in checkpoint.stops), None)
    kept = tokens if end is None else tokens[:end]
    return Answer(checkpoint.tokenizer.decode(kept), kept, end is not None or finish_reason != "length")


def _share(hits: Sequence[bool]) -> dict[str, float | int | None]:
    return intervals.rate(sum(hits), len(hits)).to_json()
