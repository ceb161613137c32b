"""A run that was cut off, by whatever, ends with the same bits as one that was not."""

import hashlib
import json
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from gristlm import finetune  # noqa: E402
from gristlm.errors import StorageError  # noqa: E402
from gristlm.finetune import FinetuneConfig  # noqa: E402
from gristlm.training import MetricsLog  # noqa: E402
from gristlm.training import checkpoint as checkpoints  # noqa: E402

SFT = {"epochs": 3, "global_batch_size": 8, "learning_rate": 1e-2, "num_threads": 1, "checkpoint_every": 5}
DPO = {
    "method": "dpo",
    "epochs": 3,
    "global_batch_size": 8,
    "learning_rate": 1e-3,
    "num_threads": 1,
    "checkpoint_every": 5,
}


def inputs(checkpoint, data, name="sft"):
    return {"checkpoint": checkpoint, "data": data / f"{name}.jsonl", "heldout_data": data / f"{name}_heldout.jsonl"}


def metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def weights(path):
    return hashlib.sha256((path / "final/model.safetensors").read_bytes()).hexdigest()


KILLED = """
import os, signal, sys
from pathlib import Path
from gristlm import finetune
from gristlm.finetune import FinetuneConfig
from gristlm.training.metrics import MetricsLog

write, at = MetricsLog.write, int(sys.argv[5])
def write_and_die(self, step, **figures):
    write(self, step, **figures)
    if step == at:
        os.kill(os.getpid(), signal.SIGKILL)
MetricsLog.write = write_and_die
directory, data, name, out = sys.argv[1:5]
data, heldout = Path(data) / f"{name}.jsonl", Path(data) / f"{name}_heldout.jsonl"
files = {"checkpoint": Path(directory), "data": data, "heldout_data": heldout}
finetune.run(FinetuneConfig.model_validate_json(sys.argv[6]), files, Path(out))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("sft", SFT), ("pairs", DPO), ("sft", SFT | {"lora_rank": 4, "neftune_alpha": 5.0, "evaluate_every": 4})],
    ids=["sft", "dpo", "lora"],
)
def test_a_run_that_was_killed_ends_like_one_that_was_not(checkpoint, data, tmp_path, name, options):
    config = FinetuneConfig(**options)
    whole = finetune.run(config, inputs(checkpoint, data, name), tmp_path / "whole")
    for step in (3, 12):  # before the first checkpoint, and after the second
        arguments = [str(checkpoint), str(data), name, str(tmp_path / "cut"), str(step), config.model_dump_json()]
        killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (tmp_path / "cut/manifest.json").exists()
    cut = finetune.run(config, inputs(checkpoint, data, name), tmp_path / "cut")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert cut.digest == whole.digest
    timeless = [
        [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in metrics(tmp_path / n)]
        for n in ("cut", "whole")
    ]
    assert timeless[0] == timeless[1]
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n / "final").rglob("*")) for n in ("cut", "whole")]
    assert files[0] == files[1]


CUTS = [{"method": method} for method in ("ipo", "hinge", "robust", "simpo", "orpo", "cpo", "kto")]


@pytest.mark.parametrize("options", [*CUTS, {"cache_reference": False}, {"lora_rank": 4}], ids=str)
def test_every_method_goes_on_from_its_checkpoint_to_the_same_bits(checkpoint, data, tmp_path, monkeypatch, options):
    config = FinetuneConfig(**DPO | {"epochs": 2, "num_samples": 2, "max_sample_tokens": 4} | options)
    whole = finetune.run(config, inputs(checkpoint, data, "pairs"), tmp_path / "whole")
    write = MetricsLog.write

    def write_and_stop(self, step, **figures):
        write(self, step, **figures)
        if step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            finetune.run(config, inputs(checkpoint, data, "pairs"), tmp_path / "cut")
    assert finetune.run(config, inputs(checkpoint, data, "pairs"), tmp_path / "cut").digest == whole.digest


def test_a_damaged_checkpoint_of_this_run_is_passed_over(checkpoint, data, tmp_path):
    config = FinetuneConfig(**SFT)
    whole = finetune.run(config, inputs(checkpoint, data), tmp_path / "whole")
    arguments = [str(checkpoint), str(data), "sft", str(tmp_path / "cut"), "12", config.model_dump_json()]
    subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    newest = max((tmp_path / "cut/checkpoints").glob("step-*"))
    (newest / "model.safetensors").write_bytes(b"torn")
    assert finetune.run(config, inputs(checkpoint, data), tmp_path / "cut").digest == whole.digest


@pytest.mark.parametrize("file", ["model", "metrics"])
def test_a_full_disk_is_named_and_the_run_goes_on_afterwards(checkpoint, data, tmp_path, monkeypatch, file):
    config = FinetuneConfig(**SFT | {"num_samples": 0})
    whole = finetune.run(config, inputs(checkpoint, data), tmp_path / "whole")
    sync = checkpoints._sync

    def full(path):
        if "step-00000010" in str(path):
            raise OSError(28, "No space left on device")
        sync(path)

    def full_log(self, step, **figures):
        if step == 8:
            self.path.rename(tmp_path / "kept.jsonl")
            self.path.symlink_to("/dev/full")
        write(self, step, **figures)

    write = MetricsLog.write
    with monkeypatch.context() as patch:
        if file == "model":
            patch.setattr(checkpoints, "_sync", full)
        else:
            patch.setattr(MetricsLog, "write", full_log)
        with pytest.raises(StorageError, match="No space left"):
            finetune.run(config, inputs(checkpoint, data), tmp_path / "cut")
    assert [path.name for path in (tmp_path / "cut/checkpoints").iterdir()] == ["step-00000005"]
    if file == "metrics":
        (tmp_path / "kept.jsonl").replace(tmp_path / "cut/metrics.jsonl")
    assert finetune.run(config, inputs(checkpoint, data), tmp_path / "cut").digest == whole.digest
