"""Log-probabilities and losses from hidden states, without ever holding the logits of a whole batch.

Rows are taken in chunks whose logits stay in a core's cache. Two variants, because they can save different things:

* `token_logprobs`: one differentiable number per token. The gradient of each is known only later, so backward
  computes the chunk's logits again.
* `summed_loss`: one scalar. Its gradient is computed in the forward pass, chunk by chunk, so nothing is computed
  twice (ours; the same idea as fused linear cross-entropy kernels, arXiv 2410.10989).

Shapes: M rows (positions with a label), D d_model, V vocab.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gristlm.model.products import Fast

CHUNK_LOGITS = 2**20
"""Logits held at once, in elements: 4 MiB of float32."""
MIN_CHUNK_ROWS = 64
"""Fewer rows would leave matrix multiplication starved, whatever the vocabulary."""


def token_logprobs(
    x_MD: Tensor, weight_VD: Tensor, labels_M: Tensor, *, temperature: float = 1.0, softcap: float | None = None
) -> Tensor:
    """Returns float32[M]: log softmax(x W^T / temperature) at each row's label; differentiable once.

    `softcap` bends the logits first, see `soft_capped`.
    """
    x_MD = _matmul_input(x_MD)
    with torch.autocast(x_MD.device.type, enabled=False), Fast():
        logprobs: Tensor = _TokenLogprobs.apply(x_MD, weight_VD, labels_M, 1.0 / temperature, softcap)
    return logprobs


def summed_loss(
    x_MD: Tensor,
    weight_VD: Tensor,
    labels_M: Tensor,
    *,
    divisor: float,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Returns the training loss and the plain negative log-likelihood, both sums over rows divided by `divisor`.

    The loss is `sum(-log p(label) + z_loss * logsumexp(logits)^2) / divisor` (z-loss: PaLM, arXiv 2204.02311, section
    5), float32 and differentiable once; the likelihood carries no gradient.
    """
    x_MD = _matmul_input(x_MD)
    with torch.autocast(x_MD.device.type, enabled=False), Fast():
        loss, nll = _SummedLoss.apply(x_MD, weight_VD, labels_M, divisor, z_loss, softcap)
    return loss, nll


def _matmul_input(x_MD: Tensor) -> Tensor:
    """Returns `x` in the precision that the caller's autocast asks of products (the norm before leaves float32)."""
    device = x_MD.device.type
    return x_MD.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x_MD


