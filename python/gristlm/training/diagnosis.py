"""Where a number that is not finite comes from: the first layer that makes one, or the weights that get one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gristlm.training.distributed import whole


def first_not_finite(model: nn.Module, compute: Callable[[], object]) -> str:
    """Returns, as a phrase, the weights, layer or gradient where infinities or NaNs begin.

    Args:
        model: whose weights, gradients and layers are looked at, in this order.
        compute: the forward pass of the batch, run again to watch each layer's output.
    """
    for name, parameter in model.named_parameters():
        if not bool(whole(parameter.detach()).isfinite().all()):
            return f"the weights of {name}"
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            del module, inputs
            if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
                found.append(name)

        return hook

    handles = [part.register_forward_hook(watch(name)) for name, part in model.named_modules() if name]
    try:
        with torch.no_grad():
            compute()
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return f"the output of {found[0]}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(whole(parameter.grad).isfinite().all()):
            return f"the gradient of {name}"
    return "the loss itself (every layer's output is finite)"
