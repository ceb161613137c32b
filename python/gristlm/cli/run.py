"""`gristlm run`: a recipe's stages in their order; what is complete is skipped, what was cut off goes on."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from gristlm.cli.options import NumThreads, Output, Seed
from gristlm.cli.recipe import Recipe
from gristlm.cli.verb import settings, verb, wrote
from gristlm.errors import ConfigError
from gristlm.runs import artifact, progress, recipe
from gristlm.runs.artifact import Manifest
from gristlm.runs.layout import MODEL_NAMES, STAGES

T = TypeVar("T")
StageName = Literal[
    "task",
    "collect",
    "tokenizer",
    "tokens",
    "pretrain",
    "conversations",
    "finetune",
    "preference",
    "pairs",
    "reward",
    "second_reward",
    "rlhf",
    "evaluate",
    "report",
]


@verb
def run(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of one that comes with gristlm.")
    ],
    output: Output,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Collect from this file or folder; may be given again.")
    ] = None,
    stop_after: Annotated[StageName | None, typer.Option("--stop-after", help="End after this stage.")] = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Run a recipe: every stage in order, skipping what is complete and resuming what was cut off.

    Any key of the recipe can be set here: --pretrain.steps=2000 --rlhf.group_size=8
    """
    file = recipe.locate(name)
    wrote(
        run_recipe(
            with_sources(settings(context, file, seed=seed, num_threads=num_threads)[0], source),
            output,
            stop_after=stop_after,
            file=file,
        )
    )


def with_sources(whole: Recipe, sources: list[str] | None) -> Recipe:
    """Returns the recipe with `[collect] sources` replaced."""
    if not sources:
        return whole
    if whole.collect is None:
        raise ConfigError("--source was given, but the recipe has no [collect] table")
    return whole.model_copy(update={"collect": whole.collect.model_copy(update={"sources": list(sources)})})


def run_recipe(whole: Recipe, output: Path, *, stop_after: str | None = None, file: Path | None = None) -> Path:
    """Runs the stages of a checked recipe into the run directory `output`; returns the report, or the last stage.

    Raises:
        ConfigError: the stages do not fit together (before any work), or `output` holds the work of another recipe.
    """
    try:
        whole.check()
    except ValueError as error:
        raise ConfigError(f"{file or 'recipe'}: {error}") from None
    steps = _steps(whole, output)
    if stop_after is not None and stop_after not in (*steps, "report"):
        raise ConfigError(f"--stop-after {stop_after}: this recipe has no such stage; it has {', '.join(steps)}")
    last = output
    for number, (stage, work) in enumerate(steps.items(), 1):
        last = directory(output, stage)
        complete = artifact.is_complete(last)
        progress.say(f"[{number}/{len(steps)}] {stage}" + (": complete, skipped" if complete else ""))
        manifest = work()
        gc.collect()  # a stage's model is not to wait, in some cycle, for the next stage's to be built beside it
        if not complete:
            measured = manifest.measured
            progress.say(
                f"      {stage}: {measured['seconds']:.1f} s, peak {measured['peak_memory_bytes'] / 1e9:.2f} GB"
            )
        if stage == stop_after:
            return last
    from gristlm.runs.report import write_report

    return write_report(output)


def directory(output: Path, stage: str) -> Path:
    """Returns the directory of a stage in the run directory `output`."""
    return output / STAGES[stage]


