"""What the report reads of a run directory; whatever is absent or damaged is left out, never an error."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gristlm.errors import ArtifactError
from gristlm.runs import artifact
from gristlm.runs.artifact import Manifest
from gristlm.runs.layout import STAGES

Row = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class StageFiles:
    """A stage's directory: its manifest where it is complete, and the rows of `metrics.jsonl`."""

    name: str
    state: Literal["complete", "unfinished", "damaged", "not run"]
    manifest: Manifest | None
    metrics: list[Row]
    problem: str = ""

    def count(self, name: str) -> float | None:
        """Returns a count of the manifest as a number."""
        return number(self.manifest.counts.get(name)) if self.manifest else None

    def measured(self, name: str) -> float | None:
        """Returns a measurement of the manifest: `seconds`, `cpu_seconds` or `peak_memory_bytes`."""
        return number(self.manifest.measured.get(name)) if self.manifest else None

    def series(self, name: str) -> list[tuple[float, float]]:
        """Returns (step, value) of each row of the metrics that has both."""
        points = [(number(row.get("step")), number(row.get(name))) for row in self.metrics]
        return [(step, value) for step, value in points if step is not None and value is not None]


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """A run directory as the report sees it."""

    path: Path
    stages: dict[str, StageFiles]
    arms: dict[str, StageFiles]  # of the rlhf stage, where it has any
    documents: Row
    tokenizer: Row
    summary: Row
    scores: dict[str, Row]
    written: list[Row]  # what the model wrote while it was pretrained
    made_by: dict[str, str]  # digest of an artifact, checkpoint or file -> the stage that made it


def read_run(run_dir: Path) -> RunFiles:
    """Returns what is in a run directory."""
    stages = {name: _stage(run_dir / name, name) for name in STAGES.values()}
    summary = _json(run_dir / "evaluate" / "summary.json")
    scored = {path.stem: _json(path) for path in sorted((run_dir / "evaluate").glob("*.json"))}
    order = list(mapping(summary.get("checkpoints")))
    names = [*order, *(name for name in scored if name not in order)]
    return RunFiles(
        path=run_dir,
        stages=stages,
        arms={
            path.parent.name: _stage(path.parent, path.parent.name)
            for path in sorted((run_dir / STAGES["rlhf"]).glob("*/metrics.jsonl"))
        },
        documents=_json(run_dir / "documents" / "report.json"),
        tokenizer=_json(run_dir / "tokenizer" / "statistics.json"),
        summary=summary,
        scores={name: scored[name] for name in names if "samples" in scored.get(name, {})},
        written=_lines(run_dir / STAGES["pretrain"] / "samples.jsonl"),
        made_by=_made_by(run_dir, stages),
    )


def number(value: object) -> float | None:
    """Returns a finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mapping(value: object) -> Row:
    """Returns an object's members, none for anything else."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[object]:
    """Returns a list's items, none for anything else."""
    return value if isinstance(value, list) else []


def _stage(path: Path, name: str) -> StageFiles:
    if not path.is_dir():
        return StageFiles(name, "not run", None, [])
    metrics = _lines(path / "metrics.jsonl")
    if not artifact.is_complete(path):
        return StageFiles(name, "unfinished", None, metrics)
    try:
        return StageFiles(name, "complete", artifact.load(path), metrics)
    except ArtifactError as error:
        return StageFiles(name, "damaged", None, metrics, str(error))


def _made_by(run_dir: Path, stages: Mapping[str, StageFiles]) -> dict[str, str]:
    made: dict[str, str] = {}
    for name, stage in stages.items():
        if stage.manifest is None:
            continue
        made[stage.manifest.digest] = name
        made |= {record.sha256: name for record in stage.manifest.files.values() if record.sha256}
        for checkpoint in (run_dir / name / "final", *sorted((run_dir / name / "checkpoints").glob("step-*"))):
            try:
                made[artifact.load(checkpoint).digest] = name
            except ArtifactError:
                continue
    return made


def _json(path: Path) -> Row:
    try:
        return mapping(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _lines(path: Path) -> list[Row]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            rows.append(mapping(json.loads(line)))
        except ValueError:  # a line that a cut-off call left
            continue
    return rows
