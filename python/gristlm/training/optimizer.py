"""The optimizer of every training stage: AdamW, or Muon for the matrices inside blocks and AdamW for the rest.

Parameters fall into three kinds: matrices inside blocks; tables (the embedding and an untied head); vectors (norms
and biases). Weight decay applies to the matrices alone: decayed embeddings shrink and upset the first norm (OLMo 2,
arXiv 2501.00656, section 3.2), and decayed norms have no meaning. Muon is for matrices that map activations to
activations, which tables and vectors do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from gristlm.errors import DamagedArtifactError, TrainingError
from gristlm.training.distributed import sharded_like, whole
from gristlm.training.muon import Muon

Kind = Literal["adamw", "muon"]
P = TypeVar("P", bound=Tensor)


class Optimizer:
    """One or two torch optimizers over the named parameters of a module, stepped together.

    Args:
        parameters: by name, as in the module.
        groups: torch optimizers whose param groups partition them; a group's `lr_scale` multiplies the scheduled rate.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], groups: list[torch.optim.Optimizer]) -> None:
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in parameters.items()}
        self._optimizers = groups

    @property
    def parameters(self) -> list[Tensor]:
        """Every parameter that is trained."""
        return list(self._names)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the rate of the next step."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * group.get("lr_scale", 1.0)

    def clip_grad_norm(self, max_norm: float | None) -> float:
        """Returns the norm of the whole gradient before it is scaled down to `max_norm` (None: not scaled)."""
        trained = _by_mesh(parameter for parameter in self._names if parameter.grad is not None)
        gradients = [[parameter.grad for parameter in part if parameter.grad is not None] for part in trained]
        norms = [whole(torch.nn.utils.get_total_norm(part)) for part in gradients]
        norm = norms[0] if len(norms) == 1 else torch.stack(norms).norm()
        if max_norm is not None:
            for part in trained:
                torch.nn.utils.clip_grads_with_norm_(part, max_norm, norm)
        return float(norm)

    def step(self) -> None:
        """Updates the parameters."""
        for optimizer in self._optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def update(self, learning_rate: float, max_norm: float | None) -> float:
        """Does one step at `learning_rate` on the clipped gradients and forgets them; returns their norm before.

        Raises:
            TrainingError: the norm is not finite; the parameters are left as they were.
        """
        norm = self.clip_grad_norm(max_norm)
        if not math.isfinite(norm):
            raise TrainingError(f"the gradient norm is {norm}; lower the learning rate (now {learning_rate})")
        self.set_learning_rate(learning_rate)
        self.step()
        self.zero_grad()
        return norm

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the whole state, `<parameter name>/<entry>` to tensor, for safetensors; all ranks must call it."""
        return {name: whole(value.detach()).cpu().contiguous() for name, value in self.held_tensors().items()}

    def held_tensors(self) -> dict[str, Tensor]:
        """Returns the state under the same names as it is: of spread parameters what this rank holds of it."""
        return {
            f"{self._names[parameter]}/{entry}": value
            for optimizer in self._optimizers
            for parameter, entries in optimizer.state.items()
            for entry, value in entries.items()
        }

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over a state that `state_tensors` gave.

        Raises:
            DamagedArtifactError: the state is of other parameters.
        """
        by_name: dict[str, list[str]] = {}
        for name in tensors:
            by_name.setdefault(name.rpartition("/")[0], []).append(name)
        unknown = sorted(set(by_name) - set(self._names.values()))
        if unknown:
            raise DamagedArtifactError(f"the optimizer state has {unknown[0]!r}, which this model has not")
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    names = by_name.get(self._names[parameter], [])
                    entries = {name.rpartition("/")[2]: tensors[name] for name in names}
                    if any(entry != "step" and value.shape != parameter.shape for entry, value in entries.items()):
                        raise DamagedArtifactError(
                            f"the optimizer state of {self._names[parameter]!r} has another shape than the parameter"
                        )
                    optimizer.state[parameter] = {
                        entry: value.clone()
                        if entry == "step"
                        else sharded_like(value.to(parameter.device, copy=True), parameter)
                        for entry, value in entries.items()
                    }


def build(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.1,
    kind: Kind = "adamw",
    betas: tuple[float, float] = (0.9, 0.95),
    table_lr_scale: float = 1.0,
) -> Optimizer:
    """Returns the optimizer of the parameters of `module` that require a gradient.

    Args:
        module: a `Model`, or any module with one inside.
        learning_rate: of the first step; see `Optimizer.set_learning_rate`.
        weight_decay: of the matrices inside blocks, times the learning rate (arXiv 1711.05101).
        kind: `adamw`, or `muon` for the matrices inside blocks with `adamw` for the rest.
        betas: AdamW's averages.
        table_lr_scale: rate of embedding and head as a multiple of the others'.
    """
    parameters = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    tables = [parameter for name, parameter in parameters.items() if parameter.ndim >= 2 and _is_table(name)]
    matrices = [parameter for name, parameter in parameters.items() if parameter.ndim >= 2 and not _is_table(name)]
    vectors = [parameter for parameter in parameters.values() if parameter.ndim < 2]
    settings: list[tuple[list[nn.Parameter], dict[str, float]]] = [
        (tables, {"weight_decay": 0.0, "lr_scale": table_lr_scale}),
        (vectors, {"weight_decay": 0.0}),
    ]
    if kind == "adamw":
        settings.insert(0, (matrices, {"weight_decay": weight_decay}))
    adamw_groups = [{"params": part, **how} for parameters_of, how in settings for part in _by_mesh(parameters_of)]
    optimizers: list[torch.optim.Optimizer] = []
    if adamw_groups:
        optimizers.append(torch.optim.AdamW(adamw_groups, lr=learning_rate, betas=betas, eps=1e-8, fused=True))
    if kind == "muon" and matrices:
        optimizers.append(Muon(matrices, lr=learning_rate, weight_decay=weight_decay))
    optimizer = Optimizer(parameters, optimizers)
    optimizer.set_learning_rate(learning_rate)
    return optimizer


def _by_mesh(parameters: Iterable[P]) -> list[list[P]]:
    """Returns the parameters in groups that are spread over the same ranks, as one call of torch's wants them."""
    groups: dict[object, list[P]] = {}
    for parameter in parameters:
        groups.setdefault(getattr(parameter, "device_mesh", None), []).append(parameter)
    return list(groups.values())


def _is_table(name: str) -> bool:
    return "embed_tokens" in name or "lm_head" in name
