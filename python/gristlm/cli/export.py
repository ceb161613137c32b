"""`gristlm export`: a checkpoint in the layout of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gristlm.cli.verb import verb, wrote


@verb
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, a stage or a run.")],
    format: Annotated[Literal["gguf", "hf"], typer.Option("--format", help="gguf (llama.cpp) or hf.")],
    output: Annotated[Path, typer.Option("--output", help="The .gguf file, or the directory.")],
    type: Annotated[Literal["f16", "f32"], typer.Option("--type", help="Of the matrices in a GGUF file.")] = "f16",
    max_shard_gb: Annotated[
        float | None, typer.Option("--max-shard-gb", min=0.001, help="hf: split weights into files of this size.")
    ] = None,
) -> None:
    """Write a checkpoint as one GGUF file for llama.cpp, or as a Hugging Face directory."""
    from gristlm.errors import InputError
    from gristlm.runs.layout import find_checkpoint

    source = find_checkpoint(checkpoint)
    if format == "gguf":
        from gristlm.model.gguf import export as write

        write(source, output, dtype=type)
    else:
        from gristlm.model import Model
        from gristlm.training.checkpoint import copy_tokenizer

        model = Model.from_pretrained(source)
        if model.config.not_exportable:
            raise InputError(
                f"{source} is no Hugging Face architecture: none computes {', '.join(model.config.not_exportable)}"
            )
        model.save_pretrained(output, max_shard_bytes=None if max_shard_gb is None else int(max_shard_gb * 1e9))
        copy_tokenizer(source, output)
    wrote(output)
