"""Weights averaged over steps: an exponential moving average (arXiv 2407.20243).

The decay rises as (1 + step) / (10 + step) up to its value, so that early weights are soon forgotten (as in
TensorFlow's `ExponentialMovingAverage(num_updates=…)`). Sharded weights have sharded averages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gristlm.errors import DamagedArtifactError
from gristlm.training.distributed import sharded_like


class Averages:
    """The averages of a module's parameters.

    Args:
        module: whose parameters, as they are now, are the first averages.
        decay: the share of the old average that is kept at each step, in (0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = dict(module.named_parameters())
        self.tensors = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step `step` (1, 2, …)."""
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, average in self.tensors.items():
            average.lerp_(self._parameters[name].detach(), share)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the averages in place of the module's weights for as long as the context lasts."""
        kept = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        _copy(self.tensors, self._parameters)
        try:
            yield
        finally:
            _copy(kept, self._parameters)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over averages that were saved whole.

        Raises:
            DamagedArtifactError: they are of other parameters.
        """
        if tensors.keys() != self.tensors.keys():
            raise DamagedArtifactError(
                f"the averages are of {len(tensors)} parameters, the model has {len(self.tensors)} or others"
            )
        for name, tensor in tensors.items():
            average = self.tensors[name]
            if tensor.shape != average.shape:
                raise DamagedArtifactError(f"the average of {name!r} has another shape than the parameter")
            average.copy_(sharded_like(tensor.to(average.device), self._parameters[name]))


@torch.no_grad()
def _copy(tensors: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, tensor in tensors.items():
        parameters[name].copy_(tensor)
