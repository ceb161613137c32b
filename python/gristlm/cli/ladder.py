"""`gristlm pretrain ladder`: a few small models, a fitted curve, and what a larger one would reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.verb import settings, verb, wrote


@verb
def ladder(
    context: typer.Context,
    tokens: Annotated[Path, typer.Option("--tokens", help="The tokens artifact.")],
    tokenizer: Annotated[Path, typer.Option("--tokenizer", help="The directory of the tokenizer that made them.")],
    output: Output,
    widths: Annotated[str, typer.Option("--widths", help="Widths of the models, multiples of 32.")] = "32,64,96,128",
    tokens_per_weight: Annotated[
        float, typer.Option("--tokens-per-weight", min=0.01, help="Tokens each model is trained on, per weight.")
    ] = 20.0,
    predict: Annotated[str | None, typer.Option("--predict", help="Predict the loss of this size, e.g. 124M.")] = None,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Train a ladder of sizes, fit loss against weights, draw it, and predict a larger model's loss."""
    from gristlm.errors import InputError
    from gristlm.pretrain import ladder as tool
    from gristlm.pretrain.plan import amount

    try:
        sizes = [int(width) for width in widths.split(",")]
    except ValueError:
        raise InputError(f"--widths is {widths!r}; give numbers with commas between, e.g. 32,64,96") from None
    whole, _ = settings(context, config, "pretrain", seed=seed, num_threads=num_threads)
    tool.run(
        whole.pretrain_config(),
        {"tokens": tokens, "tokenizer": tokenizer},
        output,
        widths=sizes,
        tokens_per_weight=tokens_per_weight,
        predict=None if predict is None else amount(predict),
    )
    wrote(output / "ladder.json")
