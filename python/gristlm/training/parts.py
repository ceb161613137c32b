"""Tensors of which each process holds a part: written by each, read whole by any number of processes.

    NAME-00001-of-00002.safetensors    the first process's parts; the file's metadata says of each where it lies

Reading makes one whole tensor at a time, so that memory does not grow with the number of files.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gristlm.errors import DamagedArtifactError
from gristlm.training.distributed import Ranks

_WHERE = "parts"


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a tensor, on the CPU."""

    tensor: Tensor
    shape: tuple[int, ...]
    """Of the whole."""
    offset: tuple[int, ...]
    """Of the piece's first element in the whole."""


def part_of(tensor: Tensor, ranks: Ranks) -> Part | None:
    """Returns a copy of what this process holds of a tensor and no one before it does; None if that is nothing."""
    tensor = tensor.detach()
    if not hasattr(tensor, "placements"):
        return Part(tensor.cpu().clone(), tuple(tensor.shape), (0,) * tensor.ndim) if ranks.first else None
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    assert isinstance(tensor, DTensor)
    mesh, local = tensor.device_mesh, tensor.to_local()
    places = mesh.get_coordinate()
    assert places is not None, "every rank is in the mesh"
    copies = any(placement.is_replicate() and place for placement, place in zip(tensor.placements, places, strict=True))
    if copies or not local.numel() or (mesh.size() < ranks.world_size and ranks.tensor_rank):
        return None
    _, offset = compute_local_shape_and_global_offset(tensor.shape, mesh, tensor.placements)
    return Part(local.cpu().clone(), tuple(tensor.shape), tuple(offset))


def file_of(folder: Path, name: str, rank: int, world_size: int) -> Path:
    """Returns the file of one process."""
    return folder / f"{name}-{rank + 1:05d}-of-{world_size:05d}.safetensors"


def write(file: Path, parts: Mapping[str, Part]) -> None:
    """Writes the parts of one process; the file appears whole or not at all."""
    where = {name: {"shape": part.shape, "offset": part.offset} for name, part in parts.items()}
    temporary = file.with_name(f".{file.name}.tmp")
    tensors = {name: part.tensor.contiguous() for name, part in parts.items()}
    save_file(tensors, temporary, metadata={_WHERE: json.dumps(where)})
    temporary.replace(file)


def read(folder: Path, name: str) -> Mapping[str, Tensor]:
    """Returns the tensors `name.safetensors`, or those that several processes wrote, by their names.

    Raises:
        DamagedArtifactError: a file is missing or does not say where its parts lie.
    """
    single = folder / f"{name}.safetensors"
    return load_file(single) if single.is_file() else _Whole(folder, name)


class _Whole(Mapping[str, Tensor]):
    def __init__(self, folder: Path, name: str) -> None:
        files = sorted(folder.glob(f"{name}-*-of-*.safetensors"))
        if not files or len(files) != int(files[0].stem.rpartition("-")[2]):
            raise DamagedArtifactError(f"{folder} has {len(files)} files of {name}; some are missing")
        self._parts: dict[str, list[tuple[Path, tuple[int, ...], tuple[int, ...]]]] = {}
        for file in files:
            try:
                with safe_open(file, "pt") as opened:
                    where = json.loads(opened.metadata()[_WHERE])
                for tensor, place in where.items():
                    shape, offset = (tuple(map(int, place[key])) for key in ("shape", "offset"))
                    self._parts.setdefault(tensor, []).append((file, shape, offset))
            except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise DamagedArtifactError(f"{file} is damaged: {error!r}") from error

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __getitem__(self, name: str) -> Tensor:
        parts = self._parts[name]
        shape, missing, whole = parts[0][1], math.prod(parts[0][1]), None
        for file, described, offset in parts:
            with safe_open(file, "pt") as opened:
                piece: Tensor = opened.get_tensor(name)
            if whole is None:
                whole = torch.empty(shape, dtype=piece.dtype)
            area = tuple(slice(at, at + size) for at, size in zip(offset, piece.shape, strict=True))
            if described != shape or whole[area].shape != piece.shape:
                raise DamagedArtifactError(f"{file}: the part of {name!r} does not lie in the whole")
            whole[area] = piece
            missing -= piece.numel()
        if whole is None or missing:
            raise DamagedArtifactError(f"{parts[0][0].parent}: the parts of {name!r} do not make a whole")
        return whole
