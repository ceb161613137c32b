"""Tensor parallelism by a plan: each matrix inside a block is cut, and its parts stay on different processes.

As in Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053, section 3): the first matrices of attention and feed-forward
by their outputs, so that each process has whole heads, the last by their inputs, and one sum over the processes at the
end of each. Embedding, norms and head are computed by all of them alike.
"""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Placement, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from gristlm.errors import ConfigError
from gristlm.model import Model, ModelConfig

_HEADS_DIM = 2  # of queries and keys, [B, T, N, H]


def check(config: ModelConfig, degree: int, world_size: int) -> None:
    """Refuses what cannot be cut into `degree` parts.

    Raises:
        ConfigError: names the size that does not divide.
    """
    if world_size % degree:
        raise ConfigError(
            f"tensor_parallel is {degree}, which {world_size} processes cannot be divided by; start a multiple of it"
        )
    if degree > 1 and config.num_experts:
        raise ConfigError("tensor_parallel cuts dense feed-forward blocks; this model has experts: set it to 1")
    sizes = {"num_heads": config.num_heads, "num_kv_heads": config.num_kv_heads, "d_ff": config.d_ff}
    for name, size in sizes.items():
        if size % degree:
            raise ConfigError(f"tensor_parallel is {degree}, which does not divide model.{name} {size}")


def parallelize(model: Model, mesh: DeviceMesh) -> None:
    """Cuts the matrices of every block over the processes of a one-dimensional mesh, in place."""
    for block in model.layers:
        parts = {name for name, _ in block.named_modules()}
        parallelize_module(block, mesh, {name: style for name, style in _plan().items() if name in parts})


def _plan() -> dict[str, ParallelStyle]:
    whole: Placement = Replicate()
    attention_inputs = (whole, None, None, None, None)
    return {
        "self_attn": PrepareModuleInput(input_layouts=attention_inputs, desired_input_layouts=attention_inputs),
        "self_attn.q_proj": ColwiseParallel(),
        "self_attn.k_proj": ColwiseParallel(),
        "self_attn.v_proj": ColwiseParallel(),
        "self_attn.value_embed": ColwiseParallel(),
        # Each process norms its own heads; the gradient of the shared weight is summed.
        "self_attn.q_norm": SequenceParallel(sequence_dim=_HEADS_DIM, use_local_output=True),
        "self_attn.k_norm": SequenceParallel(sequence_dim=_HEADS_DIM, use_local_output=True),
        "self_attn.o_proj": RowwiseParallel(),
        "mlp": PrepareModuleInput(input_layouts=(whole,), desired_input_layouts=(whole,)),
        "mlp.gate_proj": ColwiseParallel(),
        "mlp.up_proj": ColwiseParallel(),
        "mlp.down_proj": RowwiseParallel(),
    }
