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
_Arrays = tuple[_Array, _Array | None, _Array, _Array, _Array, _Array, _Array, _Array | None]


class Product:
    """`x weight^T + bias` with a weight that was laid out once."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        weight = weight.detach()
        self.plain = weight
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

    def arrays(self) -> _Arrays:
        """Returns the weights as `_core.Decoder` takes them."""
        products = (self.qkv, self.out, self.gate_up, self.down)
        qkv, out, gate_up, down = (product.plain.contiguous().numpy() for product in products)
        return (
            qkv,
            None if self.qkv.bias is None else self.qkv.bias.numpy(),
            out,
            gate_up,
            down,
            self.before_attention.numpy(),
            self.before_mlp.numpy(),
            None if self.qk_norm is None else self.qk_norm.contiguous().numpy(),
        )

    @staticmethod
    def of(block: Block, config: ModelConfig) -> _Layer:
        attention, mlp = block.self_attn, block.mlp
        assert isinstance(mlp, SwiGLU), "other shapes are left to the plain network"
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases: list[Tensor] = [part.bias for part in parts]
        norms = None
        if config.qk_norm:
            norms = torch.cat(
                [
                    attention.q_norm.weight.expand(config.num_heads, -1),
                    attention.k_norm.weight.expand(config.num_kv_heads, -1),
                ]
            ).detach()
        return _Layer(
            qkv=Product(torch.cat([part.weight for part in parts]), torch.cat(biases) if config.qkv_bias else None),
            out=Product(attention.o_proj.weight, None),
            gate_up=Product(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]), None),
            down=Product(mlp.down_proj.weight, None),
            before_attention=block.input_layernorm.weight.detach(),
            before_mlp=block.post_attention_layernorm.weight.detach(),
            qk_norm=norms,
        )


class Step:
    """The network, ready to decode: built by `of`."""

    def __init__(self, model: Model) -> None:
        self._config = model.config
        self._embedding_VD = model.embed_tokens.weight.detach()
        self._layers = [_Layer.of(block, model.config) for block in model.layers if isinstance(block, Block)]
        self._norm_D = model.norm.weight.detach()
        self._head = Product(model.output_weight, None)
        config = model.config
        self._decoder = _core.Decoder(
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            norm_eps=config.norm_eps,
            windows=[config.window(layer) for layer in range(config.num_layers)],
            layers=[layer.arrays() for layer in self._layers],
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
