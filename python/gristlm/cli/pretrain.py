"""`gristlm pretrain`: tokens in, a base model out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gristlm.cli.ladder import ladder
from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.plan import plan
from gristlm.cli.verb import OVERRIDES, settings, verb, wrote


class TrainUnlessNamed(TyperGroup):
    """A group whose commands go before, and that trains when none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the training command where no other is named."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["train", *args])


app = typer.Typer(
    cls=TrainUnlessNamed,
    help="Train a model to predict the next token, plan to (`plan`), or fit a scaling law (`ladder`).",
)
app.command()(plan)
app.command(context_settings=OVERRIDES)(ladder)


@app.command("train", hidden=True, context_settings=OVERRIDES)
@verb
def pretrain(
    context: typer.Context,
    tokens: Annotated[Path, typer.Option("--tokens", help="The tokens artifact.")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="The directory of the tokenizer that made them.")],
    output: Output,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Train a model to predict the next token. What it will need: gristlm pretrain plan.

    Settings: --model.num_layers=6 --pretrain.steps=2000 …; all of them: gristlm config schema pretrain (and: model)
    """
    from gristlm.pretrain import run

    whole, _ = settings(context, config, "pretrain", seed=seed, num_threads=num_threads)
    run(whole.pretrain_config(), {"tokens": tokens, "tokenizer": tokenizer}, output)
    wrote(output / "final")
