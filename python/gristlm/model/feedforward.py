"""The feed-forward half of a block: one dense network, or experts of which each token takes a few.

Shapes: B batch, T positions, D d_model, F width inside, E experts, M = B x T tokens, P = M x experts per token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gristlm.model.config import ModelConfig
from gristlm.model.products import Linear


class SwiGLU(nn.Module):
    """The gated feed-forward block, down(silu(gate(x)) * up(x)) (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.d_model, config.d_ff, bias=False)
        self.up_proj = Linear(config.d_model, config.d_ff, bias=False)
        self.down_proj = Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns what the block adds to the residual stream, [B, T, D]."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))
        return out


class SquaredReLU(nn.Module):
    """The feed-forward block without a gate, down(relu(up(x))^2) (arXiv 2109.08668)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up_proj = Linear(config.d_model, config.d_ff, bias=False)
        self.down_proj = Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns what the block adds to the residual stream, [B, T, D]."""
        out: Tensor = self.down_proj(_SquaredReLU.apply(self.up_proj(x_BTD)))
        return out


class _SquaredReLU(torch.autograd.Function):
    """relu(x)^2, saving one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return (positive * grads[0]).mul_(2.0)


class Router(nn.Module):
    """The matrix that scores a token's experts."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.d_model))

    def forward(self, x_MD: Tensor) -> Tensor:
        """Returns float32[M, E]: each token's probability of each expert."""
        return functional.linear(x_MD, self.weight.to(x_MD.dtype)).float().softmax(-1)


class Experts(nn.Module):
    """Many SwiGLU networks, of which each token takes those that its router finds most probable (Qwen3-MoE).

    Tokens are sorted by expert and each expert multiplies its own stretch (`grouped_mm`), so nothing is padded and no
    token is dropped. The loss that keeps experts equally busy is put into the gradient here, weighed by
    `balance_share`; the loss that is reported stays the plain one.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        experts, width, inner = config.num_experts, config.d_model, config.expert_d_ff
        self.taken, self.normed, self.balance_coef = (
            config.num_experts_per_token,
            config.norm_expert_weights,
            config.balance_coef,
        )
        self.balance_share = 1.0
        self.gate = Router(config)
        self.gate_up = nn.Parameter(torch.empty(experts, 2 * inner, width))
        """[E, 2F, D]: gate above up."""
        self.down = nn.Parameter(torch.empty(experts, width, inner))
        """[E, D, F]."""

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Returns what the block adds to the residual stream, [B, T, D]."""
        x_MD = x_BTD.flatten(0, 1)
        probabilities_ME = self.gate(x_MD)
        weights, chosen = probabilities_ME.topk(self.taken, -1)
        if self.normed:
            weights = weights / weights.sum(-1, keepdim=True)
        expert_P = chosen.flatten()
        order_P = expert_P.argsort(stable=True)
        counts_E = torch.bincount(expert_P, minlength=len(self.gate_up))
        ends_E = counts_E.cumsum(0).int()
        dtype = torch.get_autocast_dtype(x_MD.device.type) if _autocast(x_MD) else x_MD.dtype
        token_P = order_P // self.taken
        sorted_PD = x_MD.index_select(0, token_P).to(dtype)
        gate, up = _grouped(sorted_PD, self.gate_up.to(dtype).mT, ends_E).chunk(2, -1)
        mixed_PD = _grouped(functional.silu(gate) * up, self.down.to(dtype).mT, ends_E)
        mixed_PD = mixed_PD * weights.flatten().index_select(0, order_P).unsqueeze(1).to(dtype)
        out_MD = torch.zeros_like(x_MD, dtype=dtype).index_add(0, token_P, mixed_PD).to(x_BTD.dtype)
        if self.training and self.balance_coef:
            share_E = counts_E.float() / max(1, len(expert_P))
            balance = len(self.gate_up) * (share_E * probabilities_ME.mean(0)).sum()
            out_MD = _with_gradient_of(out_MD, balance * (self.balance_coef * self.balance_share))
        return out_MD.view(x_BTD.shape)


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def _grouped(x_PK: Tensor, weights_EKN: Tensor, ends_E: Tensor) -> Tensor:
    """Returns [P, N]: each expert's stretch of rows times its matrix."""
    out: Tensor = functional.grouped_mm(x_PK, weights_EKN, offs=ends_E)
    return out


def _with_gradient_of(x: Tensor, loss: Tensor) -> Tensor:
    out: Tensor = _WithGradientOf.apply(x, loss)
    return out


class _WithGradientOf(torch.autograd.Function):
    """Passes `x` on and adds a loss to the backward pass without adding it to any number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor) -> Tensor:
        ctx.save_for_backward(loss)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return grads[0], torch.ones_like(ctx.saved_tensors[0])


def build(config: ModelConfig) -> nn.Module:
    """Returns the feed-forward block of a shape."""
    if config.num_experts:
        return Experts(config)
    return SquaredReLU(config) if config.activation == "relu2" else SwiGLU(config)
