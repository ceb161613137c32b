"""`gristlm finetune`: a checkpoint and conversations or pairs in, a tuned one out; or rounds of its own answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from gristlm.cli.options import ConfigFile, NumThreads, Output, Seed
from gristlm.cli.pretrain import TrainUnlessNamed
from gristlm.cli.verb import OVERRIDES, settings, verb, wrote
from gristlm.runs.layout import find_checkpoint

app = typer.Typer(
    cls=TrainUnlessNamed,
    help="Tune a model on conversations or preferences, or in rounds on its own best answers (`rounds`).",
)


@app.command("train", hidden=True, context_settings=OVERRIDES)
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

    On the model's own answers, scored by rewards, in rounds: gristlm finetune rounds
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


@app.command(context_settings=OVERRIDES)
@verb
def rounds(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="The model to start from: a checkpoint or a run.")],
    prompts: Annotated[Path, typer.Option("--prompts", help="Prompts to answer, one JSON object per line.")],
    output: Output,
    reward: Annotated[
        list[str] | None,
        typer.Option("--reward", help="What scores an answer, by its name in rlhf.rewards: FILE.py:FUNCTION, say."),
    ] = None,
    reward_model: Annotated[
        Path | None,
        typer.Option("--reward-model", help="A trained reward model (its final/ directory) that scores too."),
    ] = None,
    heldout_prompts: Annotated[
        Path | None, typer.Option("--heldout-prompts", help="Prompts to measure the score on, before and after.")
    ] = None,
    count: Annotated[int, typer.Option("--rounds", min=1, help="How often to generate, score, select, train.")] = 3,
    answers: Annotated[int, typer.Option("--answers", min=2, help="Answers to each prompt in each round.")] = 8,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="The longest answer, in tokens.")
    ] = 128,
    temperature: Annotated[float, typer.Option("--temperature", min=0.01, help="Sampling temperature.")] = 1.0,
    config: ConfigFile = None,
    seed: Seed = None,
    num_threads: NumThreads = None,
) -> None:
    """Tune a model on its own answers: generate, score, keep the best, train; and again from what was trained.

    With --finetune.method=sft the best answer to each prompt is learnt (best-of-n), with dpo and its kin the best over
    the worst. Several rewards are added up.

    Settings of each training: --finetune.learning_rate=1e-4 …; all of them: gristlm config schema finetune
    """
    from gristlm.errors import ConfigError
    from gristlm.finetune.rounds import RoundsConfig, run
    from gristlm.rlhf import RewardModel
    from gristlm.rlhf.data import Messages
    from gristlm.rlhf.rewards import REWARD_MODEL, Rewards, files
    from gristlm.training import device

    table = settings(context, config, "finetune", seed=seed, num_threads=num_threads)[0].finetune
    assert table is not None, "settings fills the tables it is asked for"
    names = [*(reward or ()), *([REWARD_MODEL] if reward_model is not None else ())]
    if not names:
        raise ConfigError("nothing scores the answers; give --reward FILE.py:FUNCTION or --reward-model DIR")
    model = None
    if reward_model is not None:
        model = RewardModel.from_pretrained(reward_model, device=device.pick(table.num_threads))
    rewards = Rewards(dict.fromkeys(names, 1.0), model)
    given = {"heldout_prompts": heldout_prompts, "reward_model": reward_model}
    inputs = {name: path for name, path in given.items() if path is not None} | files(names)
    shape = RoundsConfig(
        rounds=count, answers_per_prompt=answers, max_new_tokens=max_new_tokens, temperature=temperature,
        finetune=table, seed=table.seed, num_threads=table.num_threads, scored_by=", ".join(names),
    )  # fmt: skip
    run(
        shape,
        {"checkpoint": find_checkpoint(checkpoint), "prompts": prompts, **inputs},
        output,
        lambda asked, said, rows: rewards.total(rewards.score(cast("list[Messages]", asked), said, rows)).tolist(),
    )
    wrote(output / "final")
