"""The rollouts of a run that are worth reading: the best, the worst, and the strangest.

Strange is what the policy said although the model it started from would hardly have: the answers of the highest KL
divergence per token, where a reward that is being gamed shows first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.errors import FormatError, MissingArtifactError

_COLUMNS = ("step", "prompt", "completion", "tokens", "reward", "advantage", "kl")
Row = dict[str, object]


def rollout_files(path: Path) -> list[Path]:
    """Returns the Parquet files of a run's rollouts, by step; `path` is a run, its rlhf stage, or one arm of it.

    Raises:
        MissingArtifactError: there are none; says where they were looked for.
    """
    for folder in (path, path / "rlhf", *sorted(path.glob("rlhf/*")), *sorted(path.glob("*"))):
        files = sorted((folder / "rollouts").glob("step-*.parquet"))
        if files:
            return files
    raise MissingArtifactError(f"{path} holds no rollouts: neither rollouts/ nor rlhf/rollouts/ nor those of an arm")


def show(path: Path, *, count: int = 5, step: int | None = None) -> str:
    """Returns the best, worst and strangest `count` answers of a run as text, of all steps or of one.

    Raises:
        MissingArtifactError: there are no rollouts, or not of that step.
        FormatError: a file is not what a run writes.
    """
    files = rollout_files(path)
    if step is not None:
        files = [file for file in files if file.stem == f"step-{step:05d}"]
        if not files:
            raise MissingArtifactError(f"{path} has no rollouts of step {step}")
    rows = _read(files)
    by_reward = sorted(rows, key=lambda row: _number(row["reward"]))
    strange = sorted(rows, key=lambda row: -abs(_number(row["kl"])) / max(1, len(_list(row["tokens"]))))
    steps = f"step {step}" if step is not None else f"{len(files)} steps"
    lines = [f"{len(rows):,} answers of {steps} in {files[0].parent}"]
    for title, chosen in (("best", by_reward[::-1]), ("worst", by_reward), ("strangest", strange)):
        lines.append(f"\nthe {title}")
        lines += [_line(row) for row in _distinct(chosen, count)]
    return "\n".join(lines)


def _read(files: Sequence[Path]) -> list[Row]:
    try:
        table = pa.concat_tables([pq.read_table(file, columns=list(_COLUMNS)) for file in files])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{files[0].parent} holds files that are no rollouts: {error}") from error
    rows: list[Row] = table.to_pylist()
    return rows


def _distinct(rows: Sequence[Row], count: int) -> list[Row]:
    """Returns the first `count` rows of distinct prompt and answer."""
    found: dict[tuple[object, object], Row] = {}
    for row in rows:
        found.setdefault((row["prompt"], row["completion"]), row)
        if len(found) == count:
            break
    return list(found.values())


def _line(row: Row) -> str:
    figures = (f"{name} {_number(row[name]):.3f}" for name in ("reward", "advantage", "kl"))
    return f"  step {row['step']}  {'  '.join(figures)}\n    {row['prompt']!r:.300}\n    -> {row['completion']!r:.400}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
