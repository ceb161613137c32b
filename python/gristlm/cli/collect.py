"""`gristlm collect`: sources in, clean documents out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.run import with_sources
from gristlm.cli.verb import OVERRIDES, settings, verb, wrote
from gristlm.errors import ConfigError


class CollectUnlessNamed(TyperGroup):
    """A group whose commands go before, and that collects when none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the collecting command where no other is named."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["documents", *args])


app = typer.Typer(
    cls=CollectUnlessNamed,
    help="Collect documents; say why one went (`explain`); train a model of quality (`train-quality`).",
)


@app.command("explain")
@verb
def explain(
    document: Annotated[str, typer.Argument(metavar="ID", help="An id or address, or the file name it ends in.")],
    documents: Annotated[
        Path | None, typer.Option("--documents", help="What collect wrote; else what is nearest to this folder.")
    ] = None,
) -> None:
    """Say why a document was dropped, by which value and threshold, or where it is kept."""
    from gristlm.collect.explain import explain, find

    path = documents or find(Path())
    if documents is None:
        print(f"in {path}:")
    for fate in explain(path, document):
        print(fate)


@app.command("train-quality")
@verb
def train_quality(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="A folder or file of text to find more of.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="A folder or file of text to be without.")],
    output: Annotated[Path, typer.Option("--output", help="The model file to write, such as quality.bin.")],
    text_column: Annotated[
        str, typer.Option("--text-column", help="The key or column of rows with the text.")
    ] = "text",
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Train a model that tells good text from bad, for --collect.quality_model.path; prints its held-out accuracy."""
    from gristlm.collect.quality import train_quality

    print(train_quality(good, bad, output, seed=seed or 0, num_threads=num_threads, text_column=text_column))
    wrote(output)


@app.command("documents", hidden=True, context_settings=OVERRIDES)
@verb
def collect(
    context: typer.Context,
    output: Output,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="Files, folders or web sites; none: the Python on this machine."),
    ] = None,
    licences: Annotated[
        str | None, typer.Option("--licences", help='Keep only these, e.g. "cc-by-4.0,mit,public-domain".')
    ] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory that deduplication may use, e.g. 2GB.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first document that cannot be read.")] = False,
    opt_out: Annotated[
        str | None, typer.Option("--opt-out", help="A list of domains, URLs and ids that are never fetched or kept.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: read every n-th file from the i-th on, e.g. 0/4 … 3/4.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Read web sites on this machine and private networks; for tests.")
    ] = False,
    ray: Annotated[
        str | None, typer.Option("--ray", help='Work on a Ray cluster: its address, or "local" to start one here.')
    ] = None,
    conversations: Annotated[
        bool, typer.Option("--conversations", help="The sources are chat or preference data, for finetune and rlhf.")
    ] = False,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Collect documents, clean them, drop duplicates, and keep source and licence of each.

    Also: gristlm collect explain ID, gristlm collect train-quality GOOD BAD --output FILE.
    Settings: --collect.heldout_fraction=0.05 …; all of them: gristlm config schema collect
    """
    from gristlm.collect import run
    from gristlm.collect.conversations import gather

    names = None if licences is None else json.dumps([name.strip() for name in licences.split(",") if name.strip()])
    keys = {
        "collect.licences": names,
        "collect.memory": memory,
        "collect.strict": "true" if strict else None,
        "collect.opt_out": None if opt_out is None else json.dumps([opt_out]),
        "collect.shard": None if shard is None else json.dumps(shard),
        "collect.web.allow_private": "true" if allow_private else None,
    }
    whole, plain = settings(
        context, config, "collect", arguments=sources or (), keys=keys, seed=seed, num_threads=num_threads
    )
    table = with_sources(whole, plain).collect
    assert table is not None, "settings fills the tables it is asked for"
    if conversations and ray is not None:
        raise ConfigError("--conversations reads on this machine alone; leave out --ray")
    if conversations:
        gather(table, {}, output)
    else:
        run(table, {}, output, ray=ray)
    wrote(output)
