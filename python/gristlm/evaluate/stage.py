"""The evaluate stage: the same suite for every checkpoint, one JSON file each, and `summary.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from gristlm.errors import ConfigError
from gristlm.evaluate import checkpoint as checkpoints
from gristlm.evaluate import conversations, generation, held_out, suites, win_rates
from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.win_rates import Score
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_json
from gristlm.training import device as devices

REWARDS = ("reward_before", "reward_after", "kl")
# What is copied from a checkpoint's file to the summary: name in the summary, path in the file.
HEADLINES = {
    "bits_per_byte": "held_out.bits_per_byte",
    "answer_loss": "answers.loss",
    "preference_accuracy": "preferences.accuracy",
    "preference_accuracy_per_token": "preferences.accuracy_per_token",
    "multiple_choice_accuracy": "multiple_choice.accuracy",
    "finished": "generated.finished",
    "in_form": "generated.in_form",
    "refusal_on_harmful": "generated.refusal_on_harmful",
    "refusal_on_harmless": "generated.refusal_on_harmless",
    "reference_overlap": "generated.reference_overlap",
    "repetition": "generated.repetition",
}


def run(
    config: EvaluateConfig, inputs: Mapping[str, Path], output_dir: Path, *, score: Score | None = None
) -> Manifest:
    """Measures every checkpoint alike and writes `<name>.json` for each and `summary.json`; returns the manifest.

    Args:
        config: `checkpoints` names which inputs are checkpoints.
        inputs: each checkpoint by its name: a checkpoint directory, or a training stage's directory, whose `final/` is
            measured (an rlhf stage's rewards and KL are carried over); "documents" and "conversations": those
            artifacts, whose held-out parts are used; without one of them, what needs it is left out and null;
            "prompts": JSON Lines to compare answers on instead of held-out conversations; "votes": an export of all
            votes; "reward_model": where `score` comes from.
        output_dir: the artifact to write; a checkpoint whose file is there already is not measured again.
        score: a reward model's `score`: win rates of each checkpoint against the first by it.

    Raises:
        ConfigError: a checkpoint that `config` names is not among the inputs.
        ArtifactError: an input is missing, unfinished or damaged.
    """
    config = EvaluateConfig.model_validate(config.model_dump())  # a copy made with model_copy was not checked
    absent = [name for name in config.checkpoints if name not in inputs]
    if absent:
        raise ConfigError(
            f"evaluate.checkpoints names {absent[0]!r}, which is not among the inputs: {', '.join(inputs) or 'none'}"
        )
    for name, path in suites.inputs(config).items():
        if not path.is_file():
            raise ConfigError(f"evaluate: {name}: there is no file {path}")
    inputs = {**inputs, **suites.inputs(config)}
    stage = artifact.begin(output_dir, kind="evaluate", config=config, inputs=inputs)
    if stage.manifest is not None:
        return stage.manifest
    for path in inputs.values():
        if artifact.is_complete(path):
            artifact.verify(path)
    device = devices.pick(config.num_threads)
    documents = held_out.load(inputs["documents"], config) if "documents" in inputs else None
    baselines = held_out.baselines(documents) if documents else None
    rewards, trained = _rewards(config, inputs)
    measured: dict[str, dict[str, object]] = {}
    judged = len(config.checkpoints) > 1 and (score is not None or config.judge is not None)
    prompts = win_rates.prompts_of(config, inputs) if judged else []
    if judged and not prompts:
        raise ConfigError("to compare answers there must be prompts: give the input 'prompts' or 'conversations'")
    with progress.bar("evaluate", len(config.checkpoints), "checkpoints") as bar:
        for name in config.checkpoints:
            file = stage.path / f"{name}.json"
            if not file.is_file():
                loaded = checkpoints.load(inputs[name], device)
                body = _measure(loaded, documents, inputs.get("conversations"), config, device)
                body["suites"] = suites.measure(loaded, name, config, stage.path, device)
                if judged:
                    win_rates.answer(loaded, name, prompts, config, stage.path, device)
                write_json(
                    file, {"name": name} | _baseline_figures(baselines) | (rewards if name == trained else {}) | body
                )
            measured[name] = json.loads(file.read_bytes())
            bar.advance()
    compared = win_rates.compare(config, stage.path, score, inputs.get("votes"), answered=judged)
    summary = _summary(config, measured, baselines, rewards) | {"win_rates": compared}
    write_json(stage.path / "summary.json", summary)
    _say(summary)
    return stage.finish(
        counts={
            name: summary[name] for name in ("bits_per_byte", "bits_per_byte_unigram", "bits_per_byte_zstd", *REWARDS)
        }
    )


def _measure(
    checkpoint: Checkpoint,
    documents: held_out.HeldOut | None,
    directory: Path | None,
    config: EvaluateConfig,
    device: torch.device,
) -> dict[str, object]:
    figures = held_out.measure(checkpoint, documents, config, device) if documents else None
    body: dict[str, object] = {
        "bits_per_byte": _at(figures, "bits_per_byte.value"),
        "num_parameters": checkpoint.model.config.num_parameters(),
        "held_out": figures,
        "answers": None,
        "preferences": None,
        "multiple_choice": None,
        "generated": None,
        "samples": [],
        "skipped": None,
    }
    if directory is None or not checkpoint.can_chat:
        reason = "no conversations were given" if directory is None else "no chat template and no ChatML tokens"
        return body | {"skipped": f"conversations: {reason}"}
    if turns := conversations.turns(directory, config):
        body["answers"] = conversations.measure_answers(checkpoint, turns, config, device)
    if pairs := conversations.pairs(directory, config):
        body["preferences"] = conversations.measure_preferences(checkpoint, pairs, config, device)
    if questions := conversations.questions(directory, config):
        body["multiple_choice"] = conversations.measure_choices(checkpoint, questions, config, device)
    if prompts := conversations.prompts(directory, config):
        answers = generation.answer(checkpoint, prompts, config, device)
        body["generated"] = generation.measure(prompts, answers) | {
            "temperature": config.temperature,
            "max_new_tokens": config.max_new_tokens,
        }
        body["samples"] = generation.samples(checkpoint, prompts, answers, config.num_samples)
    return body


def _summary(
    config: EvaluateConfig,
    measured: Mapping[str, dict[str, object]],
    baselines: dict[str, object] | None,
    rewards: Mapping[str, object],
) -> dict[str, object]:
    first = config.checkpoints[0]
    return {
        "bits_per_byte": measured[first]["bits_per_byte"],
        "bits_per_byte_of": first,
        **_baseline_figures(baselines),
        **{name: rewards.get(name) for name in REWARDS},
        "baselines": baselines,
        "suites": {name: suites_of(body) for name, body in measured.items()},
        "different_prompts": _different_prompts(measured),
        "checkpoints": {
            name: {headline: _at(body, path) for headline, path in HEADLINES.items()}
            | {"num_parameters": body["num_parameters"]}
            for name, body in measured.items()
        },
    }


def _different_prompts(measured: Mapping[str, dict[str, object]]) -> list[str]:
    """Returns the suites whose prompts were not rendered alike for all checkpoints, so their figures compare badly."""
    names = dict.fromkeys(suite for body in measured.values() for suite in suites_of(body))
    return [name for name in names if len({_at(body, f"suites.{name}.prompts") for body in measured.values()}) > 1]


def suites_of(body: Mapping[str, object]) -> Mapping[str, object]:
    """Returns the figures of a checkpoint's suites by name."""
    found = body.get("suites")
    return found if isinstance(found, dict) else {}


def _baseline_figures(baselines: dict[str, object] | None) -> dict[str, object]:
    return {f"bits_per_byte_{name}": _at(baselines, f"{name}.value") for name in ("unigram", "zstd")}


def _rewards(config: EvaluateConfig, inputs: Mapping[str, Path]) -> tuple[dict[str, object], str]:
    """Returns the figures of the rlhf stage among the inputs, and whose they are: its own checkpoint, else the last."""
    for name, path in inputs.items():
        if artifact.is_complete(path) and (manifest := artifact.load(path)).kind == "rlhf":
            return {
                figure: manifest.counts.get(figure) for figure in REWARDS
            }, name if name in config.checkpoints else config.checkpoints[-1]
    return {}, ""


def _at(body: object, path: str) -> object:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _say(summary: dict[str, object]) -> None:
    figures = summary["checkpoints"]
    assert isinstance(figures, dict)
    for name, body in figures.items():
        parts = [f"{label} {value:.3f}" for label, path in _SAID.items() if isinstance(value := _at(body, path), float)]
        progress.say(f"      {name}: {', '.join(parts) or 'nothing to measure'}")
        for suite, found in suites_of({"suites": _at(summary, f"suites.{name}")}).items():
            progress.say(f"        {suite}: {', '.join(_estimates(found))}")
    compared = summary["win_rates"]
    assert isinstance(compared, list)
    for each in compared:
        said = _estimates({"wins": each["win_rate"], "at equal length": each["length_controlled"]})
        asked = "" if each.get("same_prompts", True) else "; not asked the same: they have different chat formats"
        progress.say(
            f"      {each['of']} against {each['against']} by {each['by']}, {each['cases']} cases: "
            f"{', '.join(said)}{asked}"
        )
    if different := summary["different_prompts"]:
        assert isinstance(different, list)
        progress.say(
            f"      {', '.join(different)}: not asked the same, because the checkpoints have different chat formats"
        )
    if isinstance(unigram := summary["bits_per_byte_unigram"], float) and isinstance(
        zstd := summary["bits_per_byte_zstd"], float
    ):
        progress.say(
            f"      the same held-out documents: byte unigram {unigram:.3f}, zstd -19 {zstd:.3f} bits per byte"
        )


def _estimates(found: object) -> list[str]:
    """Returns a suite's figures in words; says of one whose interval has chance in it that it is no evidence."""
    said = []
    for name, estimate in found.items() if isinstance(found, dict) else ():
        if not isinstance(estimate, dict) or not isinstance(value := estimate.get("value"), float | int):
            continue
        low, high, chance = estimate.get("low"), estimate.get("high"), estimate.get("chance")
        between = "" if low is None else f" ({low:.3f} to {high:.3f})"
        near = low is not None and high is not None and chance and low <= chance <= high
        said.append(f"{name} {value:.3f}{between}" + (f", chance is {chance:.3f}" if near else ""))
    return said


_SAID = {
    "bits/byte": "bits_per_byte.value",
    "answer loss": "answer_loss.value",
    "in form": "in_form.value",
    "refuses harmful": "refusal_on_harmful.value",
    "refuses harmless": "refusal_on_harmless.value",
    "preference": "preference_accuracy.value",
}
