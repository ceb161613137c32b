"""The pretraining loop, readable top to bottom.

Everything random is a function of (seed, step): the initial weights of the seed, the rows of a step by the loader. So
a run that was cut off and goes on from its newest checkpoint ends with the same bits as one that was not (on the same
machine, with as many threads).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from pathlib import Path

import torch

from gristlm.errors import ConfigError, TrainingError
from gristlm.model import Model, ModelConfig, float8
from gristlm.pretrain.carried import BestSoFar, restored, saved
from gristlm.pretrain.config import PretrainConfig
from gristlm.pretrain.data import folders, open_loader
from gristlm.pretrain.heldout import ByteTokenizer, HeldOut, bytes_of, measure, token_bytes
from gristlm.pretrain.samples import Samples
from gristlm.pretrain.telemetry import Telemetry
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.tokenize import Tokenizer
from gristlm.training import batches, checkpoint, device, distributed, memory, optimizer, tensor_parallel
from gristlm.training.averages import Averages
from gristlm.training.background import Writer
from gristlm.training.checkpoint import Snapshot
from gristlm.training.diagnosis import first_not_finite
from gristlm.training.distributed import Ranks
from gristlm.training.packed_loader import Batch
from gristlm.training.questions import Questions
from gristlm.training.schedule import learning_rate
from gristlm.training.spikes import Spikes

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
# What the live line shows; the rest is in metrics.jsonl.
SHOWN = ("loss", "bits_per_byte", "heldout_bits_per_byte", "lr", "tokens_per_second", "skipped_updates")


def run(config: PretrainConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Trains a model, or goes on with one that was cut off; writes checkpoints, `final/` and `metrics.jsonl`.

    Args:
        config: the settings.
        inputs: `tokens`, an artifact of the tokenize stage, and `tokenizer`, the tokenizer that it was made with.
        output_dir: the stage's directory.

    Returns:
        The manifest; its counts have steps, tokens, parameters, heldout_loss and heldout_bits_per_byte.

    Raises:
        ConfigError: the settings do not fit each other or the tokenizer.
        TrainingError: the loss or a gradient is not finite; names the step and its documents.
    """
    with distributed.joined(config.tensor_parallel) as ranks:
        if not ranks.first:
            progress.enable(False)
        others = {name: path for name, path in folders(config, inputs["tokens"]).items() if name in config.mixture}
        read = {**inputs, **others}
        stage = artifact.begin(output_dir, kind="pretrain", config=config, inputs=read) if ranks.first else None
        if not ranks.from_first(stage is not None and stage.manifest is not None):
            with contextlib.closing(stage) if stage is not None else contextlib.nullcontext():
                counts = _train(config, inputs["tokens"], inputs["tokenizer"], output_dir, ranks)
                if stage is not None:
                    stage.finish(counts=counts)
        ranks.from_first(None)
        return artifact.load(output_dir, kind="pretrain")


