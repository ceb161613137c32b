"""Our model and optimizer beside a plain reference, in one process: the same weights and rows, equal loss curves first.

The reference is as small as the papers allow: RMSNorm (arXiv 1910.07467), rotary positions (2104.09864),
SwiGLU (2002.05202), scaled dot products, whole logits, torch's AdamW (1711.05101). Steps take turns, so that whatever
disturbs the machine disturbs both.

    python bench/pretraining.py [--text FILE] [--steps 60]
"""

import argparse
import dataclasses
import math
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from gristlm.model import Model, ModelConfig
from gristlm.training import optimizer

LEARNING_RATE, WEIGHT_DECAY, BETAS = 1e-3, 0.1, (0.9, 0.95)


def plain_loss(weights: dict[str, Tensor], shape: ModelConfig, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """Returns the mean loss of a causal decoder, every layer written out."""
    B, T = ids_BT.shape
    frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
    turns = torch.polar(torch.ones(T, shape.head_dim // 2), torch.arange(T)[:, None] * frequencies)

    def norm(x: Tensor, name: str) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + shape.norm_eps) * weights[f"{name}.weight"]

    def rotated(x_BTNH: Tensor) -> Tensor:
        pairs = torch.view_as_complex(torch.stack(x_BTNH.chunk(2, -1), -1)) * turns[:, None]
        return torch.cat(torch.view_as_real(pairs).unbind(-1), -1)

    x_BTD = weights["embed_tokens.weight"][ids_BT]
    for layer in range(shape.num_layers):
        attn, mlp = f"layers.{layer}.self_attn", f"layers.{layer}.mlp"
        h = norm(x_BTD, f"layers.{layer}.input_layernorm")
        q, k, v = ((h @ weights[f"{attn}.{name}_proj.weight"].T).view(B, T, -1, shape.head_dim) for name in "qkv")
        q, k = rotated(norm(q, f"{attn}.q_norm")), rotated(norm(k, f"{attn}.k_norm"))
        heads = (part.transpose(1, 2) for part in (q, k, v))
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)
        x_BTD = x_BTD + mixed.transpose(1, 2).reshape(B, T, -1) @ weights[f"{attn}.o_proj.weight"].T
        h = norm(x_BTD, f"layers.{layer}.post_attention_layernorm")
        gate, up = (h @ weights[f"{mlp}.{name}_proj.weight"].T for name in ("gate", "up"))
        x_BTD = x_BTD + (functional.silu(gate) * up) @ weights[f"{mlp}.down_proj.weight"].T
    logits_BTV = norm(x_BTD, "norm") @ weights["embed_tokens.weight"].T
    return functional.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten())


@dataclasses.dataclass
class Curves:
    """Losses (nats per token) and CPU seconds of each step, ours and the reference's."""

    ours: list[float] = dataclasses.field(default_factory=list)
    plain: list[float] = dataclasses.field(default_factory=list)
    ours_seconds: list[float] = dataclasses.field(default_factory=list)
    plain_seconds: list[float] = dataclasses.field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The reference's CPU time over ours, by the medians: above 1 we are faster."""
        middle = len(self.ours_seconds) // 2
        return sorted(self.plain_seconds)[middle] / sorted(self.ours_seconds)[middle]


def train_both(ids: Tensor, shape: ModelConfig, *, steps: int, rows: int, seed: int = 0) -> Curves:
    """Trains both on the same random windows of `ids`, step by step in turns.

    Raises:
        AssertionError: the losses of a step differ by more than 1e-3 of them.
    """
    model = Model(shape, seed=seed)
    weights = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    ours = optimizer.build(model, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, betas=BETAS)
    decayed = [value for name, value in weights.items() if value.ndim == 2 and "embed" not in name]
    others = [value for name, value in weights.items() if value.ndim == 1 or "embed" in name]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, fused=True)
    curves, random = Curves(), torch.Generator().manual_seed(seed)
    places = torch.arange(shape.max_seq_len)
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - shape.max_seq_len - 1, (rows, 1), generator=random)
        rows_BT, labels_BT = ids[starts + places], ids[starts + places + 1]

        begin = time.process_time()
        loss, nats = model.loss(rows_BT, labels_BT)
        torch.autograd.backward(loss)
        ours.update(LEARNING_RATE, 1.0)
        curves.ours_seconds.append(time.process_time() - begin)
        curves.ours.append(float(nats))

        begin = time.process_time()
        plain = plain_loss(weights, shape, rows_BT, labels_BT)
        adamw.zero_grad()
        plain.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        adamw.step()
        curves.plain_seconds.append(time.process_time() - begin)
        curves.plain.append(float(plain.detach()))
        assert math.isclose(curves.ours[-1], curves.plain[-1], rel_tol=1e-3), (len(curves.ours), curves)
    return curves


def characters(path: Path | None) -> Tensor:
    """Returns int64[T]: the characters of a file (default: what Python documents), numbered by their order."""
    if path is None:
        from pydoc_data import topics

        text = "\n".join(value for _, value in sorted(topics.topics.items()))
    else:
        text = path.read_text(encoding="utf-8")
    numbers = {character: number for number, character in enumerate(sorted(set(text)))}
    return torch.tensor([numbers[character] for character in text])


def main() -> None:
    """Prints the last losses of both and the ratio of their CPU times."""
    arguments = argparse.ArgumentParser(description="ours beside a plain reference, the same weights and rows")
    arguments.add_argument("--text", type=Path)
    arguments.add_argument("--steps", type=int, default=60)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    ids = characters(given.text)
    small = ModelConfig(vocab_size=int(ids.max()) + 1, num_layers=4, d_model=128, num_heads=4, max_seq_len=64)
    larger = small.model_copy(update={"num_layers": 6, "d_model": 320, "num_heads": 5, "max_seq_len": 512})
    larger = ModelConfig.model_validate({**larger.model_dump(include=set(larger.model_fields_set)), "vocab_size": 8192})
    for shape, rows, steps in ((small, 12, given.steps), (larger, 4, max(3, given.steps // 10))):
        curves = train_both(ids, shape, steps=steps, rows=rows)
        ours, plain = (sorted(each)[steps // 2] for each in (curves.ours_seconds, curves.plain_seconds))
        print(
            f"{shape.num_parameters() / 1e6:.2f} M weights, {rows} x {shape.max_seq_len}, {steps} steps: "
            f"loss {curves.ours[-1]:.4f} and {curves.plain[-1]:.4f}; CPU time of a step {1e3 * ours:.1f} and "
            f"{1e3 * plain:.1f} ms, ratio {curves.ratio:.2f}"
        )


if __name__ == "__main__":
    main()
