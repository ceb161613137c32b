"""Checkpoints: directories that are whole or absent, load in transformers, and carry what a resumed run needs.

    stage_dir/checkpoints/step-00000100/    config.json, model.safetensors, tokenizer files, manifest.json
                          train_state/      optimizer.safetensors, state.json, averages.safetensors (of ema_decay);
                                            of several processes each writes its part (`gristlm.training.parts`)
    stage_dir/final/                        the same without train_state

A checkpoint is written under a temporary name, every file is fsynced, its manifest is sealed, and only then is it
renamed. Nothing is pickled. All of a run's randomness is a function of (seed, step), so there is no generator state
to keep.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gristlm.errors import ArtifactError, DamagedArtifactError, StorageError
from gristlm.model import Model, ModelConfig
from gristlm.model.weights import load_into, save_tensors
from gristlm.runs import artifact, progress
from gristlm.runs.files import sync_directory
from gristlm.training import parts
from gristlm.training.averages import Averages
from gristlm.training.distributed import Ranks, sharded_like, whole
from gristlm.training.optimizer import Optimizer
from gristlm.training.parts import Part, part_of

CHECKPOINTS = "checkpoints"
FINAL = "final"
TRAIN_STATE = "train_state"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
PATIENCE_SECONDS = 600
"""How long the first of several ranks waits for the others' parts of a checkpoint."""
_log = logging.getLogger(__name__)


class Saves(Protocol):
    """A module that writes itself as a model directory: `Model`, or a reward model around one."""

    def save_pretrained(self, path: Path) -> None:
        """Writes the directory's files."""

    def state_dict(self) -> dict[str, Tensor]:
        """Returns every tensor."""


class SavesState(Protocol):
    """An `Optimizer`, or what was copied from one."""

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the whole state."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A copy of a model and its optimizer in memory, to be written while training goes on."""

    config: ModelConfig
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    averages: dict[str, Tensor] = dataclasses.field(default_factory=dict)

    @staticmethod
    def take(model: Model, optimizer: Optimizer | None = None, averages: Averages | None = None) -> Snapshot:
        """Returns the copy; every rank must call it, and gets the whole."""
        state = optimizer.state_tensors() if optimizer is not None else {}
        parts = (model.state_dict(), state, averages.tensors if averages is not None else {})
        copies = [{name: _copied(tensor) for name, tensor in part.items()} for part in parts]
        return Snapshot(model.config, *copies)

    def save_pretrained(self, path: Path) -> None:
        """Writes the directory's files."""
        save_tensors(self.config, self.weights, path)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the weights."""
        return self.weights

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns the optimizer's state."""
        return self.optimizer


def _copied(tensor: Tensor) -> Tensor:
    full = whole(tensor.detach())
    return full.clone() if full.device.type == "cpu" else full.cpu()


