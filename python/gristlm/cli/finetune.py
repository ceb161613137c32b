"""`gristlm finetune`: a checkpoint and conversations or preference pairs in, a tuned checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.verb import settings, verb, wrote
from gristlm.runs.layout import find_checkpoint


@verb
def finetune(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="The model to start from: a checkpoint or a run.")],
    data: Annotated[
        str, typer.Option("--data", help="Conversations or preferences: JSONL, JSON, Parquet, or hub:OWNER/NAME:SPLIT.")
    ],
    output: Output,
    heldout_data: Annotated[
        str | None, typer.Option("--heldout-data", help="The same, held out, to measure on.")
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            "--tokens", help="The run's tokens/, to measure bits per byte on documents held out of pretraining."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first row that cannot be trained on.")] = False,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Tune a model on conversations (--finetune.method=sft) or preference pairs (--finetune.method=dpo).

    Settings: --finetune.epochs=2 --finetune.learning_rate=1e-4 …; all of them: gristlm config schema finetune
    """
    from gristlm.finetune import run
    from gristlm.finetune.hub import PREFIX, fetch

    table = settings(
        context,
        config,
        "finetune",
        keys={"finetune.strict": "true" if strict else None},
        seed=seed,
        num_threads=num_threads,
    )[0].finetune
    assert table is not None, "settings fills the tables it is asked for"
    files = {
        name: fetch(given, output / "fetched" / f"{name}.parquet") if given.startswith(PREFIX) else Path(given)
        for name, given in (("data", data), ("heldout_data", heldout_data))
        if given is not None
    }
    if tokens is not None:
        files["tokens"] = tokens
    run(table, {"checkpoint": find_checkpoint(checkpoint), **files}, output)
    wrote(output / "final")
