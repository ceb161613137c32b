"""The verbs of `gristlm`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from gristlm import __version__
from gristlm.cli import (
    bench,
    chat,
    collect,
    config,
    demo,
    evaluate,
    export,
    finetune,
    label,
    pretrain,
    report,
    rlhf,
    run,
    serve,
    tokenize,
    trace,
)
from gristlm.cli.verb import OVERRIDES

app = typer.Typer(
    name="gristlm",
    help="Raw text to an aligned chat model: collect, tokenize, pretrain, finetune, rlhf.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"gristlm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


WHOLE = "The whole way"
STEPS = "The five steps"
USE = "Use and understand"
app.command(rich_help_panel=WHOLE, context_settings=OVERRIDES)(demo.demo)
app.command(rich_help_panel=WHOLE, context_settings=OVERRIDES)(run.run)
app.add_typer(collect.app, name="collect", rich_help_panel=STEPS)
app.add_typer(tokenize.app, name="tokenize", rich_help_panel=STEPS)
app.add_typer(pretrain.app, name="pretrain", rich_help_panel=STEPS)
app.add_typer(finetune.app, name="finetune", rich_help_panel=STEPS)
app.add_typer(rlhf.app, name="rlhf", rich_help_panel=STEPS)
app.command(rich_help_panel=USE, context_settings=OVERRIDES)(evaluate.evaluate)
app.command(rich_help_panel=USE)(chat.chat)
app.command(rich_help_panel=USE)(serve.serve)
app.command(rich_help_panel=USE)(label.label)
app.command(rich_help_panel=USE)(export.export)
app.command(rich_help_panel=USE)(trace.trace)
app.command(rich_help_panel=USE)(report.report)
app.command(rich_help_panel=USE)(bench.bench)
app.add_typer(config.app, name="config", rich_help_panel=USE)
