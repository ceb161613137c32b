"""Products in float8: inputs and weights as e4m3, gradients as e5m2 (Micikevicius et al. 2022, arXiv 2209.05433).

Each tensor is scaled by its own largest value at each use, so nothing has to be remembered from step to step; sums are
made in float32. Weights, optimizer and everything but the products inside blocks stay as they are.

Shapes: M rows, K inputs, N outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MULTIPLE = 16
"""What the sizes of a product must be multiples of; others are computed without float8."""
MIN_CAPABILITY = (8, 9)
"""Of CUDA devices that multiply float8."""
_FORWARD, _GRADIENT = torch.float8_e4m3fn, torch.float8_e5m2


def supported(device: torch.device) -> bool:
    """Returns whether a device has instructions for these products."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= MIN_CAPABILITY


def fits(x: Tensor, weight: Tensor) -> bool:
    """Returns whether `x weight^T` can be computed so."""
    rows = x.numel() // max(1, x.shape[-1])
    return not any(size % MULTIPLE for size in (rows, *weight.shape))


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Returns `x weight^T`, [..., N], in x's dtype or autocast's; differentiable once.

    Args:
        x: [..., K].
        weight: [N, K].
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    out: Tensor = _Linear.apply(x.flatten(0, -2), weight, dtype)
    return out.view(*x.shape[:-1], len(weight))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_MK: Tensor, weight_NK: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(x_MK, weight_NK)
        return _product(_scaled(x_MK, _FORWARD), _scaled(weight_NK.t(), _FORWARD), dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_MK, weight_NK = ctx.saved_tensors
        grad_MN = _scaled(grads[0], _GRADIENT)
        grad_x = _product(grad_MN, _scaled(weight_NK, _FORWARD), x_MK.dtype) if ctx.needs_input_grad[0] else None
        turned = grad_MN[0].t(), grad_MN[1]
        grad_weight = _product(turned, _scaled(x_MK, _FORWARD), weight_NK.dtype) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None


def _scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns x / scale in float8, and the scale that makes its largest value the largest of the type."""
    scale = x.abs().amax().float().clamp_(min=torch.finfo(torch.float32).tiny * 2**16) / torch.finfo(dtype).max
    return (x / scale).to(dtype), scale


def _product(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], dtype: torch.dtype) -> Tensor:
    """Returns a b; the hardware reads a by rows and b by columns."""
    rows, columns = a[0].contiguous(), b[0].t().contiguous().t()
    half = torch.bfloat16 if rows.is_cuda else dtype
    return torch._scaled_mm(rows, columns, scale_a=a[1], scale_b=b[1], out_dtype=half).to(dtype)
