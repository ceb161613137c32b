"""Benchmarks by name: what measures each, and where its rows are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from gristlm.evaluate.asking import Measured
from gristlm.evaluate.checkpoint import Checkpoint
from gristlm.evaluate.config import EvaluateConfig
from gristlm.evaluate.suite_answers import measure_gsm8k, measure_ifeval, measure_xstest
from gristlm.evaluate.suite_choices import measure_choices, measure_cloze, measure_truthfulqa
from gristlm.runs.files import write_atomic
from gristlm.verify.punkt import FILES

MEASURES: Mapping[str, Callable[[Path, Checkpoint, EvaluateConfig, torch.device], Measured]] = {
    "ifeval": measure_ifeval,
    "gsm8k": measure_gsm8k,
    "truthfulqa": measure_truthfulqa,
    "xstest": measure_xstest,
    "choices": measure_choices,
    "cloze": measure_cloze,
}


def measure(
    checkpoint: Checkpoint, name: str, config: EvaluateConfig, output_dir: Path, device: torch.device
) -> dict[str, object]:
    """Returns the figures of every suite; writes each suite's rows to `<checkpoint>.<suite>.jsonl`.

    A row has the prompt as it was rendered, the answer or the log-probabilities, and its score.

    Raises:
        FormatError: a suite's file is missing, empty or malformed; names it and the row.
    """
    found: dict[str, object] = {}
    for suite, path in (config.suites or {}).items():
        measured = MEASURES[suite](Path(path), checkpoint, config, device)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in measured.rows)
        write_atomic(rows_file(output_dir, name, suite), lines)
        found[suite] = measured.figures
    return found


def rows_file(output_dir: Path, name: str, suite: str) -> Path:
    """Returns where the rows of a checkpoint's suite are."""
    return output_dir / f"{name}.{suite}.jsonl"


def inputs(config: EvaluateConfig) -> dict[str, Path]:
    """Returns the suites' files, the harm model's and Punkt's, as inputs of the stage."""
    harm = {} if config.harm_model is None else {"harm_model": Path(config.harm_model)}
    punkt = {} if config.punkt is None else {f"punkt {name}": Path(config.punkt, name) for name in FILES}
    return {f"suite {name}": Path(path) for name, path in (config.suites or {}).items()} | harm | punkt
