"""`gristlm bench`: measure the throughput on this machine, beside whatever peers are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristlm.cli.verb import verb, wrote


@verb
def bench(
    area: Annotated[
        str, typer.Argument(help="What to measure: tokenizer, data, packing, train or generate.")
    ] = "tokenizer",
    files: Annotated[
        list[Path] | None,
        typer.Option("--files", "--text", help="Text to measure on: files or folders; may be given again."),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option("--peers", help="Only these peers, e.g. tiktoken,tokenizers; all installed ones when not given."),
    ] = None,
    large: Annotated[
        bool, typer.Option("--large", help="Also the rows that take minutes: training on 100 MB.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", help="Directory for bench.json and bench.svg.")] = None,
) -> None:
    """Measure us beside the installed peers, in one process, on your files; equal results are asserted first."""
    from gristlm.bench import run_bench
    from gristlm.runs.files import write_atomic

    table = run_bench(
        area,
        files=files or (),
        peers=None if peers is None else [name.strip() for name in peers.split(",")],
        large=large,
    )
    print(table.to_text())
    if output is not None:
        write_atomic(output / "bench.json", table.to_json())
        write_atomic(output / "bench.svg", table.to_svg())
        wrote(output)
