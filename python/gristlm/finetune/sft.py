"""Supervised fine-tuning: the loss on the assistant's tokens, in one loop."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from gristlm.errors import TrainingError
from gristlm.finetune.batches import lay_out, split_over, step_indices
from gristlm.finetune.config import FinetuneConfig
from gristlm.finetune.keeping import Figures, Keeper, Watch, before_and_after, nothing
from gristlm.finetune.neftune import noisy
from gristlm.finetune.prepared import Prepared
from gristlm.finetune.reference import answer_logprobs
from gristlm.model import Model
from gristlm.runs import progress
from gristlm.training import checkpoint, distributed, memory, optimizer, schedule
from gristlm.training.device import autocast
from gristlm.training.distributed import ALONE, Ranks


def num_steps(config: FinetuneConfig, count: int) -> int:
    """Returns the steps of a run over `count` items (conversations or pairs)."""
    steps = max(1, round(config.epochs * count / min(config.global_batch_size, count)))
    return min(steps, config.max_steps or steps)


def learning_rate(config: FinetuneConfig, step: int, total_steps: int) -> float:
    """Returns the rate of a step (from 1)."""
    warmup_steps = round(config.warmup_ratio * total_steps) if config.warmup_steps is None else config.warmup_steps
    return schedule.learning_rate(
        step, peak=config.learning_rate, warmup_steps=warmup_steps, total_steps=total_steps,
        kind=config.schedule, final_fraction=config.final_fraction,
    )  # fmt: skip


def train(
    stage_dir: Path,
    model: Model,
    data: Prepared,
    heldout: Prepared | None,
    config: FinetuneConfig,
    *,
    max_seq_len: int,
    tokenizer_dir: Path,
    trained: checkpoint.Saves | None = None,
    watch: Watch = nothing,
    ranks: Ranks = ALONE,
) -> dict[str, object]:
    """Trains `model` in place, resuming what an earlier call left in `stage_dir`; returns the figures before and after.

    `trained` is what is optimised and kept, where that is not the whole model: adapters inside it. The loss of a step
    is the mean over all target tokens of its conversations, however they are divided over micro-batches and ranks.

    Raises:
        TrainingError: a loss is not finite; names the step.
    """
    batch_size, total_steps = min(config.global_batch_size, len(data)), num_steps(config, len(data))
    sharded = ranks.world_size > 1 and trained is None  # adapters are few: every rank holds the whole of them
    if sharded:
        distributed.shard(model, ranks)
    adamw = optimizer.build(model, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    keeper = Keeper(stage_dir, model, trained or model, adamw, config, tokenizer_dir=tokenizer_dir, ranks=ranks)

    def measure(step: int) -> Figures:
        return {"heldout_loss": _heldout_loss(model, heldout, config, max_seq_len, ranks), **watch(step)}

    first, before = keeper.begin(measure)
    after = before if first <= total_steps else measure(total_steps)
    model.train()
    with progress.bar("finetune", total_steps) as bar:
        for step in range(first, total_steps + 1):
            started = time.perf_counter()
            indices = step_indices(step - 1, seed=config.seed, count=len(data), batch_size=batch_size)
            sizes = data.lengths[indices]
            groups = split_over(
                sizes, ranks, most=config.micro_batch_size, tokens=config.micro_batch_tokens, packing=config.packing
            )
            batches = [
                lay_out(data, indices[group], packing=config.packing, max_seq_len=max_seq_len, device=model.device)
                for group, _ in groups
            ]
            counted = sum(int((b.labels >= 0).sum()) for b, (_, weight) in zip(batches, groups, strict=True) if weight)
            (targets,) = ranks.sum(counted)
            mine = 0.0
            for batch, (group, weight) in zip(batches, groups, strict=True):
                noise = noisy(model, batch, indices[group], alpha=config.neftune_alpha, seed=config.seed, step=step)
                with autocast(model.device), noise:
                    part, _ = model.loss(
                        batch.input_ids,
                        batch.labels,
                        cu_seqlens=batch.cu_seqlens,
                        total_tokens=targets / ranks.world_size,  # gradients are averaged over the ranks
                    )
                torch.autograd.backward(part * weight)
                mine += float(part.detach()) * weight
            (loss,) = ranks.sum(mine / ranks.world_size)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss of step {step} is {loss}; lower finetune.learning_rate (now {config.learning_rate})"
                )
            rate = learning_rate(config, step, total_steps)
            if not sharded:
                distributed.average_gradients(adamw.parameters, ranks)
            norm = adamw.update(rate, config.grad_clip)
            figures: Figures = {"loss": loss, "lr": rate, "grad_norm": norm}
            figures["tokens_per_second"] = speed = int(sizes.sum()) / (time.perf_counter() - started)
            last = step == total_steps
            if last or (config.evaluate_every and step % config.evaluate_every == 0):
                after = measure(step)
                figures |= after
            keeper.log(step, figures)
            memory.release(step)
            bar.update(step, loss=loss, tokens_per_second=speed)
            if last or step % config.checkpoint_every == 0:
                keeper.keep(step, before)
    return before_and_after(total_steps, before, after)


def _heldout_loss(
    model: Model, heldout: Prepared | None, config: FinetuneConfig, max_seq_len: int, ranks: Ranks
) -> float | None:
    """Returns the mean loss per target token, nats; None without held-out conversations."""
    if heldout is None:
        return None
    sums = answer_logprobs(
        model, heldout, packing=config.packing, tokens=config.micro_batch_tokens, max_seq_len=max_seq_len, ranks=ranks
    )
    return -float(sums.sum(dtype="float64")) / int(heldout.loss_mask.sum())
