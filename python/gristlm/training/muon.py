"""Muon: momentum whose update is made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

Where this departs from the publication or from `torch.optim.Muon`:

1. Newton-Schulz runs in float32 on a CPU and in bfloat16 on CUDA only: CPUs without bfloat16 instructions take eight
   times as long there.
2. Updates are scaled by 0.2 sqrt(max(rows, columns)) (Moonlight, arXiv 2502.16982, section 2.2), which gives them the
   size of AdamW's, so that one learning rate serves the matrices here and the rest under AdamW.
3. Matrices of one shape go through Newton-Schulz as one batch.
4. Of sharded parameters every rank makes the whole matrices again and orthogonalizes all of them: simple, exact, and
   for models of a few billion weights a small part of a step.

Shapes: G matrices, R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gristlm.model.products import Fast
from gristlm.training.distributed import sharded_like, whole

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, chosen for the steepest rise of small singular values."""


def orthogonalize(matrices_GRC: Tensor, *, iterations: int = 5) -> Tensor:
    """Returns matrices with the singular vectors of the given ones and singular values in about [0.7, 1.2]."""
    a, b, c = COEFFICIENTS
    dtype = matrices_GRC.dtype
    x = matrices_GRC.bfloat16() if matrices_GRC.is_cuda else matrices_GRC.float()
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(dtype)


class Muon(torch.optim.Optimizer):
    """Muon for matrices.

    Args:
        params: matrices, or stacks of them (experts).
        lr: learning rate, on AdamW's scale.
        weight_decay: decoupled, times the learning rate.
        momentum: of the Nesterov average of gradients.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], *, lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(list(params), {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient; `closure` is not used."""
        del closure
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._step_alike(parameters, group["lr"], group["weight_decay"], group["momentum"])

    def _step_alike(self, parameters: list[nn.Parameter], lr: float, weight_decay: float, momentum: float) -> None:
        directions = []
        for parameter in parameters:
            gradient = parameter.grad
            assert gradient is not None
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            average = state["momentum"].lerp_(gradient, 1 - momentum)
            directions.append(gradient.lerp(average, momentum))
        with Fast():
            updates = orthogonalize(torch.stack([whole(direction) for direction in directions]).flatten(0, -3))
        scale = 0.2 * max(parameters[0].shape[-2:]) ** 0.5
        for parameter, update in zip(parameters, updates.view(-1, *parameters[0].shape), strict=True):
            parameter.mul_(1 - lr * weight_decay).add_(sharded_like(update, parameter), alpha=-lr * scale)
