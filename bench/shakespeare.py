"""How much is learnt in 40 CPU seconds of one thread: the recipe `shakespeare` beside a GPT-2-shaped reference.

The reference is written out here from the papers, with the shape and settings that nanoGPT documents for this text on a
CPU (4 layers, 4 heads, width 128, 12 windows of 64 characters): LayerNorm, learned positions, GELU, a tied head
(Radford et al. 2019), AdamW with a cosine. Each gets the steps that fit into its seconds by its own measured step, both
see windows drawn by the same seeds, and both are measured on the whole validation part (the last tenth).

    python bench/shakespeare.py FILE [--seconds 40]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from gristlm.cli.recipe import Recipe
from gristlm.model import Model, ModelConfig
from gristlm.runs.recipe import load, locate
from gristlm.training import optimizer
from gristlm.training.schedule import learning_rate
from pretraining import characters

LAYERS, HEADS, WIDTH, LENGTH, ROWS = 4, 4, 128, 64, 12
PEAK, LAST, WARMUP = 3e-3, 3e-4, 50
CALIBRATION = 12


class Learner(Protocol):
    """A model with its optimizer."""

    def step(self, number: int, total: int, inputs: Tensor, labels: Tensor) -> None:
        """Learns from int64[B, T] windows."""

    def loss(self, inputs: Tensor, labels: Tensor) -> float:
        """Returns the mean loss in nats."""


class Reference(nn.Module):
    """The GPT-2-shaped decoder."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens, self.places = nn.Embedding(vocab_size, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2 * LAYERS + 1))
        sizes = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH))
        self.layers = nn.ModuleList(nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in sizes) for _ in range(LAYERS))
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        for layer in self.layers:
            for back in (layer[1], layer[3]):
                nn.init.normal_(back.weight, std=0.02 / math.sqrt(2 * LAYERS))
        matrices = [parameter for parameter in self.parameters() if parameter.ndim == 2]
        vectors = [parameter for parameter in self.parameters() if parameter.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99), fused=True)

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        x = self.tokens(inputs) + self.places.weight[: inputs.shape[1]]
        for number, (qkv, out, up, down) in enumerate(self.layers):
            parts = qkv(self.norms[2 * number](x)).view(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + out(mixed.transpose(1, 2).flatten(2))
            x = x + down(functional.gelu(up(self.norms[2 * number + 1](x))))
        logits = functional.linear(self.norms[-1](x), self.tokens.weight)
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def step(self, number: int, total: int, inputs: Tensor, labels: Tensor) -> None:
        share = max(0.0, number - WARMUP) / max(1, total - WARMUP)
        rate = PEAK * number / WARMUP if number < WARMUP else LAST + (PEAK - LAST) * (1 + math.cos(math.pi * share)) / 2
        for group in self.adamw.param_groups:
            group["lr"] = rate
        self.adamw.zero_grad()
        self(inputs, labels).backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.adamw.step()

    @torch.no_grad()
    def loss(self, inputs: Tensor, labels: Tensor) -> float:
        return float(self(inputs, labels))


class Ours:
    """The recipe's model, optimizer and schedule."""

    def __init__(self, vocab_size: int) -> None:
        recipe = load(locate("shakespeare"), Recipe, {})
        self._config = recipe.pretrain
        shape = {**recipe.model.model_dump(exclude_unset=True), "vocab_size": vocab_size}
        self.model = Model(ModelConfig.model_validate(shape), seed=0)
        self._optimizer = optimizer.build(
            self.model, learning_rate=self._config.learning_rate, weight_decay=self._config.weight_decay,
            kind=self._config.optimizer, table_lr_scale=self._config.table_lr_scale,
        )  # fmt: skip

    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def step(self, number: int, total: int, inputs: Tensor, labels: Tensor) -> None:
        config = self._config
        loss, _ = self.model.loss(inputs, labels)
        torch.autograd.backward(loss)
        rate = learning_rate(
            number, peak=config.learning_rate, warmup_steps=config.warmup_steps, total_steps=total,
            kind=config.schedule, final_fraction=config.final_fraction,
        )  # fmt: skip
        self._optimizer.update(rate, config.grad_clip)

    @torch.no_grad()
    def loss(self, inputs: Tensor, labels: Tensor) -> float:
        return float(self.model.loss(inputs, labels)[1])


def race(make: Callable[[int], Learner], ids: Tensor, seconds: float) -> tuple[int, float, float]:
    """Returns steps, CPU seconds of a step, and the loss on the whole validation part after so many CPU seconds."""
    vocab_size, cut = int(ids.max()) + 1, len(ids) * 9 // 10
    train, held = ids[:cut], ids[cut:]

    def learn(learner: Learner, steps: int) -> float:
        random, places = torch.Generator().manual_seed(0), torch.arange(LENGTH)
        begun = time.process_time()
        for number in range(1, steps + 1):
            starts = torch.randint(0, len(train) - LENGTH - 1, (ROWS, 1), generator=random)
            learner.step(number, steps, train[starts + places], train[starts + places + 1])
        return time.process_time() - begun

    learn(make(vocab_size), 3)
    steps = int(seconds / (learn(make(vocab_size), CALIBRATION) / CALIBRATION))
    learner = make(vocab_size)
    took = learn(learner, steps)
    rows = (len(held) - 1) // LENGTH
    inputs, labels = (held[shift : shift + rows * LENGTH].view(rows, LENGTH) for shift in (0, 1))
    parts = [(a, b) for a, b in zip(inputs.split(256), labels.split(256), strict=True)]
    loss = sum(learner.loss(a, b) * len(a) for a, b in parts) / rows
    return steps, took / steps, loss


def main() -> None:
    """Prints a line for each."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("text", type=Path)
    arguments.add_argument("--seconds", type=float, default=40.0)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    ids = characters(given.text)
    contenders: tuple[tuple[str, Callable[[int], Learner], float], ...] = (
        ("reference", Reference, given.seconds),
        ("ours", Ours, given.seconds),
        ("ours, a quarter", Ours, given.seconds / 4),
    )  # fmt: skip
    for name, make, seconds in contenders:
        steps, step, loss = race(make, ids, seconds)
        weights = sum(parameter.numel() for parameter in make(int(ids.max()) + 1).parameters())
        print(
            f"{name}: {weights / 1e6:.2f} M weights, {steps} steps of {1e3 * step:.1f} ms in {steps * step:.1f} CPU "
            f"seconds: {loss:.4f} nats on the whole validation part",
            flush=True,
        )


if __name__ == "__main__":
    main()
