"""`gristlm evaluate`: the same suite for every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.verb import settings, verb, wrote
from gristlm.errors import ConfigError
from gristlm.runs.layout import find_checkpoint

if TYPE_CHECKING:
    from gristlm.evaluate.win_rates import Score


@verb
def evaluate(
    context: typer.Context,
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CHECKPOINT...", help="Checkpoint or run directories.")],
    output: Output,
    documents: Annotated[
        Path | None, typer.Option("--documents", help="A documents artifact: bits per byte on its held-out split.")
    ] = None,
    conversations: Annotated[
        Path | None, typer.Option("--conversations", help="A conversations artifact: its held-out files.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", metavar="NAME=FILE", help="A benchmark and its file; any number of them."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="Prompts to compare answers on, one JSON object per line.")
    ] = None,
    reward_model: Annotated[
        Path | None, typer.Option("--reward-model", help="Compare answers by its scores (a final/ directory).")
    ] = None,
    votes: Annotated[
        Path | None, typer.Option("--votes", help="Votes of people, from `label PROJECT --export FILE --all-votes`.")
    ] = None,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Score checkpoints: bits per byte, held-out answers, form, refusals, preferences, sample outputs, benchmarks.

    Suites: ifeval, gsm8k, truthfulqa, xstest, choices, cloze; their files are not part of this package.

    Win rates of each against the first, with and without the effect of length: --reward-model DIR, a judge
    (--evaluate.judge.endpoint=http://… --evaluate.judge.model=…), or people's --votes.

    Settings: --evaluate.…; all of them: gristlm config schema evaluate
    """
    from gristlm.evaluate import run

    whole, plain = settings(context, config, "evaluate", arguments=checkpoints, seed=seed, num_threads=num_threads)
    models: dict[str, Path] = {}
    for given in plain:
        path = find_checkpoint(Path(given))
        name = path.parent.name if path.name == "final" else path.name
        if name in models:
            name = f"{name}-{len(models)}"
        models[name] = path
    if not models:
        raise ConfigError("no checkpoint was given; give one or more checkpoint or run directories")
    table = whole.evaluate
    assert table is not None, "settings fills the tables it is asked for"
    extras = {
        name: path
        for name, path in (
            ("documents", documents),
            ("conversations", conversations),
            ("prompts", prompts),
            ("reward_model", reward_model),
            ("votes", votes),
        )
        if path is not None
    }
    for name in ("prompts", "votes"):
        if name in extras and not extras[name].is_file():
            raise ConfigError(f"--{name} {extras[name]}: there is no such file")
    suites = {**(table.suites or {}), **dict(_named(each) for each in suite or ())}
    score: Score | None = None
    if reward_model is not None:
        from gristlm.rlhf import RewardModel

        score = RewardModel.from_pretrained(reward_model).score
    settled = table.model_copy(update={"checkpoints": list(models), "suites": suites or None})
    run(settled, {**models, **extras}, output, score=score)
    wrote(output)


def _named(given: str) -> tuple[str, str]:
    """Returns the name and the file of NAME=FILE."""
    from gristlm.evaluate.config import SUITES

    name, equals, file = given.partition("=")
    if not equals or not file or name not in SUITES:
        raise ConfigError(f"--suite {given!r}: give NAME=FILE with a name of {', '.join(SUITES)}")
    return name, file