def _chunks(num_rows: int, vocab_size: int) -> list[slice]:
    rows = max(MIN_CHUNK_ROWS, CHUNK_LOGITS // vocab_size)
    return [slice(start, min(start + rows, num_rows)) for start in range(0, num_rows, rows)]


def soft_capped(logits: Tensor, softcap: float | None) -> Tensor:
    """Returns c * tanh(logits / c) for the soft cap c (Gemma 2, arXiv 2408.00118); None: the logits as given."""
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _logits(x_MD: Tensor, weight_VD: Tensor, softcap: float | None) -> Tensor:
    """Returns fresh float32 logits."""
    logits = torch.mm(x_MD, weight_VD.to(x_MD.dtype).t()).float()
    return logits if softcap is None else logits.div_(softcap).tanh_().mul_(softcap)


def _slope(logits: Tensor, softcap: float) -> Tensor:
    """Returns the derivative of `soft_capped`, given what it returned."""
    return torch.addcmul(torch.ones((), device=logits.device), logits, logits, value=-1.0 / softcap**2)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_MD: Tensor, weight_VD: Tensor, labels_M: Tensor, scale: float, softcap: float | None
    ) -> Tensor:
        logprobs_M = torch.empty(len(x_MD), dtype=torch.float32, device=x_MD.device)
        lse_M = torch.empty_like(logprobs_M)
        for rows in _chunks(len(x_MD), len(weight_VD)):
            logits = _logits(x_MD[rows], weight_VD, softcap).mul_(scale)
            lse_M[rows] = logits.logsumexp(-1)
            logprobs_M[rows] = logits.gather(1, labels_M[rows, None]).squeeze(1) - lse_M[rows]
        ctx.save_for_backward(x_MD, weight_VD, labels_M, lse_M)
        ctx.scale, ctx.softcap = scale, softcap
        return logprobs_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:
        with Fast():
            return _TokenLogprobs._backward(ctx, grad_M)

    @staticmethod
    def _backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:
        x_MD, weight_VD, labels_M, lse_M = ctx.saved_tensors
        grad_x = torch.empty_like(x_MD) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        for rows in _chunks(len(x_MD), len(weight_VD)):
            grad = grad_M[rows, None] * ctx.scale
            logits = _logits(x_MD[rows], weight_VD, ctx.softcap)
            slope = None if ctx.softcap is None else _slope(logits, ctx.softcap)
            grad_logits = logits.mul_(ctx.scale).sub_(lse_M[rows, None]).exp_().mul_(-grad)
            grad_logits.scatter_add_(1, labels_M[rows, None], grad)
            if slope is not None:
                grad_logits.mul_(slope)
            _backpropagate(grad_logits, x_MD, weight_VD, rows, grad_x, grad_weight)
        return grad_x, grad_weight, None, None, None


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_MD: Tensor,
        weight_VD: Tensor,
        labels_M: Tensor,
        divisor: float,
        z_loss: float,
        softcap: float | None,
    ) -> tuple[Tensor, Tensor]:
        nll = torch.zeros((), dtype=torch.float64, device=x_MD.device)
        squares = torch.zeros_like(nll)
        grad_x = torch.empty_like(x_MD) if ctx.needs_input_grad[0] else None
        grad_weight = torch.zeros_like(weight_VD) if ctx.needs_input_grad[1] else None
        for rows in _chunks(len(x_MD), len(weight_VD)):
            logits = _logits(x_MD[rows], weight_VD, softcap)
            slope = None if softcap is None else _slope(logits, softcap)
            top = logits.amax(-1, keepdim=True)
            at_label = logits.gather(1, labels_M[rows, None])
            weights = logits.sub_(top).exp_()
            sums = weights.sum(-1, keepdim=True)
            lse = sums.log() + top
            nll += (lse - at_label).sum(dtype=torch.float64)
            squares += lse.square().sum(dtype=torch.float64)
            if grad_x is None and grad_weight is None:
                continue
            factor = (1.0 + 2.0 * z_loss * lse) / divisor
            grad_logits = weights.mul_(factor / sums)
            grad_logits.scatter_add_(1, labels_M[rows, None], torch.full_like(at_label, -1.0 / divisor))
            if slope is not None:
                grad_logits.mul_(slope)
            _backpropagate(grad_logits, x_MD, weight_VD, rows, grad_x, grad_weight)
        ctx.save_for_backward(grad_x, grad_weight)
        nll_mean = (nll / divisor).float()
        ctx.mark_non_differentiable(nll_mean)
        return ((nll + z_loss * squares) / divisor).float(), nll_mean

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, grad_nll: Tensor) -> tuple[Tensor | None, ...]:
        del grad_nll
        grad_x, grad_weight = ctx.saved_tensors
        x = None if grad_x is None else grad_x * grad_loss.to(grad_x.dtype)
        weight = None if grad_weight is None else grad_weight * grad_loss.to(grad_weight.dtype)
        return x, weight, None, None, None, None


def _backpropagate(
    grad_logits: Tensor, x_MD: Tensor, weight_VD: Tensor, rows: slice, grad_x: Tensor | None, grad_weight: Tensor | None
) -> None:
    """Adds one chunk's part to the gradients of the hidden states and of the output matrix."""
    grad_logits = grad_logits.to(x_MD.dtype)
    if grad_x is not None:
        torch.mm(grad_logits, weight_VD.to(x_MD.dtype), out=grad_x[rows])
    if grad_weight is not None and grad_weight.dtype == x_MD.dtype:
        grad_weight.addmm_(grad_logits.t(), x_MD[rows])
    elif grad_weight is not None:
        grad_weight += torch.mm(grad_logits.t(), x_MD[rows])