def _train(
    config: PretrainConfig, tokens_dir: Path, tokenizer_dir: Path, stage_dir: Path, ranks: Ranks
) -> dict[str, object]:
    sources = folders(config, tokens_dir)
    for source in sources.values() if ranks.first else ():
        artifact.verify(source)
    tokenizer = Tokenizer.from_file(tokenizer_dir)
    shape = _shape(config, tokenizer)
    tensor_parallel.check(shape, config.tensor_parallel, ranks.world_size)
    target = device.pick(config.num_threads)
    model = Model(shape, seed=config.seed).to(target)
    model.recompute = config.recompute
    if config.float8:
        _check_float8(config, target)
        model.use_float8()
    distributed.shard(model, ranks)
    if config.compile:
        for block in model.layers:
            block.compile()
    optim = optimizer.build(
        model,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        kind=config.optimizer,
        table_lr_scale=config.table_lr_scale,
    )
    seq_len, batch_size = config.seq_len, ranks.rows(config.global_batch_size)
    rows = min(config.micro_batch_size or batch_size, batch_size)
    loader = open_loader(config, tokens_dir, rank=ranks.data_rank, world_size=ranks.data_size)
    staging = batches.Staging(target) if target.type == "cuda" else None
    lengths = token_bytes(tokenizer, shape.vocab_size or 0)
    heldout = {
        name: HeldOut(
            source / "heldout",
            seq_len=seq_len,
            batch_size=config.global_batch_size,
            num_batches=config.evaluate_batches,
            lengths=lengths,
        )
        for name, source in sources.items()
    }
    questions = Questions.read(config.questions, tokenizer, shape.max_seq_len)
    samples = Samples(
        config,
        stage_dir,
        tokenizer=tokenizer,
        max_seq_len=shape.max_seq_len,
        heldout=tokens_dir / "heldout",
        ranks=ranks,
    )
    report = Telemetry(config, stage_dir, shape, target, ranks)
    averages = Averages(model, config.ema_decay) if config.ema_decay is not None else None
    as_final = averages.in_place if averages is not None else contextlib.nullcontext
    start, tokens, watch, spikes = 0, 0, BestSoFar(config.patience), Spikes(config.spike_deviations)
    newest = ranks.from_first(checkpoint.latest(stage_dir) if ranks.first else None)
    if newest is not None:
        state = checkpoint.restore(newest, model, optim, averages)
        start, tokens = checkpoint.step_of(newest), int(str(state["tokens"]))
        watch, spikes = restored(state, config)
        progress.say(f"  pretrain: going on from {newest}")
    save = functools.partial(checkpoint.save, stage_dir, tokenizer_dir=tokenizer_dir)
    report.begin(start)
    samples.begin(start)
    loader.seek(start)
    measured, done = dict[str, float](), start

    with progress.bar("pretrain", config.steps, "steps") as bar, contextlib.closing(report), Writer() as writer:
        for step in range(start + 1, config.steps + 1):
            if watch.ended:
                break
            report.step_begins()
            batch = next(loader)
            report.data_arrived()
            num_labels, num_bytes = ranks.sum((batch.labels >= 0).sum(), bytes_of(batch.labels, lengths))
            parts, mine = batches.split(batch, rows, target, staging), 0.0
            for part in parts:
                loss, nll = _loss(model, part, target, num_labels / ranks.data_size, config.z_loss)
                torch.autograd.backward(loss)
                mine += float(nll)
            (nats,) = ranks.sum(mine / ranks.data_size)
            grad_norm = optim.clip_grad_norm(config.grad_clip)
            if not math.isfinite(nats + grad_norm):
                where = first_not_finite(model, functools.partial(_losses, model, parts, target))
                raise _diverged(step, nats, grad_norm, batch, where)
            lr = learning_rate(
                step,
                peak=config.learning_rate,
                warmup_steps=config.warmup_steps,
                total_steps=config.steps,
                kind=config.schedule,
                final_fraction=config.final_fraction,
            )
            if not spikes.found(nats):
                optim.set_learning_rate(lr)
                optim.step()
            if averages is not None:
                averages.update(step)
            optim.zero_grad()
            device.synchronize(target)
            tokens, done = tokens + batch.input_ids.size * ranks.data_size, step
            bits = nats * num_labels / math.log(2) / max(1, num_bytes)
            figures = {"loss": nats, "bits_per_byte": bits, "lr": lr, "grad_norm": grad_norm}
            figures |= report.step_ends(batch.input_ids.size * ranks.data_size)
            if config.spike_deviations is not None:
                figures["skipped_updates"] = float(spikes.skipped)
            if step % config.evaluate_every == 0 or step == config.steps:
                with as_final():
                    measured = measure(heldout, model, rows) | questions.measure(model)
                watch.saw(step, measured["heldout_loss"])
                figures |= measured
            report.write(step, tokens, figures)
            if samples.due(step):
                with as_final():
                    samples.write(step, model)
            memory.release(step)
            bar.update(step, **{name: figures[name] for name in SHOWN if name in figures})
            if step % config.checkpoint_every == 0:
                state = {"tokens": tokens, "loader": loader.state_dict(), **saved(watch, spikes)}
                keeping = {"keep_last": config.keep_last, "keep_steps": [watch.step] if config.keep_best else []}
                writer.wait()
                if ranks.world_size == 1:
                    kept = Snapshot.take(model, optim, averages)
                    writer.submit(functools.partial(save, step, kept, kept, state=state, **keeping))
                elif (share := checkpoint.Share.take(model, optim, averages, ranks)).prepare(stage_dir, step):
                    if share.weights is not None:
                        writer.submit(functools.partial(save, step, share.weights, share, state=state, **keeping))
                    else:
                        writer.submit(functools.partial(share.write, stage_dir, step))

    with as_final():
        measured = measured or measure(heldout, model, rows) | questions.measure(model)
        kept = Snapshot.take(model)
    counts: dict[str, object] = {"steps": done, "tokens": tokens, "parameters": shape.num_parameters(), **measured}
    if config.spike_deviations is not None:
        counts["skipped_updates"] = spikes.skipped
    if ranks.first:
        final = checkpoint.write_final(stage_dir, kept, tokenizer_dir=tokenizer_dir, counts=counts)
        progress.say(
            f"  pretrain: {shape.num_parameters():,} parameters, {tokens:,} tokens, "
            f"{measured['heldout_bits_per_byte']:.4f} bits per byte on held-out documents; wrote {final}"
        )
    return counts


