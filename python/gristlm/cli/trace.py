"""`gristlm trace`: from a training step to its documents and licences, and from a document to its steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gristlm.cli.verb import verb
from gristlm.errors import ConfigError, InputError
from gristlm.runs import artifact, progress

if TYPE_CHECKING:
    from gristlm.runs.lineage import BatchAt


@verb
def trace(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory with tokens and pretraining.")],
    step: Annotated[int | None, typer.Option("--step", min=1, help="The documents of this pretraining step.")] = None,
    document: Annotated[str | None, typer.Option("--document", help="The steps that read this document id.")] = None,
) -> None:
    """Trace a pretraining step to its documents, sources and licences, or a document to the steps that read it."""
    from gristlm.runs import lineage

    if (step is None) == (document is None):
        raise ConfigError("give one of --step N and --document ID")
    batch_at, steps = batches(path)
    if step is not None:
        if step > steps:
            raise InputError(f"--step {step}: this run has {steps} pretraining steps")
        rows = lineage.trace_step(path, step, batch_at)
        print(f"step {step}: {len(rows)} documents, {sum(row.tokens for row in rows):,} tokens")
        print(f"{'tokens':>8}  {'licence':<20}  {'source':<24}  document")
        for row in rows:
            print(f"{row.tokens:>8,}  {row.licence or 'unknown':<20}  {row.source or 'unknown':<24}  {row.document_id}")
        return
    assert document is not None, "one of the two is given"
    found = 0
    with progress.bar("trace", steps) as bar:
        for sighting in lineage.trace_document(path, document, batch_at, bar_steps(steps, bar)):
            print(f"step {sighting.step}: {sighting.tokens:,} tokens")
            found += 1
    print(f"{document} was read in {found} of {steps} steps")


def bar_steps(steps: int, bar: progress.Bar) -> Iterator[int]:
    """Yields 1 to `steps`, moving `bar`."""
    for step in range(1, steps + 1):
        yield step
        bar.update(step)


def batches(run: Path) -> tuple[BatchAt, int]:
    """Returns what makes a step's batch again, and how many steps pretraining has; the step is numbered from 1."""
    from gristlm.pretrain import PretrainConfig
    from gristlm.pretrain.data import open_loader

    config = PretrainConfig.model_validate(artifact.started_config(run / "pretrain"))
    loader = open_loader(config, run / "tokens")
    return (lambda step: loader.batch(step - 1)), config.steps