@dataclasses.dataclass(frozen=True)
class Share:
    """What one of several processes writes of a checkpoint: its parts of the state, and the first one the weights."""

    weights: Snapshot | None
    parts: Mapping[str, Mapping[str, Part]]
    """`optimizer`, and `averages` where there are some."""
    ranks: Ranks

    @staticmethod
    def take(model: Model, optimizer: Optimizer, averages: Averages | None, ranks: Ranks) -> Share:
        """Returns a copy of this rank's share; every rank must call it."""
        weights = {}
        for name, tensor in model.state_dict().items():
            full = _copied(tensor)
            if ranks.first:
                weights[name] = full
        held = {"optimizer": optimizer.held_tensors()} | ({} if averages is None else {"averages": averages.tensors})
        parts = {
            kind: {name: part for name, tensor in tensors.items() if (part := part_of(tensor, ranks)) is not None}
            for kind, tensors in held.items()
        }
        return Share(Snapshot(model.config, weights) if ranks.first else None, parts, ranks)

    def prepare(self, stage_dir: Path, step: int) -> bool:
        """Makes the folder that all ranks write into; every rank must call it. Returns whether the disk let it."""
        folder = _temporary(_path(stage_dir, step))

        def make() -> bool:
            try:
                shutil.rmtree(folder, ignore_errors=True)
                (folder / TRAIN_STATE).mkdir(parents=True)
            except OSError as error:
                progress.say(f"WARNING: cannot write checkpoint {folder}: {error}; training goes on: make room now")
                return False
            return True

        return self.ranks.by_first(make)

    def write(self, stage_dir: Path, step: int) -> None:
        """Writes this rank's parts into the folder.

        Raises:
            StorageError: the disk is full or refuses.
        """
        try:
            for file, kind in self._files(stage_dir, step, self.ranks.rank):
                parts.write(file, self.parts[kind])
        except (OSError, SafetensorError) as error:
            raise StorageError(
                getattr(error, "errno", None), f"cannot write checkpoint {stage_dir}: {error}"
            ) from error

    def wait(self, stage_dir: Path, step: int) -> None:
        """Waits until every rank has written its parts.

        Raises:
            OSError: they do not come.
        """
        wanted = {file for rank in range(self.ranks.world_size) for file, _ in self._files(stage_dir, step, rank)}
        ends = time.monotonic() + PATIENCE_SECONDS
        while missing := [file for file in wanted if not file.is_file()]:
            if time.monotonic() > ends:
                raise OSError(f"{missing[0].name} has not come within {PATIENCE_SECONDS} s")
            time.sleep(0.02)

    def _files(self, stage_dir: Path, step: int, rank: int) -> list[tuple[Path, str]]:
        folder = _temporary(_path(stage_dir, step)) / TRAIN_STATE
        return [(parts.file_of(folder, kind, rank, self.ranks.world_size), kind) for kind in self.parts]


def save(
    stage_dir: Path,
    step: int,
    model: Saves,
    optimizer: SavesState | Share,
    *,
    tokenizer_dir: Path | None,
    state: Mapping[str, object],
    keep_last: int | None = None,
    keep_steps: Collection[int] = (),
) -> Path:
    """Writes the checkpoint of `step` and returns its directory.

    Args:
        stage_dir: the stage's directory.
        step: optimizer steps done.
        model: whose weights to keep.
        optimizer: whose state to keep; or what the first of several ranks writes of it, and waits for of the others.
        tokenizer_dir: where to copy `tokenizer.json` (and a chat template) from.
        state: anything else that `restore` shall return; JSON-able.
        keep_last: delete all but the newest so many; None keeps all.
        keep_steps: never delete those of these steps (the best so far).

    Raises:
        StorageError: the disk is full or refuses; the earlier checkpoints are untouched.
    """

    def fill(path: Path) -> None:
        _write_model(path, model, tokenizer_dir)
        train_state = path / TRAIN_STATE
        if isinstance(optimizer, Share):
            optimizer.write(stage_dir, step)
            optimizer.wait(stage_dir, step)
        else:
            train_state.mkdir()
            save_file(optimizer.state_tensors(), train_state / "optimizer.safetensors")
        if isinstance(model, Snapshot) and model.averages:
            save_file(model.averages, train_state / "averages.safetensors")
        if not isinstance(model, Model | Snapshot):
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
            save_file(tensors, train_state / "module.safetensors")
        body = {"step": step, "state": dict(state)}
        (train_state / "state.json").write_text(json.dumps(body, indent=2, allow_nan=False) + "\n")

    path = _path(stage_dir, step)
    shared = isinstance(optimizer, Share)
    _commit(path, fill, config=_config_of(model), counts={"step": step}, prepared=shared)
    if keep_last is not None:
        for old in _found(stage_dir)[keep_last:]:
            if step_of(old) not in keep_steps:
                shutil.rmtree(old)
    return path


