"""Generation's forward pass on the CPU, in float32: the network of `transformer` in one call of `_core.Decoder`.

A step multiplies a few rows with every weight, so reading weights and calling operators is what it costs; one call
reads each weight once, in the order in which it lies, and calls nothing. Prompts take the same way, so that a token's
logits are the same to the bit whatever stands beside it, in the same call or in none.

The laid-out copies are snapshots: who changes the model's weights must build others.

Shapes: T tokens, W of them whose logits are wanted, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gristlm import _core
from gristlm.model import rope
from gristlm.model.block import Block
from gristlm.model.cache import Cache
from gristlm.model.config import ModelConfig
from gristlm.model.feedforward import SwiGLU
from gristlm.model.transformer import Model

MAX_COPY_BYTES = 2**29
"""Weights in bytes above which no copy is made: then reading them from memory is what a step costs in any layout."""
_Array = npt.NDArray[np.float32]
_Layer = tuple[_Array, _Array | None, _Array, _Array, _Array, _Array, _Array, _Array | None]


class Step:
    """The network, ready to generate: built by `of`."""

    def __init__(self, model: Model) -> None:
        config = self._config = model.config
        self._embedding_VD = model.embed_tokens.weight.detach()
        self._decoder = _core.Decoder(
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            norm_eps=config.norm_eps,
            windows=[config.window(layer) for layer in range(config.num_layers)],
            layers=[_arrays(block, config) for block in model.layers if isinstance(block, Block)],
            norm=_array(model.norm.weight),
            head=_array(model.output_weight),
            num_threads=torch.get_num_threads(),
        )

    @classmethod
    @torch.no_grad()
    def of(cls, model: Model) -> Step | None:
        """Returns the ready network, or None where the plain one serves better.

        That is: other devices, other dtypes, large models, and shapes with experts or parts of our own.
        """
        weight = model.output_weight
        size = sum(parameter.numel() for parameter in model.parameters()) * weight.element_size()
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or size > MAX_COPY_BYTES:
            return None
        if model.config.num_experts or model.config.not_exportable:
            return None
        return cls(model)

    def __call__(
        self, ids_T: Tensor, rows: Sequence[int], positions: Sequence[int], wanted: Sequence[int], cache: Cache
    ) -> Tensor:
        """Returns the logits [W, V] of some of the tokens, and stores the keys and values of all in the cache.

        Args:
            ids_T: int64[T]; the tokens of one sequence stand in their order.
            rows: the row of the cache that each token's sequence has.
            positions: how many positions that row holds before the token.
            wanted: the tokens whose logits are returned, by place.
            cache: where they are.

        Raises:
            InputError: a row has no room.
        """
        cos, sin = (x.flatten(1).numpy() for x in rope.angles(self._config, torch.tensor(positions)[:, None]))
        x_TD = self._embedding_VD.index_select(0, ids_T).numpy()
        keys, values = (list(tensor.numpy()) for tensor in (cache.keys, cache.values))
        return torch.from_numpy(self._decoder.step(x_TD, cos, sin, rows, positions, wanted, keys, values))


def _arrays(block: Block, config: ModelConfig) -> _Layer:
    """Returns the weights of one block in the order in which `_core.Decoder` takes them."""
    attention, mlp = block.self_attn, block.mlp
    assert isinstance(mlp, SwiGLU), "other shapes are left to the plain network"
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    bias = norms = None
    if config.qkv_bias:
        biases: list[Tensor] = [part.bias for part in parts]
        bias = _array(torch.cat(biases))
    if config.qk_norm:  # a row per query and key head
        heads = (attention.q_norm.weight, config.num_heads), (attention.k_norm.weight, config.num_kv_heads)
        norms = _array(torch.cat([weight.expand(count, -1) for weight, count in heads]))
    return (
        _array(torch.cat([part.weight for part in parts])),
        bias,
        _array(attention.o_proj.weight),
        _array(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])),
        _array(mlp.down_proj.weight),
        _array(block.input_layernorm.weight),
        _array(block.post_attention_layernorm.weight),
        norms,
    )


def _array(tensor: Tensor) -> _Array:
    return tensor.detach().contiguous().numpy()
