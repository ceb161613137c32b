"""One layer of the network: attention and feed-forward, each on a normalised copy of the residual stream.

Shapes: B batch, T positions, D d_model, N query heads, K key/value heads, H head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gristlm.model import attention, feedforward, rope
from gristlm.model.config import ModelConfig
from gristlm.model.products import Linear


class Attention(nn.Module):
    """Grouped-query attention with rotary positions and, optionally, normalised queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d_model, head_dim, bias = config.d_model, config.head_dim, config.qkv_bias
        kv_width = config.num_kv_heads * head_dim
        self.head_dim = head_dim
        self.q_proj = Linear(d_model, config.num_heads * head_dim, bias=bias)
        self.k_proj = Linear(d_model, kv_width, bias=bias)
        self.v_proj = Linear(d_model, kv_width, bias=bias)
        self.o_proj = Linear(config.num_heads * head_dim, d_model, bias=False)
        if config.qk_norm:
            self.q_norm = nn.RMSNorm(head_dim, eps=config.norm_eps)
            self.k_norm = nn.RMSNorm(head_dim, eps=config.norm_eps)
        self.qk_norm = config.qk_norm
        self.value_embed: nn.Embedding | None = None
        if config.value_embeddings:
            table = torch.empty(config.vocab_size or 0, kv_width)
            self.value_embed = nn.Embedding.from_pretrained(table, freeze=False)  # type: ignore[no-untyped-call]

    def forward(
        self,
        x_BTD: Tensor,
        layer: int,
        input_ids: Tensor,
        angles: tuple[Tensor, Tensor],
        attend: attention.Attend,
    ) -> Tensor:
        """Returns what attention adds to the residual stream, [B, T, D]."""
        q_BTNH = self.q_proj(x_BTD).unflatten(-1, (-1, self.head_dim))
        k_BTKH = self.k_proj(x_BTD).unflatten(-1, (-1, self.head_dim))
        v_BTD = self.v_proj(x_BTD)
        if self.value_embed is not None:
            v_BTD = v_BTD + self.value_embed(input_ids)
        if self.qk_norm:
            q_BTNH, k_BTKH = self.q_norm(q_BTNH), self.k_norm(k_BTKH)
        v_BTKH = v_BTD.unflatten(-1, (-1, self.head_dim))
        mixed_BTNH = _attended(attend, layer, rope.rotate(q_BTNH, *angles), rope.rotate(k_BTKH, *angles), v_BTKH)
        out: Tensor = self.o_proj(mixed_BTNH.flatten(2))
        return out


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _attended(attend: attention.Attend, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor) -> Tensor:
    """Returns what `attend` does, kept out of compiled blocks.

    Documents of other lengths, or another layer's window, would have a block compiled anew until torch gives up.
    """
    return attend(layer, q_BTNH, k_BTKH, v_BTKH)


class Block(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.mlp = feedforward.build(config)

    def forward(
        self,
        x_BTD: Tensor,
        layer: int,
        input_ids: Tensor,
        angles: tuple[Tensor, Tensor],
        attend: attention.Attend,
    ) -> Tensor:
        """Returns the residual stream after this block."""
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), layer, input_ids, angles, attend)
        out: Tensor = x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
        return out
