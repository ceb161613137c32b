"""`gristlm pretrain plan`: parameters, FLOPs, memory, time and cost before anything runs."""

from __future__ import annotations

from typing import Annotated

import typer

from gristlm.cli.options import ConfigFile
from gristlm.cli.verb import verb


@verb
def plan(
    config: ConfigFile = None,
    recipe: Annotated[str | None, typer.Option("--recipe", help="A recipe's name or file: its own sizes.")] = None,
    params: Annotated[str, typer.Option("--params", help="Parameters, e.g. 124M; the shape follows.")] = "124M",
    tokens: Annotated[str, typer.Option("--tokens", help="Tokens to train on, e.g. 2.5B.")] = "2.5B",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="Devices, one process each.")] = 1,
    seq_len: Annotated[int, typer.Option("--seq-len", min=2, help="Tokens per row.")] = 1024,
    batch_tokens: Annotated[str, typer.Option("--batch-tokens", help="Tokens per step.")] = "524288",
    micro_batch: Annotated[int, typer.Option("--micro-batch", min=1, help="Rows at once per device.")] = 16,
    peak_tflops: Annotated[float, typer.Option("--peak-tflops", min=0.001, help="Of one device (H100: 989).")] = 989.0,
    mfu: Annotated[float, typer.Option("--mfu", min=0.01, max=1.0, help="Share of it that training reaches.")] = 0.4,
    price: Annotated[float, typer.Option("--price", min=0.0, help="Dollars per device and hour.")] = 2.5,
) -> None:
    """Print parameters, FLOPs, memory per rank, time and cost of a run, on paper: nothing is built."""
    from gristlm.cli.recipe import Recipe
    from gristlm.pretrain.config import PretrainConfig
    from gristlm.pretrain.plan import amount, shape_for
    from gristlm.pretrain.plan import plan as make
    from gristlm.runs import recipe as recipes

    if recipe is not None or config is not None:
        file = recipes.locate(recipe) if recipe is not None else config
        whole = recipes.load(file, Recipe, {}, tables=("pretrain",))
        settings = whole.pretrain_config()
        if settings.model.vocab_size is None:
            size = whole.tokenizer.vocab_size if whole.tokenizer else 50_304
            settings = settings.model_copy(update={"model": settings.model.model_copy(update={"vocab_size": size})})
    else:
        rows = max(1, amount(batch_tokens) // seq_len)
        settings = PretrainConfig(
            model=shape_for(amount(params), max_seq_len=seq_len),
            steps=max(1, amount(tokens) // (rows * seq_len)),
            global_batch_size=rows,
            micro_batch_size=micro_batch,
            seq_len=seq_len,
        )
    made = make(settings, gpus=gpus, peak_flops=peak_tflops * 1e12, mfu=mfu, dollars_per_gpu_hour=price)
    print(made.to_text())
