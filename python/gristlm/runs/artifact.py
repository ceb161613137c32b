"""Artifacts: directories whose `manifest.json` is written last, so that a directory without one is unfinished.

A stage calls `begin`, works, and calls `Stage.finish`:

    stage = artifact.begin(output_dir, kind="tokens", config=config, inputs={"documents": documents_dir})
    if stage.manifest is None:
        ...                       # write files under stage.path; what a cut-off call left there may be reused
        stage.finish(counts={"tokens": n})
    return stage.manifest

The digest of an artifact covers what it is made of (kind, config, file contents, inputs, counts), not when, how fast,
on how many threads or with which package versions; files named in `LOGS` are listed but not hashed into it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel

from gristlm.errors import ArtifactError, ConfigError, DamagedArtifactError, MissingArtifactError
from gristlm.runs.files import sha256_file, write_json
from gristlm.runs.measure import Measurement

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
STARTED = "started.json"
LOGS = ("metrics.jsonl", "log.txt")
_PACKAGES = ("gristlm", "numpy", "pyarrow", "torch")


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """A file of an artifact: its size in bytes and the SHA-256 of its content (empty for a log)."""

    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class InputRecord:
    """What an artifact was made from: the path as given, its kind ("file" for a plain file) and its digest."""

    path: str
    kind: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    kind: str
    config: dict[str, object]
    inputs: dict[str, InputRecord]
    files: dict[str, FileRecord]
    counts: dict[str, object]
    versions: dict[str, str]
    measured: dict[str, float]
    schema_version: int = SCHEMA_VERSION

    @property
    def digest(self) -> str:
        """SHA-256 over what the artifact is made of, in hex."""
        whole = dataclasses.asdict(self)
        del whole["versions"], whole["measured"]
        whole["files"] = {name: record for name, record in whole["files"].items() if record["sha256"]}
        whole["inputs"] = {name: record["digest"] for name, record in whole["inputs"].items()}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


class Stage:
    """One stage at work on one output directory, locked until `finish`, `close` or the end of the process."""

    def __init__(self, path: Path, started: dict[str, object], manifest: Manifest | None) -> None:
        """Use `begin`."""
        self.path = path
        self.manifest = manifest
        self._started = started
        self._measurement = Measurement()
        self._lock: int | None = None

    def finish(self, *, counts: Mapping[str, object], apart: Collection[str] = ()) -> Manifest:
        """Hashes every file under the directory, but for the subdirectories `apart`, and writes the manifest, last."""
        seal(self.path, self._started, counts=counts, measured=self._measurement.stop(), apart=apart)
        self.manifest = load(self.path)
        self.close()
        return self.manifest

    def close(self) -> None:
        """Lets go of the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            (self.path / ".lock").unlink(missing_ok=True)

    def __del__(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def _acquire(self) -> None:
        self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = None
            raise ArtifactError(
                f"{self.path} is being written by another gristlm process; wait for it or choose another --output"
            ) from error


def seal(
    path: Path,
    made_from: Mapping[str, object],
    *,
    counts: Mapping[str, object],
    measured: Mapping[str, float],
    apart: Collection[str] = (),
) -> None:
    """Writes the manifest of directory `path`, which makes it a finished artifact.

    Args:
        path: the directory; every file in it is hashed.
        made_from: `kind`, `config` and `inputs` of the artifact, JSON-able.
        counts: what it holds, by name.
        measured: `seconds`, `cpu_seconds`, `peak_memory_bytes`, or nothing.
        apart: names of subdirectories that are artifacts of their own and are left to their manifests.
    """
    files = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if name.partition("/")[0] in apart:
            continue
        if file.is_file() and name not in (MANIFEST, STARTED, ".lock") and not file.name.endswith(".tmp"):
            files[name] = dataclasses.asdict(
                FileRecord(file.stat().st_size, "" if file.name in LOGS else sha256_file(file))
            )
    body = {
        "schema_version": SCHEMA_VERSION,
        **made_from,
        "files": files,
        "counts": dict(counts),
        "versions": _versions(),
        "measured": dict(measured),
    }
    write_json(path / MANIFEST, body)


def begin(output_dir: Path, *, kind: str, config: BaseModel, inputs: Mapping[str, Path]) -> Stage:
    """Starts, resumes or recognises an artifact.

    Returns a `Stage` whose `.manifest` is set when the artifact is already complete with the same config and inputs.

    Raises:
        ConfigError: the directory holds the work of other settings or inputs; names each difference.
        MissingArtifactError, DamagedArtifactError: an input, or the finished artifact, is unusable; names the file.
    """
    started: dict[str, object] = {
        "kind": kind,
        "config": config.model_dump(mode="json", exclude={"num_threads", "tensor_parallel"}),
        "inputs": {name: dataclasses.asdict(describe(path)) for name, path in inputs.items()},
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    if is_complete(output_dir):
        manifest = load(output_dir)
        found: dict[str, object] = {
            "kind": manifest.kind,
            "config": manifest.config,
            "inputs": {n: dataclasses.asdict(r) for n, r in manifest.inputs.items()},
        }
        _refuse_other_work(output_dir, found, started)
        verify(output_dir, manifest)
        return Stage(output_dir, started, manifest)
    stage = Stage(output_dir, started, None)
    stage._acquire()
    previous = output_dir / STARTED
    if previous.exists():
        try:
            found = json.loads(previous.read_bytes())
        except ValueError as error:
            raise DamagedArtifactError(
                f"{previous} is not JSON: {error}; delete {output_dir} to start again"
            ) from error
        _refuse_other_work(output_dir, found, started)
    else:
        for torn in output_dir.glob(f".{STARTED}.*.tmp"):  # a call that was killed while it wrote this file
            torn.unlink()
        if any(entry.name != ".lock" for entry in output_dir.iterdir()):
            stage.close()
            raise ConfigError(f"{output_dir} is not empty and was not made by gristlm; choose another --output")
        write_json(previous, started)
    return stage


def describe(path: Path) -> InputRecord:
    """Returns the record of an input: an artifact, a foreign model directory, or a plain file."""
    if path.is_dir():
        if (path / "config.json").is_file() and not is_complete(path):
            hashes = [(file.name, sha256_file(file)) for file in sorted(path.iterdir()) if file.is_file()]
            return InputRecord(str(path), "model", hashlib.sha256(json.dumps(hashes).encode()).hexdigest())
        manifest = load(path)
        return InputRecord(str(path), manifest.kind, manifest.digest)
    if not path.exists():
        raise MissingArtifactError(f"{path} does not exist")
    return InputRecord(str(path), "file", sha256_file(path))


def is_complete(path: Path) -> bool:
    """Returns whether `path` holds a finished artifact."""
    return (path / MANIFEST).is_file()


def load(path: Path, *, kind: str | None = None) -> Manifest:
    """Returns the manifest of a finished artifact.

    Raises:
        MissingArtifactError: there is no such directory, or its work was never finished.
        DamagedArtifactError: the manifest is not readable, of another schema version, or of another kind than `kind`.
    """
    file = path / MANIFEST
    if not path.is_dir():
        raise MissingArtifactError(f"{path} does not exist")
    if not file.is_file():
        raise MissingArtifactError(
            f"{path} is unfinished: it has no {MANIFEST}; run the stage that makes it again, it resumes"
        )
    try:
        body = json.loads(file.read_bytes())
        version = body["schema_version"]
        manifest = Manifest(
            kind=body["kind"],
            config=body["config"],
            inputs={name: InputRecord(**record) for name, record in body["inputs"].items()},
            files={name: FileRecord(**record) for name, record in body["files"].items()},
            counts=body["counts"],
            versions=body["versions"],
            measured=body["measured"],
            schema_version=version,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedArtifactError(f"{file} is damaged: {error!r}") from error
    if version != SCHEMA_VERSION:
        raise DamagedArtifactError(f"{file} has schema version {version}; this gristlm reads {SCHEMA_VERSION}")
    if kind is not None and manifest.kind != kind:
        raise DamagedArtifactError(f"{path} holds {manifest.kind!r}, not {kind!r}")
    return manifest


def started_config(path: Path) -> dict[str, object]:
    """Returns the settings of an artifact, finished or not.

    Raises:
        MissingArtifactError: nothing was started in `path`.
        DamagedArtifactError: its record is not readable.
    """
    file = path / STARTED
    if not file.is_file():
        raise MissingArtifactError(f"{path} holds no work of a stage: it has no {STARTED}")
    try:
        config = json.loads(file.read_bytes())["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedArtifactError(f"{file} is damaged: {error!r}") from error
    return dict(config)


def verify(path: Path, manifest: Manifest | None = None) -> Manifest:
    """Checks that every file of an artifact is there with the content that was written; returns its manifest.

    Raises:
        MissingArtifactError, DamagedArtifactError: names the first file that is not as it was written.
    """
    manifest = manifest or load(path)
    for name, record in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise MissingArtifactError(f"{file} is missing; {path / MANIFEST} lists it")
        if not record.sha256:
            continue
        if file.stat().st_size != record.bytes:
            raise DamagedArtifactError(f"{file} is damaged: {file.stat().st_size} bytes, {record.bytes} were written")
        if sha256_file(file) != record.sha256:
            raise DamagedArtifactError(f"{file} is damaged: its content is not what was written (SHA-256 differs)")
    return manifest


def _refuse_other_work(path: Path, found: dict[str, object], wanted: dict[str, object]) -> None:
    differences = _differences(_without_paths(found), _without_paths(wanted), "")
    if differences:
        raise ConfigError(
            f"{path} holds the work of other settings ({'; '.join(differences[:5])}); "
            f"choose another --output, or delete {path} to make it again"
        )


def _without_paths(started: dict[str, object]) -> dict[str, object]:
    inputs = started.get("inputs")
    if not isinstance(inputs, dict):
        return started
    return {**started, "inputs": {name: record.get("digest") for name, record in inputs.items()}}


def _differences(found: object, wanted: object, key: str) -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        names = sorted({*found, *wanted})
        return [
            line
            for name in names
            for line in _differences(found.get(name), wanted.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if found == wanted else [f"{key} was {found!r}, now {wanted!r}"]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