def _loss(
    model: Model, part: batches.MicroBatch, target: torch.device, total_tokens: float, z_loss: float
) -> tuple[torch.Tensor, torch.Tensor]:
    with device.autocast(target):
        return model.loss(
            part.input_ids,
            part.labels,
            position_ids=part.position_ids,
            cu_seqlens=part.cu_seqlens,
            total_tokens=total_tokens,
            z_loss=z_loss,
        )


def _losses(model: Model, parts: list[batches.MicroBatch], target: torch.device) -> None:
    for part in parts:
        _loss(model, part, target, 1.0, 0.0)


def _shape(config: PretrainConfig, tokenizer: ByteTokenizer) -> ModelConfig:
    """Returns the model's shape with what only the tokenizer knows filled in."""
    model, special = config.model, tokenizer.special_tokens
    if config.seq_len > model.max_seq_len:
        raise ConfigError(f"pretrain.seq_len is {config.seq_len}; model.max_seq_len allows {model.max_seq_len}")
    vocab_size = model.vocab_size or tokenizer.vocab_size
    if vocab_size < tokenizer.vocab_size:
        raise ConfigError(
            f"model.vocab_size is {vocab_size}, but the tokenizer has {tokenizer.vocab_size} tokens; leave it out"
        )
    ends = model.eos_token_ids or tuple(special[name] for name in (END_OF_TEXT,) if name in special)
    pad = special.get(PAD) if model.pad_token_id is None else model.pad_token_id
    return ModelConfig.model_validate(
        {**model.model_dump(), "vocab_size": vocab_size, "eos_token_ids": ends, "pad_token_id": pad}
    )


def _check_float8(config: PretrainConfig, target: torch.device) -> None:
    if not float8.supported(target):
        least = ".".join(map(str, float8.MIN_CAPABILITY))
        raise ConfigError(f"pretrain.float8 needs a CUDA device of compute capability {least}; this is {target}")
    if config.tensor_parallel > 1:
        raise ConfigError("pretrain.float8 and pretrain.tensor_parallel do not go together; leave one out")


def _diverged(step: int, loss: float, grad_norm: float, batch: Batch, where: str) -> TrainingError:
    documents = list(dict.fromkeys(batch.document_ids))
    shown = ", ".join(documents[:10]) + (f" and {len(documents) - 10} more" if len(documents) > 10 else "")
    return TrainingError(
        f"step {step}: the loss is {loss} and the gradient norm {grad_norm}; it begins in {where}; its batch holds the "
        f"documents {shown} (all of them: gristlm trace RUN --step {step}). "
        "Lower pretrain.learning_rate or raise pretrain.warmup_steps; the checkpoints before it are whole"
    )