def latest(stage_dir: Path) -> Path | None:
    """Returns the newest complete and undamaged checkpoint of a stage, or None; says so when it has to pass over one.

    What an interrupted `save` left half written is removed.
    """
    root = stage_dir / CHECKPOINTS
    for unfinished in [*root.glob(".*"), *stage_dir.glob(f".{FINAL}.*")]:
        shutil.rmtree(unfinished, ignore_errors=True)
    for path in _found(stage_dir):
        try:
            artifact.verify(path)
        except ArtifactError as error:
            message = f"checkpoint {path} is damaged and passed over: {error}"
            _log.warning(message)
            progress.say(message)
            continue
        return path
    return None


def restore(path: Path, model: nn.Module, optimizer: Optimizer, averages: Averages | None = None) -> dict[str, object]:
    """Fills `model`, `optimizer` and `averages` from a checkpoint and returns the `state` that was saved with it.

    Raises:
        DamagedArtifactError: a file is not readable, or is of another model.
    """
    train_state = path / TRAIN_STATE
    try:
        if isinstance(model, Model):
            load_into(model, path)
        else:
            own = model.state_dict()
            tensors = load_file(train_state / "module.safetensors").items()
            model.load_state_dict({name: sharded_like(t, own[name]) if name in own else t for name, t in tensors})
        optimizer.load_state_tensors(parts.read(train_state, "optimizer"))
        if averages is not None:
            averages.load(parts.read(train_state, "averages"))
        state = json.loads((train_state / "state.json").read_bytes())["state"]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DamagedArtifactError(f"checkpoint {path} cannot be restored: {error}") from error
    if not isinstance(state, dict):
        raise DamagedArtifactError(f"{train_state / 'state.json'} is damaged: state is not an object")
    return state


def step_of(path: Path) -> int:
    """Returns the number of steps behind checkpoint directory `path`."""
    return int(path.name.removeprefix("step-"))


def write_final(
    stage_dir: Path, model: Saves, *, tokenizer_dir: Path | None, counts: Mapping[str, object] | None = None
) -> Path:
    """Writes the finished model as `final/` and returns that directory."""
    path = stage_dir / FINAL
    _commit(
        path, lambda target: _write_model(target, model, tokenizer_dir), config=_config_of(model), counts=counts or {}
    )
    return path


def _found(stage_dir: Path) -> list[Path]:
    """Returns the checkpoint directories of a stage, newest first."""
    names = (stage_dir / CHECKPOINTS).glob("step-*")
    return sorted(
        (path for path in names if path.is_dir() and path.name.removeprefix("step-").isdigit()),
        key=step_of,
        reverse=True,
    )


def _write_model(path: Path, model: Saves, tokenizer_dir: Path | None) -> None:
    model.save_pretrained(path)
    if tokenizer_dir is not None:
        copy_tokenizer(tokenizer_dir, path)


def copy_tokenizer(source_dir: Path, path: Path) -> None:
    """Copies the tokenizer, its chat template and the generation settings, where `path` has none of its own."""
    for name in TOKENIZER_FILES:
        source = source_dir / name
        if source.is_file() and not (path / name).exists():
            shutil.copyfile(source, path / name)


def _config_of(model: Saves) -> dict[str, object]:
    config = getattr(model, "config", None)
    return config.model_dump(mode="json") if isinstance(config, BaseModel) else {}


def _path(stage_dir: Path, step: int) -> Path:
    return stage_dir / CHECKPOINTS / f"step-{step:08d}"


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _commit(
    path: Path,
    fill: Callable[[Path], None],
    *,
    config: dict[str, object],
    counts: Mapping[str, object],
    prepared: bool = False,
) -> None:
    """Makes directory `path` appear with everything that `fill` writes, or not at all; replaces an older one.

    With `prepared`, others have begun to write into the temporary one.
    """
    temporary = _temporary(path)
    try:
        if not prepared:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        fill(temporary)
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                _sync(file)
        artifact.seal(temporary, {"kind": "checkpoint", "config": config, "inputs": {}}, counts=counts, measured={})
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
        sync_directory(path.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StorageError(getattr(error, "errno", None), f"cannot write checkpoint {path}: {error}") from error


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
