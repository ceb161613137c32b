"""Model directories of the Hugging Face layout: `config.json` and safetensors, whole or sharded. Never a pickle.

A foreign directory is not trusted: shard names must be plain file names, every tensor must be there with the right
shape and a floating dtype, and nothing unknown may be left over.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gristlm.errors import FormatError, MissingArtifactError, StorageError
from gristlm.model.config import ModelConfig
from gristlm.model.hf_config import from_hf, to_hf
from gristlm.model.transformer import Model

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
GATE_UP = ("gate_proj", "up_proj")
EXPERT = re.compile(r"(.*\.mlp)\.experts\.(\d{1,6})\.(gate_proj|up_proj|down_proj)\.weight")
RECOMPUTED = "rotary_emb.inv_freq"
"""Suffix of a tensor that old checkpoints carry and that follows from the config."""


def save(model: Model, path: Path, *, max_shard_bytes: int | None = None) -> None:
    """Writes `config.json` and the weights into directory `path`; see `save_tensors`."""
    save_tensors(model.config, model.state_dict(), path, max_shard_bytes=max_shard_bytes)


def save_tensors(
    config: ModelConfig, state: Mapping[str, Tensor], path: Path, *, max_shard_bytes: int | None = None
) -> None:
    """Writes `config.json` and the weights into directory `path`, each file whole or not at all, fsynced.

    Args:
        config: the shape.
        state: what `Model.state_dict` gives.
        path: the directory.
        max_shard_bytes: weights above this are written as shards of at most so much, with an index; None: one file.
    """
    tensors = {name: tensor.contiguous() for name, tensor in hf_tensors(state).items()}
    body = {**to_hf(config), "torch_dtype": str(state["embed_tokens.weight"].dtype).removeprefix("torch.")}
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write_shards(tensors, path, max_shard_bytes)
        temporary = path / f".{CONFIG}.tmp"
        temporary.write_text(json.dumps(body, indent=2) + "\n")
        _commit(temporary, path / CONFIG)
    except (OSError, SafetensorError) as error:
        raise StorageError(getattr(error, "errno", None), f"cannot write the model to {path}: {error}") from error


def load(path: Path, *, device: torch.device, dtype: torch.dtype | None) -> Model:
    """Returns the model that a directory holds.

    Raises:
        MissingArtifactError: the directory, its config or its weights are not there.
        FormatError: the config asks for what we do not compute, or the tensors do not fit it; names the key or tensor.
    """
    config_file = path / CONFIG
    if not config_file.is_file():
        raise MissingArtifactError(f"{path} is not a model directory: {config_file} does not exist")
    try:
        body = json.loads(config_file.read_bytes())
    except ValueError as error:
        raise FormatError(f"{config_file} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise FormatError(f"{config_file} is not a JSON object")
    with torch.device("meta"):
        model = Model(from_hf(body))
    if dtype is None and device.type == "cpu":
        dtype = torch.float32
    found = read_tensors(path, device)
    tensors = own_tensors({name: tensor for name, tensor in found.items() if not name.endswith(RECOMPUTED)})
    if model.lm_head is None:
        tensors.pop("lm_head.weight", None)
    _check(path, tensors, model.state_dict())
    model.load_state_dict({name: tensor.to(dtype or tensor.dtype) for name, tensor in tensors.items()}, assign=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if (path / TOKENIZER).is_file():
        model.tokenizer_dir = path
    return model


def load_into(model: Model, path: Path) -> None:
    """Overwrites the weights of `model` with those of a directory of the same shape.

    Raises:
        MissingArtifactError, FormatError: as `load`.
    """
    tensors = own_tensors(read_tensors(path, torch.device("cpu")))
    wanted = model.state_dict()
    _check(path, tensors, wanted)
    if not any(hasattr(tensor, "placements") for tensor in wanted.values()):
        model.load_state_dict(tensors)
        return
    from torch.distributed.tensor import DTensor, distribute_tensor

    with torch.no_grad():
        for name, tensor in wanted.items():
            assert isinstance(tensor, DTensor)
            tensor.copy_(distribute_tensor(tensors[name].to(tensor.device), tensor.device_mesh, tensor.placements))


def read_tensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    """Returns every tensor of a model directory by its name in the file."""
    if (path / INDEX).is_file() and not (path / WEIGHTS).is_file():
        names = _shard_names(path / INDEX)
    elif (path / WEIGHTS).is_file():
        names = [WEIGHTS]
    else:
        pickles = sorted(file.name for file in path.glob("*.bin"))
        hint = f"; it has {pickles[0]}, a pickle, which is never read (convert it to safetensors)" if pickles else ""
        raise MissingArtifactError(f"{path} has neither {WEIGHTS} nor {INDEX}{hint}")
    tensors: dict[str, Tensor] = {}
    for name in names:
        file = path / name
        if not file.is_file():
            raise MissingArtifactError(f"{file} is missing; {path / INDEX} lists it")
        try:
            tensors.update(load_file(file, device=str(device)))
        except (SafetensorError, ValueError, KeyError) as error:
            raise FormatError(f"{file} is not a safetensors file, or is damaged: {error}") from error
    return tensors


def _shard_names(index: Path) -> list[str]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{index} is damaged: {error!r}") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise FormatError(f"{index} names {name!r}; a shard must be a .safetensors file in the same directory")
    return names


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        if name not in tensors:
            raise FormatError(f"{path}: tensor {_hf_name(name)} is missing; {CONFIG} asks for it")
        if tensors[name].shape != tensor.shape:
            found, asked = list(tensors[name].shape), list(tensor.shape)
            raise FormatError(f"{path}: tensor {_hf_name(name)} has shape {found}; {CONFIG} asks for {asked}")
        if not tensors[name].is_floating_point():
            raise FormatError(
                f"{path}: tensor {_hf_name(name)} is {tensors[name].dtype}; weights must be floating point"
            )
    extra = [name for name in tensors if name not in wanted]
    if extra:
        raise FormatError(f"{path}: {len(extra)} tensors are not of {CONFIG}'s model, the first {_hf_name(extra[0])}")


def hf_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns our tensors on the CPU under the Hugging Face names, each expert's matrices by themselves."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        prefix, _, last = name.rpartition(".")
        if not prefix.endswith(".mlp") or last not in ("gate_up", "down"):
            out[_hf_name(name)] = tensor
            continue
        for expert, matrix in enumerate(tensor.unbind()):
            parts = {"down_proj": matrix} if last == "down" else dict(zip(GATE_UP, matrix.chunk(2), strict=True))
            for part, rows in parts.items():
                out[f"model.{prefix}.experts.{expert}.{part}.weight"] = rows
    return out


def own_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors of the Hugging Face layout under our names, the experts of a layer stacked."""
    out: dict[str, Tensor] = {}
    experts: dict[str, dict[tuple[int, str], Tensor]] = {}
    for name, tensor in tensors.items():
        found = EXPERT.fullmatch(name)
        if found is None:
            out[_own_name(name)] = tensor
        else:
            experts.setdefault(_own_name(found[1]), {})[int(found[2]), found[3]] = tensor
    for prefix, matrices in experts.items():
        numbers = sorted({expert for expert, _ in matrices})
        try:
            gate_up = [torch.cat([matrices[expert, part] for part in GATE_UP]) for expert in numbers]
            out[f"{prefix}.gate_up"] = torch.stack(gate_up)
            out[f"{prefix}.down"] = torch.stack([matrices[expert, "down_proj"] for expert in numbers])
        except (KeyError, RuntimeError) as error:
            raise FormatError(f"the experts of {prefix} are incomplete or of different shapes: {error}") from error
    return out


def _write_shards(tensors: dict[str, Tensor], path: Path, max_shard_bytes: int | None) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and max_shard_bytes is not None and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    if len(shards) == 1:
        names = [WEIGHTS]
    else:
        names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        temporary = path / f".{name}.tmp"
        save_file(shard, temporary, metadata={"format": "pt"})
        _commit(temporary, path / name)
    if len(shards) > 1:
        where = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        body = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": where}
        temporary = path / f".{INDEX}.tmp"
        temporary.write_text(json.dumps(body, indent=2) + "\n")
        _commit(temporary, path / INDEX)


def _hf_name(name: str) -> str:
    return name if name.startswith("lm_head.") else f"model.{name}"


def _own_name(name: str) -> str:
    return name.removeprefix("model.")


def _commit(temporary: Path, final: Path) -> None:
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(final)
