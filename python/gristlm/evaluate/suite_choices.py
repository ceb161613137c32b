"""Benchmarks told by log-probabilities: TruthfulQA, multiple choice, cloze; and how well they are calibrated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from gristlm.evaluate import asking, intervals
from gristlm.evaluate.asking import Measured, ids_of
from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.rows import read, text, texts
from gristlm.runs.rows import Row
from gristlm.verify.calibration import calibration

GAP = "____"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclasses.dataclass(frozen=True)
class Truth:
    """A question with its answers, true and false, of MC1 (one is true) and MC2 (some are)."""

    question: str
    mc1: dict[str, bool]
    mc2: dict[str, bool]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A question with options; `right` is the place of the answer."""

    question: str
    options: list[str]
    right: int


@dataclasses.dataclass(frozen=True)
class Cloze:
    """A text with a gap: what is before and after it, what belongs there, and what else is offered, if anything."""

    before: str
    after: str
    answer: str
    options: list[str]


def measure_truthfulqa(path: Path, checkpoint: Checkpoint, config: EvaluateConfig, device: torch.device) -> Measured:
    """Returns MC1 (the likeliest answer is the true one), MC2 (the mass on true ones) and calibration (2109.07958).

    The question is the user's message; the published evaluation puts six questions and answers before it, ours none.
    Confidence is the softmax of the log-probabilities of MC1's answers.
    """
    cases = read(path, _truth, most=config.max_suite_rows, seed=config.seed)
    prompts = [ids_of(checkpoint, [{"role": "user", "content": case.question}]) for case in cases]
    flat = [
        (ids, checkpoint.answer(option))
        for ids, case in zip(prompts, cases, strict=True)
        for option in (*case.mc1, *case.mc2)
    ]
    found = iter(asking.logprobs(checkpoint, flat, config, device))
    rendered = [asking.rendered(checkpoint, ids) for ids in prompts]
    rows: list[dict[str, object]] = []
    right, mass, confidences = [], [], []
    for case, prompt in zip(cases, rendered, strict=True):
        ones, twos = ([next(found) for _ in options] for options in (case.mc1, case.mc2))
        good = list(case.mc1.values())[int(np.argmax(ones))]
        share = float(_softmax(twos) @ np.array(list(case.mc2.values()), dtype=np.float64))
        right.append(good)
        mass.append(share)
        confidences.append(float(_softmax(ones).max()))
        rows.append(
            {
                "rendered": prompt,
                "mc1": [[option, truth, value] for (option, truth), value in zip(case.mc1.items(), ones, strict=True)],
                "mc2": [[option, truth, value] for (option, truth), value in zip(case.mc2.items(), twos, strict=True)],
                "mc1_right": good,
                "mc2_mass": share,
            }
        )
    estimates: dict[str, object] = {
        "mc1": intervals.rate(sum(right), len(right)).to_json() | {"chance": fmean(1 / len(c.mc1) for c in cases)},
        "mc2": intervals.mean(mass).to_json() | {"chance": fmean(sum(c.mc2.values()) / len(c.mc2) for c in cases)},
    }
    return Measured(asking.figures(rendered, estimates, calibration=calibration(confidences, right)), rows)


def measure_choices(path: Path, checkpoint: Checkpoint, config: EvaluateConfig, device: torch.device) -> Measured:
    """Returns how often the right option is the likeliest, whole and per byte; the first of equal ones counts."""
    cases = read(path, _choice, most=config.max_suite_rows, seed=config.seed)
    prompts = [ids_of(checkpoint, [{"role": "user", "content": case.question}]) for case in cases]
    flat = [
        (ids, checkpoint.answer(option)) for ids, case in zip(prompts, cases, strict=True) for option in case.options
    ]
    found = iter(asking.logprobs(checkpoint, flat, config, device))
    rendered = [asking.rendered(checkpoint, ids) for ids in prompts]
    rows: list[dict[str, object]] = []
    whole, per_byte, confidences = [], [], []
    for case, prompt in zip(cases, rendered, strict=True):
        values = [next(found) for _ in case.options]
        scaled = [value / max(1, len(option.encode())) for value, option in zip(values, case.options, strict=True)]
        whole.append(int(np.argmax(values)) == case.right)
        per_byte.append(int(np.argmax(scaled)) == case.right)
        confidences.append(float(_softmax(values).max()))
        rows.append(
            {"rendered": prompt, "options": case.options, "logprobs": values, "answer": case.right, "right": whole[-1]}
        )
    chance = {"chance": fmean(1 / len(case.options) for case in cases)}
    estimates: dict[str, object] = {
        "accuracy": intervals.rate(sum(whole), len(whole)).to_json() | chance,
        "accuracy_per_byte": intervals.rate(sum(per_byte), len(per_byte)).to_json() | chance,
    }
    return Measured(asking.figures(rendered, estimates, calibration=calibration(confidences, whole)), rows)


