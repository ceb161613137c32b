"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685): W x + (alpha / rank) B A x, W frozen, B starts at zero.

Adapters are read and written in PEFT's format (`adapter_config.json`, `adapter_model.safetensors`), and merged into
ordinary weights for everything that knows no adapters. Where this leaves the paper: it adapts the attention's query
and value projections, we adapt every projection by default (Dettmers et al. 2023, "QLoRA", section 4, found that
needed to match full tuning).

Shapes: R rank, I input and O output width of a projection.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from gristlm.errors import FormatError, InputError, MissingArtifactError
from gristlm.model import Model
from gristlm.model.products import Linear, linear
from gristlm.model.weights import save as save_model
from gristlm.runs.files import write_atomic, write_json

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CONFIG, WEIGHTS, ADAPTER = "adapter_config.json", "adapter_model.safetensors", "adapter"
_PREFIX = "base_model.model.model."  # PEFT's wrapper, transformers' model, its decoder
_UNSUPPORTED = (
    "use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication", "fan_in_fan_out",
    "trainable_token_indices", "target_parameters", "lora_bias", "megatron_config",
)  # fmt: skip


class LoraLinear(Linear):
    """A projection with an adapter beside it."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.scale = base.in_features, base.out_features, scale
        self.weight, self.bias = base.weight, base.bias
        device = base.weight.device
        self.lora_A = nn.Parameter(torch.zeros(rank, base.in_features, device=device, dtype=torch.float32))
        """float32[R, I]."""
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank, device=device, dtype=torch.float32))
        """float32[O, R]."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns [..., O]."""
        added = linear(linear(x, self.lora_A.to(x.dtype)), self.lora_B.to(x.dtype))
        return linear(x, self.weight, self.bias) + self.scale * added

    def delta(self) -> Tensor:
        """Returns float32[O, I], what the adapter adds to the weight."""
        return self.scale * (self.lora_B @ self.lora_A)


