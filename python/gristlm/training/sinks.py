"""Copies of a run's metrics for the services people watch, by name; `metrics.jsonl` is always written."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from gristlm.errors import ConfigError

Name = Literal["tensorboard", "wandb", "trackio", "mlflow"]


class Sink(Protocol):
    """Somewhere figures go."""

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Sends one step's figures."""

    def close(self) -> None:
        """Sends what is left."""


class _TensorBoard:
    def __init__(self, stage_dir: Path) -> None:
        _module("tensorboard", "tensorboard")
        self._writer: Any = _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(
            str(stage_dir / "tensorboard")
        )

    def write(self, step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Run:
    """wandb, and trackio, which has its interface."""

    def __init__(self, name: str, stage_dir: Path) -> None:
        self._run: Any = _module(name, name).init(project="gristlm", name=stage_dir.resolve().parent.name)

    def write(self, step: int, figures: dict[str, float]) -> None:
        self._run.log(figures, step=step)

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    def __init__(self, stage_dir: Path) -> None:
        self._mlflow: Any = _module("mlflow", "mlflow")
        self._mlflow.start_run(run_name=stage_dir.resolve().parent.name)

    def write(self, step: int, figures: dict[str, float]) -> None:
        self._mlflow.log_metrics(figures, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


def open_sinks(names: Sequence[Name], stage_dir: Path) -> list[Sink]:
    """Returns an open sink for each name.

    Raises:
        ConfigError: its package is not installed.
    """
    made: list[Sink] = []
    for name in names:
        if name == "tensorboard":
            made.append(_TensorBoard(stage_dir))
        else:
            made.append(_MLflow(stage_dir) if name == "mlflow" else _Run(name, stage_dir))
    return made


def _module(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"sinks names {package!r}, which is not installed: pip install {package}, or leave it out"
        ) from error