def _steps(whole: Recipe, output: Path) -> dict[str, Callable[[], Manifest]]:
    """The stages that the recipe has, in order; each is a call without arguments."""
    at = functools.partial(directory, output)
    made = at("conversations" if whole.task is None else "task")

    def data(stage: str, name: str) -> dict[str, Path]:
        given, given_heldout = getattr(whole.data, stage), getattr(whole.data, f"{stage}_heldout")
        label = "prompts" if stage == "rlhf" else "data"
        if given is not None:
            return {label: given} | ({f"heldout_{label}": given_heldout} if given_heldout else {})
        dev = {"dev_prompts": made / "prompts_dev.jsonl"} if (made / "prompts_dev.jsonl").is_file() else {}
        files = {label: made / f"{name}.jsonl", f"heldout_{label}": made / f"{name}_heldout.jsonl"}
        return files | (dev if stage == "rlhf" else {})

    general = {} if whole.tokens is None else {"tokens": at("tokens")}

    def task() -> Manifest:
        from gristlm.rlhf.task import run as stage

        return stage(whole.task_config(), {}, at("task"))

    def collect() -> Manifest:
        from gristlm.collect import run as stage

        return stage(whole.collect_config(), {}, at("collect"))

    def tokenizer() -> Manifest:
        from gristlm.tokenize import train_tokenizer as stage

        return stage(_present(whole.tokenizer), {"documents": at("collect")}, at("tokenizer"))

    def tokens() -> Manifest:
        from gristlm.tokenize import run as stage

        return stage(_present(whole.tokens), {"documents": at("collect"), "tokenizer": at("tokenizer")}, at("tokens"))

    def pretrain() -> Manifest:
        from gristlm.pretrain import run as stage

        return stage(whole.pretrain_config(), {"tokens": at("tokens"), "tokenizer": at("tokenizer")}, at("pretrain"))

    def conversations() -> Manifest:
        from gristlm.collect.conversations import run as stage

        return stage(_present(whole.conversations), {"documents": at("collect")}, made)

    def finetune() -> Manifest:
        from gristlm.finetune import run as stage

        return stage(
            _present(whole.finetune),
            {
                "checkpoint": at("pretrain" if whole.task is None else "task") / "final",
                **data("finetune", "sft"),
                **general,
            },
            at("finetune"),
        )

    def preference() -> Manifest:
        from gristlm.finetune import run as stage

        return stage(
            _present(whole.preference),
            {"checkpoint": at("finetune") / "final", **data("preference", "preferences"), **general},
            at("preference"),
        )

    def pairs() -> Manifest:
        from gristlm.rlhf.pairs import run as stage

        prompts = {name: path for name, path in data("rlhf", "prompts").items() if name != "dev_prompts"}
        return stage(whole.pairs_config(), {"checkpoint": at("finetune") / "final", **prompts}, at("pairs"))

    def judged(name: str) -> dict[str, Path]:
        start = {"checkpoint": at("finetune") / "final"}
        if whole.pairs is None or whole.data.reward is not None:
            return start | data("reward", "preferences")
        return start | {
            "data": at("pairs") / f"{name}.jsonl",
            "heldout_data": at("pairs") / "preferences_heldout.jsonl",
        }

    def reward() -> Manifest:
        from gristlm.rlhf import train_reward as stage

        return stage(_present(whole.reward), judged("preferences"), at("reward"))

    def second_reward() -> Manifest:
        from gristlm.rlhf import train_reward as stage

        return stage(_present(whole.second_reward), judged("preferences_second"), at("second_reward"))

    def rlhf() -> Manifest:
        from gristlm.rlhf import run as stage

        start = at("finetune" if whole.preference is None else "preference") / "final"
        judges = {
            f"{name}_model": at(name) / "final"
            for name in ("reward", "second_reward")
            if getattr(whole, name) is not None
        }
        return stage(_present(whole.rlhf), {"checkpoint": start, **data("rlhf", "prompts"), **judges}, at("rlhf"))

    def evaluate() -> Manifest:
        from gristlm.evaluate import run as stage

        config = _present(whole.evaluate)
        models = {name: at(stage) / "final" for stage, name in MODEL_NAMES.items() if getattr(whole, stage) is not None}
        extras = (
            {"documents": at("collect")}
            | ({"conversations": made} if whole.conversations else {})
            | ({"rlhf": at("rlhf")} if whole.rlhf else {})
        )
        return stage(config.model_copy(update={"checkpoints": list(models)}), {**models, **extras}, at("evaluate"))

    all_steps = (
        task,
        collect,
        tokenizer,
        tokens,
        pretrain,
        conversations,
        finetune,
        preference,
        pairs,
        reward,
        second_reward,
        rlhf,
        evaluate,
    )
    by_name = {step.__name__: step for step in all_steps}
    return {stage: by_name[stage] for stage in STAGES if getattr(whole, stage) is not None}


def _present(table: T | None) -> T:
    assert table is not None, "a stage is only called when its table is there"
    return table
