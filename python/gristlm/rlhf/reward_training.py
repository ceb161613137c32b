"""Training a reward model on pairs of a better and a worse answer (Ouyang et al. 2022, sec. 3.5).

The loss of a pair is -log sigmoid(chosen - rejected - margin) + center_coef · (chosen + rejected)². The order of pairs
is a function of (seed, epoch), so a run that was cut off ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from gristlm.errors import ConfigError, TrainingError
from gristlm.rlhf.config import RewardConfig
from gristlm.rlhf.data import Pair, read_pairs
from gristlm.rlhf.reward_measures import measure
from gristlm.rlhf.reward_model import RewardModel
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest, Stage
from gristlm.training import checkpoint, device, memory, optimizer, schedule
from gristlm.training.metrics import MetricsLog

_FINAL_FRACTION = 0.1
EncodedPair = tuple[list[int], list[int], float]


def train_reward(config: RewardConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Returns the manifest of a reward model trained on preference pairs.

    Args:
        config: the `[reward]` table.
        inputs: "checkpoint" (a directory, usually the tuned model's), "data" (JSON Lines of prompt, chosen, rejected),
            optionally "heldout_data".
        output_dir: gets `checkpoints/`, `final/` (for `RewardModel.from_pretrained`) and `metrics.jsonl`. The manifest
            counts `accuracy` on held-out pairs (a tie is wrong) with its 95 % interval `accuracy_low`, `accuracy_high`
            (Wilson 1927), or none of them without held-out data.

    Raises:
        ConfigError, FormatError: settings or files do not fit; names which.
        TrainingError: the loss is not finite.
    """
    absent = [name for name in ("checkpoint", "data") if name not in inputs]
    if absent:
        raise ConfigError(f"the reward stage needs the input {absent[0]!r}; given {', '.join(inputs) or 'none'}")
    stage = artifact.begin(output_dir, kind="reward", config=config, inputs=inputs)
    if stage.manifest is not None:
        return stage.manifest
    try:
        return _train(config, inputs, stage)
    finally:
        stage.close()


def _train(config: RewardConfig, inputs: Mapping[str, Path], stage: Stage) -> Manifest:
    start = inputs["checkpoint"]
    where = device.pick(config.num_threads)
    if artifact.is_complete(start):
        artifact.verify(start)
    pairs = _some(read_pairs(inputs["data"]), config.max_pairs, config.seed)
    models, dropped = [], 0
    for member in range(1, config.ensemble + 1):
        model = RewardModel.from_checkpoint(start, device=where)
        dropped = _fit(model, _drawn(pairs, config, member), config, inputs, _folder(stage.path, member), member)
        models.append(model)
    model = models[0]
    model.join(models[1:], config.pessimism)
    steps = _steps(len(pairs) - dropped if config.ensemble == 1 else len(pairs), config)
    counts: dict[str, object] = {"pairs": len(pairs) - dropped, "dropped_pairs": dropped, "steps": steps}
    if "heldout_data" in inputs:
        heldout = _some(read_pairs(inputs["heldout_data"]), config.max_heldout_pairs, config.seed)
        counts |= measure(model, heldout, _limit(model, config))
        progress.say(
            f"  reward model: {counts['accuracy']:.1%} of {counts['heldout_pairs']} held-out pairs in the right order "
            f"(95 % interval {counts['accuracy_low']:.1%} to {counts['accuracy_high']:.1%})"
        )
    checkpoint.write_final(stage.path, model, tokenizer_dir=start)
    return stage.finish(counts=counts)


def _folder(stage: Path, member: int) -> Path:
    return stage if member == 1 else stage / f"member-{member}"


def _limit(model: RewardModel, config: RewardConfig) -> int:
    return min(config.max_seq_len or model.config.max_seq_len, model.config.max_seq_len)


def _steps(pairs: int, config: RewardConfig) -> int:
    return math.ceil(pairs / config.global_batch_size) * config.epochs


def _drawn(pairs: list[Pair], config: RewardConfig, member: int) -> list[Pair]:
    """Returns a member's pairs: all where it is alone, else as many drawn with replacement (Breiman 1996)."""
    if config.ensemble == 1:
        return pairs
    places = np.random.default_rng((config.seed, member)).integers(len(pairs), size=len(pairs))
    return [pairs[i] for i in places]


