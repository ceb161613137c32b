"""Float32 matrix products by the faster of the two libraries that a CPU build of torch carries.

torch gives float32 products to MKL, which on AMD processors leaves AVX-512 unused: measured 90 GFLOP/s on one core
where oneDNN reaches 200, from about 64 rows on. torch hands a product to oneDNN when it may lose precision
(`fp32_precision = "bf16"`); only processors with AMX then do lose any. So: the first use checks, once, that results
stay exact to float32 rounding, and without that, on other torch builds and on other devices everything stays as torch
has it. The permission is given product by product: attention's small products are slower with it.
"""

from __future__ import annotations

import functools
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gristlm.model import float8

_MATMUL: Any = getattr(torch.backends.mkldnn, "matmul", None)
MIN_ROWS = 16
"""With fewer rows oneDNN's preparation costs more than it saves."""


class Fast:
    """A context in which float32 CPU products go to oneDNN, where that is exact; else it changes nothing."""

    def __enter__(self) -> None:
        if _onednn_is_exact():
            _MATMUL.fp32_precision = "bf16"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _onednn_is_exact():
            _MATMUL.fp32_precision = "none"


@functools.cache
def _onednn_is_exact() -> bool:
    """Returns whether to ask for oneDNN here: AVX-512, a torch that can be told, and results exact to float32."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or getattr(_MATMUL, "fp32_precision", None) != "none":
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(128, 128, generator=generator) for _ in range(2))
    _MATMUL.fp32_precision = "bf16"
    try:
        product = a @ b
    finally:
        _MATMUL.fp32_precision = "none"
    return bool((product - (a.double() @ b.double())).abs().max() < 1e-4)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns `x weight^T + bias`, as `torch.nn.functional.linear`."""
    rows = x.numel() // max(1, x.shape[-1])
    if (
        x.device.type != "cpu"
        or torch.compiler.is_compiling()  # which has a choice of its own
        or x.dtype != torch.float32
        or weight.dtype != torch.float32
        or rows < MIN_ROWS
        or not _onednn_is_exact()
    ):
        return functional.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight)
    return out if bias is None else out + bias


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        with Fast():
            return functional.linear(x, weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        with Fast():
            grad_x = grad @ weight if ctx.needs_input_grad[0] else None
            grad_weight = grad.flatten(0, -2).t() @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight


class Linear(nn.Linear):
    """`torch.nn.Linear` with the products of this file; the model gives it its first weights."""

    in_float8 = False
    """Whether to multiply in float8 (`gristlm.model.float8`) where the sizes allow."""

    def reset_parameters(self) -> None:
        """Does nothing: weights are either drawn by the model or loaded."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns [..., out_features]."""
        if self.in_float8 and float8.fits(x, self.weight):
            out = float8.linear(x, self.weight)
            return out if self.bias is None else out + self.bias
        return linear(x, self.weight, self.bias)
