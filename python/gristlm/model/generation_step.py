"""Generation's forward pass on the CPU, in float32: the network of `transformer`, with less around its products.

A step multiplies a few rows with every weight, so reading weights and calling operators is what it costs. Decoding is
one call of `gristlm._core.Decoder`, whose sums do not depend on the other rows. Prompts are longer; for them three
things make the network cheaper, and change results by rounding only:

1. Weights are laid out once in the order in which oneDNN reads them, where that is exact to float32 (else they stay).
2. Products with the same input are one product: queries, keys and values; gate and up.
3. Nothing is kept for a gradient.

The laid-out copies are snapshots: who changes the model's weights must build others.

Shapes: R rows, D d_model, N query heads, K key/value heads, H head_dim, V vocab, F width of the feed-forward block.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from gristlm import _core
from gristlm.model import rope
from gristlm.model.attention import Attend
from gristlm.model.block import Block
from gristlm.model.cache import Cache
from gristlm.model.config import ModelConfig
from gristlm.model.feedforward import SwiGLU
from gristlm.model.transformer import Model

MAX_COPY_BYTES = 2**29
"""Weights in bytes above which no copy is made: then reading them from memory is what a step costs in any layout."""
_TYPICAL_ROWS = 256
_Array = npt.NDArray[np.float32]


class Product:
    """`x weight^T + bias` with a weight that was laid out once."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        weight = weight.detach()
        self.bias = None if bias is None else bias.detach()
        self._packed = _can_pack()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_ROWS) if self._packed else weight

    def __call__(self, x_RD: Tensor) -> Tensor:
        """Returns [R, out]."""
        if not self._packed:
            return functional.linear(x_RD, self._weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x_RD, self._weight, self.bias, "none", [], "")
        return out


@functools.cache
def _can_pack() -> bool:
    """Returns whether this torch has oneDNN's laid-out weights and multiplies with them exactly to float32."""
    try:
        generator = torch.Generator().manual_seed(0)
        x, weight = (torch.randn(n, 128, generator=generator) for n in (16, 64))
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
        product = torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool((product.double() - x.double() @ weight.double().t()).abs().max() < 1e-4)


class _Weights(NamedTuple):
    """The weights of one block as they are multiplied, in the order in which `_core.Decoder` takes them."""

    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    gate_up: Tensor
    down: Tensor
    before_attention: Tensor
    before_mlp: Tensor
    qk_norm: Tensor | None
    """Of the query and key norms, a row per query and key head."""

    @staticmethod
    def of(block: Block, config: ModelConfig) -> _Weights:
        attention, mlp = block.self_attn, block.mlp
        assert isinstance(mlp, SwiGLU), "other shapes are left to the plain network"
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases: list[Tensor] = [part.bias for part in parts]
        norms = None
        if config.qk_norm:
            heads = (attention.q_norm.weight, config.num_heads), (attention.k_norm.weight, config.num_kv_heads)
            norms = torch.cat([weight.expand(count, -1) for weight, count in heads])
        return _Weights(
            torch.cat([part.weight for part in parts]),
            torch.cat(biases) if config.qkv_bias else None,
            attention.o_proj.weight.detach(),
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
            mlp.down_proj.weight.detach(),
            block.input_layernorm.weight.detach(),
            block.post_attention_layernorm.weight.detach(),
            norms,
        )

    def arrays(self) -> tuple[_Array, _Array | None, _Array, _Array, _Array, _Array, _Array, _Array | None]:
        """Returns the same as arrays."""
        qkv, bias, *rest, norms = self
        some = [tensor.contiguous().numpy() for tensor in (qkv, *rest) if tensor is not None]
        bias_array, norm_array = (None if tensor is None else tensor.numpy() for tensor in (bias, norms))
        return some[0], bias_array, some[1], some[2], some[3], some[4], some[5], norm_array


