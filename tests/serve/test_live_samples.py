"""Samples of a run that is training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from gristlm.serve.live_samples import LiveSamples


def put(checkpoint: Path, run: Path, stage: str, step: int) -> Path:
    folder = run / stage / "checkpoints" / f"step-{step:08}"
    shutil.copytree(checkpoint, folder)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_each_new_checkpoint_is_sampled_once(checkpoint: Path, tmp_path: Path) -> None:
    samples = LiveSamples(tmp_path)
    assert not samples.look()
    put(checkpoint, tmp_path, "pretrain", 5)
    assert samples.look()
    assert not samples.look()
    assert [(one.stage, one.step) for one in samples.rows()] == [("pretrain", 5)] * 3
    put(checkpoint, tmp_path, "finetune", 2)
    assert samples.look()
    rows = samples.rows()
    assert [(one.stage, one.step) for one in rows] == [("finetune", 2)] * 3 + [("pretrain", 5)] * 3
    assert all(one.prompt for one in rows)
    damaged = put(checkpoint, tmp_path, "finetune", 9)
    (damaged / "model.safetensors").unlink()
    assert not samples.look()
    assert samples.rows() == rows
    samples.start()
    samples.close()
