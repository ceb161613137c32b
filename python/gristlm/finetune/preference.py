"""Training on preferences: the losses of `losses.py` over pairs (or labelled answers), in one loop.

Where this leaves the papers: KTO's reference point z is the mean log-ratio of the micro-batch's own answers, not of
answers given to other prompts, which saves a third forward pass (ours; biased, but it tracks the same drift).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gristlm.errors import TrainingError
from gristlm.finetune import losses
from gristlm.finetune.batches import Batch, lay_out, split_over, step_indices
from gristlm.finetune.config import PER_TOKEN, REFERENCE_FREE, FinetuneConfig
from gristlm.finetune.keeping import Figures, Keeper, Watch, before_and_after, nothing
from gristlm.finetune.pair_batches import PairBatch, lay_out_pairs
from gristlm.finetune.prepared import Prepared
from gristlm.finetune.reference import answer_logprobs, cached, content_hash
from gristlm.finetune.sft import learning_rate, num_steps
from gristlm.model import Model
from gristlm.runs import progress
from gristlm.training import checkpoint, distributed, memory, optimizer
from gristlm.training.device import autocast
from gristlm.training.distributed import ALONE, Ranks


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers that were judged, M in all, and the U units that a step draws: pairs, or single answers (kto)."""

    prepared: Prepared
    """M conversations, each ending in an answer."""
    units: NDArray[np.int64]
    """int64[U, 2], the chosen and the rejected answer of each pair; or int64[U, 1]."""
    good: NDArray[np.bool_]
    """bool[M], True for the chosen (or desirable) answers."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64[M], target tokens of each answer."""
        return np.add.reduceat(self.prepared.loss_mask.astype(np.int64), self.prepared.offsets[:-1])

    @property
    def unit_sizes(self) -> NDArray[np.int64]:
        """int64[U], tokens of each unit."""
        sizes: NDArray[np.int64] = self.prepared.lengths[self.units].sum(1)
        return sizes