@dataclasses.dataclass(frozen=True)
class _Layer:
    """The weights of one block, ready to be multiplied with."""

    qkv: Product
    out: Product
    gate_up: Product
    down: Product
    before_attention: Tensor
    before_mlp: Tensor
    qk_norm: Tensor | None
    """The weights of the query and key norms, one row per query and key head."""

    @staticmethod
    def of(weights: _Weights) -> _Layer:
        """Returns the layer with its weights laid out."""
        return _Layer(
            qkv=Product(weights.qkv, weights.qkv_bias),
            out=Product(weights.out, None),
            gate_up=Product(weights.gate_up, None),
            down=Product(weights.down, None),
            before_attention=weights.before_attention,
            before_mlp=weights.before_mlp,
            qk_norm=weights.qk_norm,
        )


class Step:
    """The network, ready to decode: built by `of`."""

    def __init__(self, model: Model) -> None:
        self._config = model.config
        self._embedding_VD = model.embed_tokens.weight.detach()
        weights = [_Weights.of(block, model.config) for block in model.layers if isinstance(block, Block)]
        self._layers = [_Layer.of(each) for each in weights]
        self._norm_D = model.norm.weight.detach()
        self._head = Product(model.output_weight, None)
        config = model.config
        self._decoder = _core.Decoder(
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            norm_eps=config.norm_eps,
            windows=[config.window(layer) for layer in range(config.num_layers)],
            layers=[each.arrays() for each in weights],
            norm=self._norm_D.numpy(),
            head=model.output_weight.detach().contiguous().numpy(),
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

    def logits(self, x_RD: Tensor) -> Tensor:
        """Returns [R, V] of the last layer's normalised output."""
        return self._head(x_RD)

    def decode(self, ids_R: Tensor, lengths: list[int], cache: Cache) -> Tensor:
        """Returns logits [R, V] of one more token in each of the first R rows of the cache, and stores it there.

        Args:
            ids_R: int64[R], the tokens.
            lengths: positions already in each row.
            cache: where they are.
        """
        cos, sin = (x.flatten(1).numpy() for x in rope.angles(self._config, torch.tensor(lengths)[:, None]))
        x_RD = self._embedding_VD.index_select(0, ids_R).numpy()
        keys, values = ([tensor.numpy() for tensor in tensors] for tensors in (cache.keys, cache.values))
        return torch.from_numpy(self._decoder.step(x_RD, cos, sin, lengths, keys, values))

    def __call__(self, ids_BT: Tensor, positions_BT: Tensor, attend: Attend) -> Tensor:
        """Returns the last layer's normalised output, [B, T, D], as `Model.run_blocks`."""
        config, eps = self._config, self._config.norm_eps
        heads, width, half = config.num_heads, config.head_dim, config.head_dim // 2
        turned = heads + config.num_kv_heads
        shape = ids_BT.shape
        cos, sin = (x.flatten(0, 1) for x in rope.angles(config, positions_BT))
        x_RD = self._embedding_VD.index_select(0, ids_BT.flatten())
        for number, layer in enumerate(self._layers):
            normed = functional.rms_norm(x_RD, (config.d_model,), layer.before_attention, eps)
            qkv = layer.qkv(normed).view(len(x_RD), -1, width)
            flat = qkv[:, :turned]
            if layer.qk_norm is not None:
                flat = functional.rms_norm(flat, (width,), None, eps) * layer.qk_norm
            first, second = flat[..., :half], flat[..., half:]
            qk = x_RD.new_empty(flat.shape)
            torch.mul(first, cos, out=qk[..., :half]).addcmul_(second, sin, value=-1)
            torch.mul(second, cos, out=qk[..., half:]).addcmul_(first, sin)
            q, k, v = qk[:, :heads], qk[:, heads:], qkv[:, turned:]
            x_RD = layer.out(
                attend(number, *(x.reshape(*shape, *x.shape[1:]) for x in (q, k, v))).reshape(len(x_RD), -1)
            ).add_(x_RD)
            normed = functional.rms_norm(x_RD, (config.d_model,), layer.before_mlp, eps)
            gate, up = layer.gate_up(normed).chunk(2, dim=-1)
            x_RD = layer.down(functional.silu(gate).mul_(up)).add_(x_RD)
        return functional.rms_norm(x_RD, (config.d_model,), self._norm_D, eps).view(*shape, -1)