class Lora(nn.Module):
    """The adapters of a model, which they have been put into; the model's own weights are frozen.

    As a module it holds the adapters alone: `state_dict` has no other tensors. `save_pretrained` writes the merged
    model, which loads anywhere, with the adapter beside it in `adapter/`.
    """

    def __init__(self, model: Model, adapted: Mapping[str, LoraLinear], rank: int, alpha: float, rslora: bool) -> None:
        super().__init__()
        self._model = [model]  # in a list, so that it is no submodule
        self._adapted = dict(adapted)
        self.rank, self.alpha, self.rslora = rank, alpha, rslora

    @property
    def model(self) -> Model:
        """The model with the adapters in it."""
        return self._model[0]

    @property
    def config(self) -> Any:
        """The model's shape."""
        return self.model.config

    def num_parameters(self) -> int:
        """Returns how many numbers are trained."""
        return sum(layer.lora_A.numel() + layer.lora_B.numel() for layer in self._adapted.values())

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Returns the adapters under PEFT's names."""
        del args, kwargs
        return {
            f"{_PREFIX}{name}.lora_{half}.weight": getattr(layer, f"lora_{half}").detach()
            for name, layer in self._adapted.items()
            for half in "AB"
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """Takes over adapters of the same shape."""
        del args, kwargs
        own = self.state_dict()
        _check_names(set(own), set(state_dict), "these adapters")
        for name, tensor in state_dict.items():
            _check_shape(name, tensor, own[name])
            own[name].copy_(tensor)

    def save(self, path: Path | str, *, base: str = "") -> None:
        """Writes the adapters as PEFT does; `base` names the model that they belong to."""
        path = Path(path)
        body = {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": self.rank,
            "lora_alpha": self.alpha, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
            "use_rslora": self.rslora, "inference_mode": True, "modules_to_save": None,
            "target_modules": sorted({name.rpartition(".")[2] for name in self._adapted}),
        }  # fmt: skip
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_atomic(path / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        write_json(path / CONFIG, body)

    def save_pretrained(self, path: Path) -> None:
        """Writes the merged model to `path`, and the adapters to `path`/adapter."""
        with self.merged() as model:
            save_model(model, path)
        self.save(path / ADAPTER)

    @contextlib.contextmanager
    def merged(self) -> Iterator[Model]:
        """Lends the model with the adapters merged into it; afterwards everything is as it was, bit for bit."""
        model, kept = self.model, {name: layer.weight.data for name, layer in self._adapted.items()}
        self._put_back()
        try:
            yield model
        finally:
            for name, layer in self._adapted.items():
                layer.weight.data = kept[name]
                _replace(model, name, layer)

    def merge(self) -> Model:
        """Returns the model with the adapters added to its weights, an ordinary one again."""
        self._put_back()
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        return self.model

    @torch.no_grad()
    def _put_back(self) -> None:
        for name, layer in self._adapted.items():
            layer.weight.data = (layer.weight.float() + layer.delta()).to(layer.weight.dtype)
            plain = Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
            plain.weight = layer.weight
            if layer.bias is not None:
                plain.bias = layer.bias
            _replace(self.model, name, plain)


def inject(
    model: Model, *, rank: int, alpha: float | None = None, targets: Sequence[str] = TARGETS, rslora: bool = False,
    seed: int = 0,
) -> Lora:  # fmt: skip
    """Puts fresh adapters into `model`, freezes everything else, and returns them.

    Args:
        model: changed in place; its output stays the same until the adapters are trained.
        rank: of each adapter.
        alpha: the adapter counts alpha / rank; None is 2 x rank.
        targets: the projections to adapt, of `TARGETS`.
        rslora: count it alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732).
        seed: of the A matrices.

    Raises:
        InputError: a target is unknown, or the rank exceeds a projection's width.
    """
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown or not targets:
        raise InputError(f"LoRA target {unknown or 'none'} is unknown; allowed are {', '.join(TARGETS)}")
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and _last(name) in targets]
    lora = _inject(model, names, rank, float(2 * rank if alpha is None else alpha), rslora)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in names:
            layer = model.get_submodule(name)
            assert isinstance(layer, LoraLinear)
            bound = 1 / math.sqrt(layer.in_features)
            layer.lora_A.copy_(torch.empty(layer.lora_A.shape).uniform_(-bound, bound, generator=generator))
    return lora


def load(model: Model, path: Path | str) -> Lora:
    """Puts the adapters of a PEFT directory into `model` and returns them.

    Raises:
        MissingArtifactError: the directory lacks a file of the format.
        FormatError: a file is damaged, or asks for what we do not compute (DoRA, say); names the key.
        InputError: the adapters belong to a model of another shape; names the tensor.
    """
    path = Path(path)
    for file in (path / CONFIG, path / WEIGHTS):
        if not file.is_file():
            raise MissingArtifactError(f"{path} is no LoRA adapter: it has no {file.name}")
    try:
        body = json.loads((path / CONFIG).read_bytes())
        rank, alpha, rslora = int(body["r"]), float(body["lora_alpha"]), bool(body.get("use_rslora", False))
        tensors = load_file(path / WEIGHTS)
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise FormatError(f"{path} is no readable LoRA adapter: {error!r}") from error
    asked = [key for key in _UNSUPPORTED if body.get(key)]
    if body.get("peft_type") != "LORA" or body.get("bias", "none") != "none" or asked:
        key = asked[0] if asked else "bias" if body.get("peft_type") == "LORA" else "peft_type"
        raise FormatError(f"{path / CONFIG}: {key} = {body.get(key)!r} is not supported; plain LoRA is")
    names = sorted({name.removeprefix(_PREFIX).rpartition(".lora_")[0] for name in tensors})
    known = {name for name, module in model.named_modules() if isinstance(module, nn.Linear) and _last(name) in TARGETS}
    foreign = [name for name in names if name not in known]
    if foreign or not names:
        raise InputError(
            f"the adapter {path} is for another model: it adapts {foreign[0] if foreign else 'nothing'!r}, which this "
            f"one of {model.config.num_layers} layers has not"
        )
    for name in names:
        module = model.get_submodule(name)
        assert isinstance(module, nn.Linear)
        shapes = {"A": (rank, module.in_features), "B": (module.out_features, rank)}
        for half, shape in shapes.items():
            key = f"{_PREFIX}{name}.lora_{half}.weight"
            if key not in tensors:
                raise InputError(f"the adapter {path} lacks {key}")
            _check_shape(key, tensors[key], torch.empty(shape, device="meta"))
    lora = _inject(model, names, rank, alpha, rslora)
    lora.load_state_dict(tensors)
    return lora


def _inject(model: Model, names: Sequence[str], rank: int, alpha: float, rslora: bool) -> Lora:
    modules = {name: module for name in names if isinstance(module := model.get_submodule(name), nn.Linear)}
    if any(isinstance(module, LoraLinear) for module in modules.values()):
        raise InputError("the model has adapters already; merge them first")
    narrowest = min(min(module.in_features, module.out_features) for module in modules.values())
    if not 1 <= rank <= narrowest:
        raise InputError(
            f"the LoRA rank must be from 1 to {narrowest}, this model's narrowest projection; given {rank}"
        )
    model.requires_grad_(False)
    scale = alpha / (math.sqrt(rank) if rslora else rank)
    adapted = {name: LoraLinear(module, rank, scale) for name, module in modules.items()}
    for name, layer in adapted.items():
        _replace(model, name, layer)
    return Lora(model, adapted, rank, alpha, rslora)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _replace(model: Model, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _check_names(wanted: set[str], given: set[str], whose: str) -> None:
    if wanted != given:
        raise InputError(f"the adapter tensors are not those of {whose}: {sorted(wanted ^ given)[0]} is in only one")


def _check_shape(name: str, tensor: Tensor, wanted: Tensor) -> None:
    if tensor.shape != wanted.shape:
        raise InputError(
            f"the adapter is for another shape: {name} is {list(tensor.shape)}, this model needs {list(wanted.shape)}"
        )