def _fit(
    model: RewardModel, given: list[Pair], config: RewardConfig, inputs: Mapping[str, Path], folder: Path, member: int
) -> int:
    """Trains one model, its checkpoints and metrics in `folder`; returns how many pairs were too long."""
    limit = _limit(model, config)
    pairs, dropped = _encoded(model, given, limit)
    if not pairs:
        raise ConfigError(
            f"{inputs['data']}: none of its {dropped} pairs fits into {limit} tokens; raise reward.max_seq_len"
        )
    folder.mkdir(exist_ok=True)
    steps_per_epoch = math.ceil(len(pairs) / config.global_batch_size)
    steps = _steps(len(pairs), config)
    trainer = optimizer.build(model, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
    latest = checkpoint.latest(folder)
    done = 0
    if latest is not None:
        checkpoint.restore(latest, model, trainer)
        done = checkpoint.step_of(latest)
    log = MetricsLog(folder)
    log.truncate(done)
    name = "reward model" if config.ensemble == 1 else f"reward model {member} of {config.ensemble}"
    with progress.bar(name, steps) as bar:
        bar.update(done)
        for step in range(done + 1, steps + 1):
            started = time.perf_counter()
            epoch, place = divmod(step - 1, steps_per_epoch)
            key = (config.seed, epoch) if member == 1 else (config.seed, epoch, member)
            order = np.random.default_rng(key).permutation(len(pairs))
            batch = [pairs[i] for i in order[place * config.global_batch_size :][: config.global_batch_size]]
            loss, accuracy = _accumulate(model, batch, config)
            rate = schedule.learning_rate(
                step,
                peak=config.learning_rate,
                warmup_steps=round(config.warmup_fraction * steps),
                total_steps=steps,
                final_fraction=_FINAL_FRACTION,
            )
            trainer.set_learning_rate(rate)
            grad_norm = trainer.clip_grad_norm(config.grad_clip)
            if not (math.isfinite(loss) and math.isfinite(grad_norm)):
                raise TrainingError(
                    f"step {step}: loss {loss}, gradient norm {grad_norm}: diverged; lower reward.learning_rate"
                )
            trainer.step()
            trainer.zero_grad()
            speed = len(batch) / (time.perf_counter() - started)
            log.write(step, loss=loss, accuracy=accuracy, lr=rate, grad_norm=grad_norm, pairs_per_second=speed)
            memory.release(step)
            bar.update(step, loss=loss, accuracy=accuracy)
            if step % config.checkpoint_every == 0 or step == steps:
                checkpoint.save(
                    folder,
                    step,
                    model,
                    trainer,
                    tokenizer_dir=inputs["checkpoint"],
                    state={},
                    keep_last=config.keep_last,
                )
    return dropped


def _some(pairs: list[Pair], count: int | None, seed: int) -> list[Pair]:
    """Returns `count` of the pairs, chosen by the seed, in their order."""
    if count is None or count >= len(pairs):
        return pairs
    return [pairs[i] for i in sorted(np.random.default_rng(seed).permutation(len(pairs))[:count].tolist())]


def _encoded(model: RewardModel, pairs: Sequence[Pair], limit: int) -> tuple[list[EncodedPair], int]:
    """Returns the pairs that fit into `limit` tokens, encoded, and how many do not."""
    encoded = [(model.encode(pair.chosen), model.encode(pair.rejected), pair.margin) for pair in pairs]
    fitting = [pair for pair in encoded if max(len(pair[0]), len(pair[1])) <= limit]
    return fitting, len(encoded) - len(fitting)


def _accumulate(model: RewardModel, batch: Sequence[EncodedPair], config: RewardConfig) -> tuple[float, float]:
    """Adds the gradient of one batch; returns its mean loss and the share of pairs in the right order."""
    loss_sum, right = 0.0, 0
    by_length = sorted(batch, key=lambda pair: max(len(pair[0]), len(pair[1])))
    for start in range(0, len(by_length), config.micro_batch_size):
        piece = by_length[start : start + config.micro_batch_size]
        rewards = model.reward([pair[0] for pair in piece] + [pair[1] for pair in piece])
        chosen, rejected = rewards[: len(piece)], rewards[len(piece) :]
        margins = torch.tensor([pair[2] + config.margin for pair in piece], device=rewards.device)
        ranking = -logsigmoid(chosen - rejected - margins)
        loss = (ranking + config.center_coef * (chosen + rejected).square()).sum() / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.item()
        right += int((chosen > rejected).sum())
    return loss_sum, right / len(batch)
