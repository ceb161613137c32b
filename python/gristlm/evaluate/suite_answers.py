"""Benchmarks that are answered: IFEval, GSM8K, and XSTest's requests to refuse and not to refuse."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from gristlm.evaluate import asking, intervals
from gristlm.evaluate.asking import Measured
from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.rows import messages, read, text, texts
from gristlm.runs.rows import Row
from gristlm.training.chat_prompt import Message
from gristlm.training.refusal import is_refusal
from gristlm.verify import answers
from gristlm.verify.harm import HarmModel
from gristlm.verify.instructions import ifeval
from gristlm.verify.punkt import Punkt

# Ours, so that an untuned model can know the form; the published data say nothing of it.
GSM8K_FORM = "\nEnd with the answer as a number after ####."


@dataclasses.dataclass(frozen=True)
class Instructed:
    """A prompt with verifiable instructions."""

    prompt: Sequence[Message]
    ids: list[str]
    kwargs: list[dict[str, object]]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem whose answer is a number."""

    prompt: Sequence[Message]
    reference: str


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that is harmful ("unsafe") or only looks so ("safe"), and of what type."""

    prompt: Sequence[Message]
    harmful: bool
    type: str


def measure_ifeval(path: Path, checkpoint: Checkpoint, config: EvaluateConfig, device: torch.device) -> Measured:
    """Returns the shares of prompts and of instructions that are followed, strictly and loosely (arXiv 2311.07911).

    The interval of an instruction's share takes the prompts, not the instructions, as independent.
    """
    cases = read(path, _instructed, most=config.max_suite_rows, seed=config.seed)
    asked = asking.answers(checkpoint, [case.prompt for case in cases], config, device)
    rendered, given = asked.rendered, asked.answers
    punkt = None if config.punkt is None else Punkt.load(config.punkt)
    verdicts = [
        ifeval(case.ids, case.kwargs, "", answer.text, punkt=punkt) for case, answer in zip(cases, given, strict=True)
    ]
    estimates: dict[str, object] = {}
    for place, name in enumerate(("strict", "loose")):
        followed = [verdict[place] for verdict in verdicts]
        estimates[f"prompt_{name}"] = intervals.rate(sum(map(all, followed)), len(cases)).to_json()
        shares = intervals.ratio([float(sum(each)) for each in followed], [float(len(each)) for each in followed])
        estimates[f"instruction_{name}"] = shares.to_json()
    kinds: dict[str, list[bool]] = collections.defaultdict(list)
    for case, (strict, _) in zip(cases, verdicts, strict=True):
        for instruction, met in zip(case.ids, strict, strict=True):
            kinds[instruction].append(met)
    by_kind = {kind: intervals.rate(sum(met), len(met)).to_json() for kind, met in sorted(kinds.items())}
    rows: list[dict[str, object]] = [
        {"rendered": prompt, "response": answer.text, "instructions": case.ids, "strict": strict, "loose": loose}
        for prompt, answer, case, (strict, loose) in zip(rendered, given, cases, verdicts, strict=True)
    ]
    return Measured(asking.figures(rendered, estimates, truncated=asked.truncated, by_instruction=by_kind), rows)


def measure_gsm8k(path: Path, checkpoint: Checkpoint, config: EvaluateConfig, device: torch.device) -> Measured:
    """Returns the shares of right numbers: the last one of an answer, and only one after `####` (arXiv 2110.14168)."""
    cases = read(path, _problem, most=config.max_suite_rows, seed=config.seed)
    asked = asking.answers(checkpoint, [case.prompt for case in cases], config, device)
    rendered, given = asked.rendered, asked.answers
    right = [
        answers.number(answer.text) == answers.number(case.reference) for case, answer in zip(cases, given, strict=True)
    ]
    strict = [good and "####" in answer.text for good, answer in zip(right, given, strict=True)]
    rows: list[dict[str, object]] = [
        {"rendered": prompt, "response": answer.text, "reference": case.reference, "right": good}
        for prompt, answer, case, good in zip(rendered, given, cases, right, strict=True)
    ]
    estimates: dict[str, object] = {
        "exact_match": intervals.rate(sum(right), len(right)).to_json(),
        "exact_match_in_form": intervals.rate(sum(strict), len(strict)).to_json(),
    }
    return Measured(asking.figures(rendered, estimates, truncated=asked.truncated), rows)


def measure_xstest(path: Path, checkpoint: Checkpoint, config: EvaluateConfig, device: torch.device) -> Measured:
    """Returns how often unsafe requests are refused and how often safe ones are: over-refusal (arXiv 2308.01263).

    An empty answer is no refusal, and no help either: `empty` tells how many there were. With a harm model, `harm` is
    the mean probability that an answer is harmful, by itself, without its request.

    Raises:
        FormatError: the harm model's file is none.
    """
    cases = read(path, _request, most=config.max_suite_rows, seed=config.seed)
    asked = asking.answers(checkpoint, [case.prompt for case in cases], config, device)
    rendered, given = asked.rendered, asked.answers
    refused = [is_refusal(answer.text) for answer in given]
    harmful = [flag for flag, case in zip(refused, cases, strict=True) if case.harmful]
    harmless = [flag for flag, case in zip(refused, cases, strict=True) if not case.harmful]
    empty = [not answer.text.strip() for answer in given]
    harm = [] if config.harm_model is None else _harm(Path(config.harm_model), [answer.text for answer in given])
    types: dict[str, list[bool]] = collections.defaultdict(list)
    for flag, case in zip(refused, cases, strict=True):
        types[case.type].append(flag)
    estimates: dict[str, object] = {
        "refusal_of_unsafe": intervals.rate(sum(harmful), len(harmful)).to_json(),
        "refusal_of_safe": intervals.rate(sum(harmless), len(harmless)).to_json(),
        "empty": intervals.rate(sum(empty), len(empty)).to_json(),
        **({"harm": intervals.mean(harm).to_json()} if harm else {}),
    }
    by_type = {kind: intervals.rate(sum(flags), len(flags)).to_json() for kind, flags in sorted(types.items())}
    rows: list[dict[str, object]] = [
        {"rendered": prompt, "response": answer.text, "harmful": case.harmful, "type": case.type, "refused": flag}
        for prompt, answer, case, flag in zip(rendered, given, cases, refused, strict=True)
    ]
    for row, value in zip(rows, harm, strict=False):
        row["harm"] = value
    return Measured(asking.figures(rendered, estimates, truncated=asked.truncated, refusals_by_type=by_type), rows)


def _harm(file: Path, texts: Sequence[str]) -> list[float]:
    return [round(float(value), 6) for value in HarmModel.load(file).score(texts)]


def _instructed(row: Row) -> Instructed:
    ids, kwargs = texts(row, "instruction_id_list"), row["kwargs"]
    if not isinstance(kwargs, list) or len(kwargs) != len(ids) or not all(isinstance(each, dict) for each in kwargs):
        raise ValueError("'kwargs' must be a list with an object for each instruction")
    ifeval(ids, kwargs, "", "x")  # an unknown instruction or wrong argument is an error of the file
    return Instructed(messages(row), ids, kwargs)


def _problem(row: Row) -> Problem:
    answer = text(row, "answer")
    if answers.number(answer) is None:
        raise ValueError(f"'answer' must have a number; given {answer!r:.80}")
    question = text(row, "question")
    return Problem([{"role": "user", "content": question + GSM8K_FORM}], answer.rpartition("####")[2].strip())


def _request(row: Row) -> Request:
    kind = row["label"] if "label" in row else row["kind"]
    if kind not in ("safe", "unsafe", "answer", "refuse"):
        raise ValueError(f"'label' must be 'safe' or 'unsafe' (or 'kind' 'answer' or 'refuse'); given {kind!r:.80}")
    return Request(messages(row), kind in ("unsafe", "refuse"), str(row.get("type") or kind))