def train(
    stage_dir: Path,
    model: Model,
    data: Answers,
    heldout: Answers | None,
    config: FinetuneConfig,
    *,
    max_seq_len: int,
    tokenizer_dir: Path,
    model_digest: str,
    trained: checkpoint.Saves | None = None,
    watch: Watch = nothing,
    ranks: Ranks = ALONE,
) -> dict[str, object]:
    """Trains `model` in place, resuming what an earlier call left in `stage_dir`; returns the figures before and after.

    `trained` is what is optimised and kept, where that is not the whole model: adapters inside it.

    The model as it comes is the reference. With `cache_reference` its log-probabilities are computed once, before the
    first step, and kept in `reference.safetensors`; otherwise a frozen copy of it stays in memory.

    Raises:
        TrainingError: a loss is not finite; names the step.
    """
    batch_size, total_steps = min(config.global_batch_size, len(data.units)), num_steps(config, len(data.units))
    sharded = ranks.world_size > 1 and trained is None  # adapters are few: every rank holds the whole of them
    frozen, reference, heldout_reference = None, None, None
    if config.method not in REFERENCE_FREE and not config.cache_reference:
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
        if sharded:
            distributed.shard(frozen, ranks)
    if sharded:
        distributed.shard(model, ranks)
    if config.method not in REFERENCE_FREE:
        if frozen is None:
            file = stage_dir / "reference.safetensors"
            reference = _kept(file, model, data, config, max_seq_len, model_digest, ranks)
        if heldout is not None:
            file = stage_dir / "reference_heldout.safetensors"
            heldout_reference = _kept(file, model, heldout, config, max_seq_len, model_digest, ranks)
    adamw = optimizer.build(model, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    keeper = Keeper(stage_dir, model, trained or model, adamw, config, tokenizer_dir=tokenizer_dir, ranks=ranks)

    def measure(step: int) -> Figures:
        known = heldout_reference if step == 0 else None  # nothing has been learnt: the policy is the reference
        return {**_measure(model, heldout, heldout_reference, config, max_seq_len, ranks, known), **watch(step)}

    first, before = keeper.begin(measure)
    after = before if first <= total_steps else measure(total_steps)
    lengths = torch.from_numpy(data.lengths).to(model.device)
    model.train()
    # a shared prompt runs the blocks themselves, which sharded weights do not allow
    shared = config.packing and config.method != "kto" and not sharded

    def computed(units: NDArray[np.int64]) -> tuple[Tensor, Tensor | None, NDArray[np.int64]]:
        """Returns the log-probabilities of some units' answers, the reference's, and the answers."""
        answers = units.T.ravel()  # all chosen, then all rejected
        batch: Batch | PairBatch
        if shared:
            batch = lay_out_pairs(data.prepared, units, config=model.config, device=model.device)
        else:
            batch = lay_out(
                data.prepared, answers, packing=config.packing, max_seq_len=max_seq_len, device=model.device
            )
        logprobs = _sums(model, batch)
        ref = None
        if frozen is not None:
            with torch.no_grad():
                ref = _sums(frozen, batch)
        elif reference is not None:
            ref = torch.from_numpy(reference[answers]).to(model.device)
        return logprobs, ref, answers

    with progress.bar(config.method, total_steps) as bar:
        for step in range(first, total_steps + 1):
            started = time.perf_counter()
            units = step_indices(step - 1, seed=config.seed, count=len(data.units), batch_size=batch_size)
            sizes = data.unit_sizes[units]
            sums: dict[str, float] = {}
            groups = [
                (data.units[units[group]], weight * len(group) / len(units))
                for group, weight in split_over(
                    sizes, ranks, most=config.micro_batch_size, tokens=config.micro_batch_tokens, packing=config.packing
                )
            ]
            kl = 0.0
            if config.method == "kto":  # of the whole step, so that micro-batches and processes change nothing
                with torch.no_grad():
                    (kl,) = ranks.sum(sum(share * _mean_ratio(*computed(members)[:2]) for members, share in groups))
            for members, share in groups:
                logprobs, ref, answers = computed(members)
                good = torch.from_numpy(data.good[answers]).to(model.device)
                part = _loss(config, logprobs, ref, lengths[torch.from_numpy(answers)], good, kl)
                torch.autograd.backward(part * (share * ranks.world_size))  # they are averaged over the ranks
                of_part = {"loss": float(part.detach())}
                of_part |= _figures(config, logprobs.detach(), ref, lengths[torch.from_numpy(answers)], good)
                for name, value in of_part.items():
                    sums[name] = sums.get(name, 0.0) + share * value
            figures: dict[str, float] = dict(zip(sums, ranks.sum(*sums.values()), strict=True))
            if not math.isfinite(figures["loss"]):
                raise TrainingError(
                    f"the loss of step {step} is {figures['loss']}; lower learning_rate (now {config.learning_rate})"
                )
            rate = learning_rate(config, step, total_steps)
            if not sharded:
                distributed.average_gradients(adamw.parameters, ranks)
            norm = adamw.update(rate, config.grad_clip)
            speed = int(sizes.sum()) / (time.perf_counter() - started)
            last = step == total_steps
            measured: Figures = {}
            if last or (config.evaluate_every and step % config.evaluate_every == 0):
                after = measured = measure(step)
            keeper.log(step, {**figures, "lr": rate, "grad_norm": norm, "tokens_per_second": speed, **measured})
            memory.release(step)
            bar.update(step, loss=figures["loss"], accuracy=figures["accuracy"], margin=figures["margin"])
            if last or step % config.checkpoint_every == 0:
                keeper.keep(step, before)
    return before_and_after(total_steps, before, after)


def _kept(
    path: Path,
    model: Model,
    data: Answers,
    config: FinetuneConfig,
    max_seq_len: int,
    model_digest: str,
    ranks: Ranks = ALONE,
) -> NDArray[np.float32]:
    def compute() -> NDArray[np.float32]:
        return answer_logprobs(
            model,
            data.prepared,
            packing=config.packing,
            tokens=config.micro_batch_tokens,
            max_seq_len=max_seq_len,
            ranks=ranks,
        )

    return cached(path, content_hash(model_digest, data.prepared), compute, ranks)


def _sums(model: Model, batch: Batch | PairBatch) -> Tensor:
    with autocast(model.device):
        if isinstance(batch, PairBatch):
            return batch.logprobs(model)
        return batch.sums(model.token_logprobs(batch.input_ids, batch.labels, cu_seqlens=batch.cu_seqlens))


def _mean_ratio(logprobs: Tensor, ref: Tensor | None) -> float:
    """Returns the mean of log π - log π_ref."""
    return float((logprobs if ref is None else logprobs - ref).mean())


def _loss(
    config: FinetuneConfig, logprobs: Tensor, ref: Tensor | None, lengths: Tensor, good: Tensor, kl: float = 0.0
) -> Tensor:
    """Returns the mean loss over some units; `ref` is None where the method has no reference, `kl` is kto's."""
    chosen, rejected = logprobs[good], logprobs[~good]
    ref_chosen, ref_rejected = (None, None) if ref is None else (ref[good], ref[~good])
    normalised = config.length_normalised or config.method in PER_TOKEN
    chosen_lengths, rejected_lengths = (lengths[good], lengths[~good]) if normalised else (None, None)
    smoothing = {"robust": 0.1}.get(config.method, 0.0) if config.label_smoothing is None else config.label_smoothing
    match config.method:
        case "kto":
            return losses.kto(
                chosen, rejected, ref_chosen, ref_rejected, beta=config.beta, kl=kl,
                desirable_weight=config.desirable_weight, undesirable_weight=config.undesirable_weight,
            )  # fmt: skip
        case "simpo":
            return losses.simpo(
                chosen, rejected, beta=config.beta, gamma=config.gamma, label_smoothing=smoothing,
                chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths,
            )  # fmt: skip
        case "orpo":
            return losses.orpo(
                chosen, rejected, beta=config.beta, chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths
            )
        case "cpo":
            return losses.cpo(
                chosen, rejected, beta=config.beta, alpha=config.alpha, label_smoothing=smoothing,
                chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths,
            )  # fmt: skip
        case "ipo" | "hinge":
            plain = losses.ipo if config.method == "ipo" else losses.hinge
            return plain(
                chosen, rejected, ref_chosen, ref_rejected, beta=config.beta,
                chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths,
            )  # fmt: skip
    smoothed = losses.robust if config.method == "robust" else losses.dpo
    return smoothed(
        chosen, rejected, ref_chosen, ref_rejected, beta=config.beta, label_smoothing=smoothing,
        chosen_lengths=chosen_lengths, rejected_lengths=rejected_lengths,
    )  # fmt: skip


def _figures(
    config: FinetuneConfig, logprobs: Tensor, ref: Tensor | None, lengths: Tensor, good: Tensor
) -> dict[str, float]:
    """Returns `margin` and `accuracy` of the implicit rewards, and `kl` where there is a reference.

    An implicit reward is beta times log pi(y|x) - log pi_ref(y|x), per token where the method is. `margin` is the
    mean reward of the good minus that of the bad answers. `accuracy` is the share of pairs whose chosen answer has
    the higher reward (a tie is half right); for kto the share of answers whose reward has the sign of their label.
    `kl` is the mean of log pi - log pi_ref over the answers of the data, in nats per answer: an estimate of the KL
    only as far as the policy would give these answers.
    """
    ratios = logprobs if ref is None else logprobs - ref
    rewards = config.beta * (ratios / lengths if config.length_normalised or config.method in PER_TOKEN else ratios)
    chosen, rejected = rewards[good], rewards[~good]
    if config.method == "kto":
        right = torch.where(good, rewards, -rewards)
        margin = (chosen.sum() / max(1, len(chosen)) - rejected.sum() / max(1, len(rejected))).item()
    else:
        right = chosen - rejected
        margin = right.mean().item()
    figures = {"margin": margin, "accuracy": ((right > 0).float() + 0.5 * (right == 0).float()).mean().item()}
    return figures if ref is None else figures | {"kl": ratios.mean().item()}


def _measure(
    model: Model,
    heldout: Answers | None,
    reference: NDArray[np.float32] | None,
    config: FinetuneConfig,
    max_seq_len: int,
    ranks: Ranks,
    known: NDArray[np.float32] | None,
) -> Figures:
    """Returns the held-out loss, margin, KL, and accuracy with the bounds of its 95 % interval (Wilson 1927).

    `known` are the policy's log-probabilities, where they need not be computed.
    """
    if heldout is None:
        return {}
    if known is None:
        known = answer_logprobs(
            model,
            heldout.prepared,
            packing=config.packing,
            tokens=config.micro_batch_tokens,
            max_seq_len=max_seq_len,
            ranks=ranks,
        )
    logprobs = torch.from_numpy(known)
    answers = torch.from_numpy(heldout.units.T.ravel())
    ref = None if reference is None else torch.from_numpy(reference)[answers]
    lengths, good = torch.from_numpy(heldout.lengths)[answers], torch.from_numpy(heldout.good)[answers]
    figures = _figures(config, logprobs[answers], ref, lengths, good)
    low, high = _wilson(figures["accuracy"], len(heldout.units))
    loss = _loss(config, logprobs[answers], ref, lengths, good, _mean_ratio(logprobs[answers], ref)).item()
    return {
        "heldout_loss": loss,
        **{f"heldout_{name}": value for name, value in figures.items()},
        "heldout_accuracy_low": low,
        "heldout_accuracy_high": high,
    }


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = 1.959963984540054
    centre, spread = (
        share + z * z / (2 * count),
        z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)),
    )
    return (centre - spread) / (1 + z * z / count), (centre + spread) / (1 + z * z / count)
