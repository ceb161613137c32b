"""`gristlm rlhf`: a checkpoint, prompts and rewards in, an aligned checkpoint out; and a look at its rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.verb import OVERRIDES, settings, verb, wrote
from gristlm.runs.layout import find_checkpoint


class LearnUnlessNamed(TyperGroup):
    """A group whose commands go before, and that learns when none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the learning command where no other is named."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["learn", *args])


app = typer.Typer(
    cls=LearnUnlessNamed,
    help="Improve a model by reinforcement learning from its own answers, or look at a run's rollouts (`show`).",
)


@app.command()
@verb
def show(
    run: Annotated[Path, typer.Argument(help="A run, its rlhf stage, or one arm of it.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Answers of each kind.")] = 5,
    step: Annotated[int | None, typer.Option("--step", min=1, help="Of this step alone.")] = None,
) -> None:
    """List the best, the worst and the strangest answers that a run learned from."""
    from gristlm.rlhf.show import show as listed

    print(listed(run, count=count, step=step))


@app.command(context_settings=OVERRIDES)
@verb
def reward(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="The model to start from: a checkpoint or a run.")],
    data: Annotated[
        Path, typer.Option("--data", help="Pairs (prompt, chosen, rejected), such as `label PROJECT --export FILE`.")
    ],
    output: Output,
    heldout_data: Annotated[
        Path | None, typer.Option("--heldout-data", help="Pairs to measure the reward model's accuracy on.")
    ] = None,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Train a reward model from pairs of a better and a worse answer, such as people's votes.

    Settings: --reward.epochs=2 …; all of them: gristlm config schema reward
    """
    from gristlm.rlhf import train_reward

    table = settings(context, config, "reward", seed=seed, num_threads=num_threads)[0].reward
    assert table is not None, "settings fills the tables it is asked for"
    given = {"checkpoint": find_checkpoint(checkpoint), "data": data}
    train_reward(table, given | ({} if heldout_data is None else {"heldout_data": heldout_data}), output)
    wrote(output / "final")


@app.command(context_settings=OVERRIDES)
@verb
def learn(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="The model to start from: a checkpoint or a run.")],
    prompts: Annotated[Path, typer.Option("--prompts", help="Prompts to answer, one JSON object per line.")],
    output: Output,
    heldout_prompts: Annotated[
        Path | None, typer.Option("--heldout-prompts", help="Prompts to measure the reward on, before and after.")
    ] = None,
    reward_model: Annotated[
        Path | None, typer.Option("--reward-model", help="A trained reward model (its final/ directory).")
    ] = None,
    second_reward_model: Annotated[
        Path | None, typer.Option("--second-reward-model", help="Another one, to guard against the first.")
    ] = None,
    dev_prompts: Annotated[
        Path | None, typer.Option("--dev-prompts", help="Prompts of the checks on the way; else the held-out ones.")
    ] = None,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Improve a model by reinforcement learning from rewards and penalties on its own answers.

    Settings: --rlhf.group_size=8 --rlhf.kl_coef=0.05 …; all of them: gristlm config schema rlhf

    The answers of a run that are worth reading: gristlm rlhf show RUN
    """
    from gristlm.rlhf import run

    table = settings(context, config, "rlhf", seed=seed, num_threads=num_threads)[0].rlhf
    assert table is not None, "settings fills the tables it is asked for"
    optional = {
        "heldout_prompts": heldout_prompts,
        "dev_prompts": dev_prompts,
        "reward_model": reward_model,
        "second_reward_model": second_reward_model,
    }
    given = {name: path for name, path in optional.items() if path is not None}
    run(table, {"checkpoint": find_checkpoint(checkpoint), "prompts": prompts, **given}, output)
    wrote(output / "final")