def measure_cloze(path: Path, checkpoint: Checkpoint, config: EvaluateConfig, device: torch.device) -> Measured:
    """Returns how often the gap's own words are the likeliest, and their bits per byte.

    With options the likeliest whole text counts; without, the model's greedy continuation before the gap must be the
    answer, token by token. The text is plain, in no chat format.
    """
    cases = read(path, _cloze, most=config.max_suite_rows, seed=config.seed)
    encode = checkpoint.tokenizer.encode
    before = [[checkpoint.document_start, *encode(case.before.rstrip())] for case in cases]
    answer = [encode(_spaced(case.before, case.answer)) for case in cases]
    filled = [
        ([checkpoint.document_start], encode(case.before + option + case.after))
        for case in cases
        for option in case.options
    ]
    found = iter(asking.logprobs(checkpoint, filled, config, device))
    own = asking.logprobs(checkpoint, list(zip(before, answer, strict=True)), config, device)
    rendered = [asking.rendered(checkpoint, ids) for ids in before]
    rows: list[dict[str, object]] = []
    right, chances = [], []
    for place, (case, prompt) in enumerate(zip(cases, rendered, strict=True)):
        values = [next(found) for _ in case.options]
        said = None
        if case.options:
            right.append(case.options[int(np.argmax(values))] == case.answer)
            chances.append(1 / len(case.options))
        else:
            said = _greedy(checkpoint, before[place], len(answer[place]))
            right.append(said == answer[place])
            chances.append(0.0)
        rows.append(
            {
                "rendered": prompt,
                "answer": case.answer,
                "options": case.options,
                "logprobs": values,
                "said": None if said is None else checkpoint.tokenizer.decode(said),
                "logprob": own[place],
                "right": right[-1],
            }
        )
    bits = [-value / math.log(2) for value in own]
    estimates: dict[str, object] = {
        "accuracy": intervals.rate(sum(right), len(right)).to_json() | {"chance": fmean(chances)},
        "answer_bits_per_byte": intervals.ratio(bits, [float(len(case.answer.encode())) for case in cases]).to_json(),
    }
    return Measured(asking.figures(rendered, estimates), rows)


def _greedy(checkpoint: Checkpoint, ids: list[int], count: int) -> list[int]:
    kept = ids[-max(1, checkpoint.max_seq_len - count) :]
    with torch.inference_mode():
        completions = checkpoint.model.generate([kept], max_new_tokens=count, temperature=0.0, ignore_eos=True)
    return list(completions[0][0].tokens)


def _spaced(before: str, answer: str) -> str:
    """Returns the answer with the white space that stands before it: tokenizers keep that with the word."""
    return before[len(before.rstrip()) :] + answer


def _softmax(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    raised = np.exp(np.array(values, dtype=np.float64) - max(values))
    shares: np.ndarray[tuple[int], np.dtype[np.float64]] = raised / raised.sum()
    return shares


def _truth(row: Row) -> Truth:
    return Truth(text(row, "question"), _targets(row, "mc1_targets"), _targets(row, "mc2_targets"))


def _targets(row: Row, key: str) -> dict[str, bool]:
    value = row[key]
    if isinstance(value, dict) and isinstance(value.get("choices"), list) and isinstance(value.get("labels"), list):
        value = dict(zip(value["choices"], value["labels"], strict=True))  # as the hub has it
    if not isinstance(value, dict) or not all(label in (0, 1) for label in value.values()) or not any(value.values()):
        raise ValueError(f"{key!r} must have a 1 for each true answer and a 0 for each false one; given {value!r:.80}")
    return {str(option): bool(label) for option, label in value.items()}


def _choice(row: Row) -> Choice:
    options = texts(row, "choices", 2)
    return Choice(text(row, "question"), options, _place(row["answer"], options))


def _place(answer: object, options: list[str]) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    if isinstance(answer, str) and answer in options:
        return options.index(answer)
    if isinstance(answer, str) and len(answer) == 1 and 0 <= _LETTERS.find(answer.upper()) < len(options):
        return _LETTERS.index(answer.upper())
    raise ValueError(f"'answer' must be the place (from 0), the letter or the text of an option; given {answer!r:.80}")


def _cloze(row: Row) -> Cloze:
    before, gap, after = text(row, "text").partition(GAP)
    if not gap or GAP in after or not before.strip():
        raise ValueError(f"'text' must have one gap, {GAP!r}, and words before it; given {row['text']!r:.80}")
    answer = text(row, "answer")
    options = texts(row, "choices", 2) if row.get("choices") else []
    if options and answer not in options:
        raise ValueError(f"'answer' must be one of 'choices'; given {answer!r:.80}")
    return Cloze(before, after, answer, options)
