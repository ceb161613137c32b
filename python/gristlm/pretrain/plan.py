"""What a pretraining run will need, on paper, before anything runs.

The figures are formulas over the shape; a test runs one step of the `1b` recipe on fake tensors and compares.
"""

from __future__ import annotations

import dataclasses

from gristlm.errors import InputError
from gristlm.model.config import ModelConfig
from gristlm.pretrain.config import PretrainConfig
from gristlm.training import flops

SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
WEIGHT_BYTES = 4
"""Weights, gradients and both averages of the optimizer are float32; products run in bfloat16 from copies."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run on paper."""

    model: ModelConfig
    parameters: int
    tokens: int
    steps: int
    flops: float
    """Of the whole run, in floating-point operations."""
    state_bytes: int
    """Weights, gradients and optimizer state of one rank."""
    activation_bytes: int
    """Of one rank's micro-batch, in bfloat16."""
    days: float
    dollars: float

    def to_text(self) -> str:
        """Returns the plan for a terminal."""
        shape = self.model
        return "\n".join(
            (
                f"model        {shape.num_layers} layers x {shape.d_model} wide, {shape.num_heads} heads "
                f"({shape.num_kv_heads} key/value), feed-forward {shape.d_ff}, vocabulary {shape.vocab_size:,}",
                f"parameters   {self.parameters:,}",
                f"tokens       {self.tokens:,} ({self.tokens / self.parameters:.1f} per weight), {self.steps:,} steps",
                f"compute      {self.flops:.3g} FLOPs",
                f"memory/rank  {self.state_bytes / 1e9:.2f} GB weights, gradients, optimizer + "
                f"{self.activation_bytes / 1e9:.2f} GB activations",
                f"time         {self.days * 24:.1f} hours ({self.days:.2f} days)",
                f"cost         {self.dollars:,.0f} dollars",
            )
        )


def amount(text: str) -> int:
    """Returns the number that `124M`, `2.5B` or `1000000` writes.

    Raises:
        InputError: it is none.
    """
    factor = SUFFIXES.get(text[-1:].upper(), 1.0)
    try:
        number = float(text[:-1] if factor != 1.0 else text) * factor
    except ValueError:
        number = -1.0
    if not 1 <= number < 1e18:
        raise InputError(f"{text!r} is no number of parameters or tokens; write 124M, 2.5B or 1000000")
    return round(number)


def shape_for(parameters: int, *, vocab_size: int = 50_304, max_seq_len: int = 1024) -> ModelConfig:
    """Returns the shape nearest to `parameters`: heads of 64, and about one layer per 64 of width as GPT-2 has."""
    best: ModelConfig | None = None
    for heads in range(1, 257):
        for layers in {max(1, round(heads * share)) for share in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)}:
            shape = ModelConfig(
                vocab_size=vocab_size, num_layers=layers, d_model=64 * heads, num_heads=heads, max_seq_len=max_seq_len
            )
            size = shape.num_parameters()
            if best is None or abs(size - parameters) < abs(best.num_parameters() - parameters):
                best = shape
    assert best is not None, "the loop has shapes"
    return best


def optimizer_bytes(shape: ModelConfig, optimizer: str) -> int:
    """Returns the optimizer's state: AdamW keeps two averages of each weight, Muon one of each block matrix."""
    total = shape.num_parameters()
    tables = (shape.vocab_size or 0) * shape.d_model * (1 if shape.tie_embeddings else 2)
    per_layer = 2 * shape.d_model + (2 * shape.head_dim if shape.qk_norm else 0)
    if shape.qkv_bias:
        per_layer += (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim
    vectors = shape.d_model + shape.num_layers * per_layer
    matrices = total - tables - vectors
    return WEIGHT_BYTES * (2 * (tables + vectors) + (1 if optimizer == "muon" else 2) * matrices)


def plan(
    config: PretrainConfig,
    *,
    gpus: int = 1,
    peak_flops: float = 989e12,
    mfu: float = 0.4,
    dollars_per_gpu_hour: float = 2.5,
) -> Plan:
    """Returns what a run needs.

    Args:
        config: the settings; `model.vocab_size` must be set.
        gpus: ranks.
        peak_flops: of one device; default: an H100 in bfloat16.
        mfu: share of the peak that training reaches.
        dollars_per_gpu_hour: price.
    """
    shape = config.model
    tokens = config.steps * config.global_batch_size * config.seq_len
    parameters = shape.num_parameters()
    operations = tokens * flops.per_token(shape, config.seq_len)
    state = (2 * WEIGHT_BYTES * parameters + optimizer_bytes(shape, config.optimizer)) // gpus
    rows = config.micro_batch_size or max(1, config.global_batch_size // gpus)
    per_position = 2 * shape.d_model if config.recompute else 2 * (8 * shape.d_model + 4 * shape.d_ff)
    activations = rows * config.seq_len * shape.num_layers * per_position
    days = operations / (peak_flops * mfu * gpus) / 86_400
    return Plan(
        shape,
        parameters,
        tokens,
        config.steps,
        operations,
        state,
        activations,
        days,
        days * 24 * gpus * dollars_per_gpu_hour,
    )
