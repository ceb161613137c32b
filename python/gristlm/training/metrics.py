"""`metrics.jsonl`: one JSON object per line and one line per step (or several: `samples.jsonl`)."""

from __future__ import annotations

import json
import math
from pathlib import Path

from gristlm.errors import StorageError
from gristlm.runs.files import write_atomic

METRICS = "metrics.jsonl"


class MetricsLog:
    """The figures of a stage's steps; a line is on its way to disk when `write` returns.

    Args:
        stage_dir: the stage's directory.
        name: of the file in it.
    """

    def __init__(self, stage_dir: Path, name: str = METRICS) -> None:
        self.path = stage_dir / name

    def write(self, step: int, **figures: float | str | None) -> None:
        """Appends one step's figures; a number that is not finite is written as null.

        Raises:
            StorageError: the disk is full or refuses.
        """
        body = {"step": step, **{name: _plain(value) for name, value in figures.items()}}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(body, allow_nan=False) + "\n")
        except OSError as error:
            raise StorageError(error.errno, f"cannot write {self.path}: {error}") from error

    def read(self) -> list[dict[str, object]]:
        """Returns every whole line; a torn last line is left out."""
        if not self.path.is_file():
            return []
        lines = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                body = json.loads(line)
            except ValueError:
                continue
            if isinstance(body, dict) and isinstance(body.get("step"), int):
                lines.append(body)
        return lines

    def truncate(self, step: int) -> None:
        """Forgets every step after `step`: what a resumed run is about to write again."""
        kept = [line for line in self.read() if isinstance(line["step"], int) and line["step"] <= step]
        write_atomic(self.path, "".join(json.dumps(line) + "\n" for line in kept))


def _plain(value: float | str | None) -> float | str | None:
    if isinstance(value, float):
        return float(f"{value:.8g}") if math.isfinite(value) else None
    return value
