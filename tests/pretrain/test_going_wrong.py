"""What a run does when something goes wrong: twenty kills, a full disk, damage, spikes; and when it ends early."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import SETTINGS, assert_same_end, config

from gristlm.errors import StorageError
from gristlm.model import Model
from gristlm.pretrain import run
from gristlm.pretrain.heldout import HeldOut
from gristlm.training import MetricsLog, checkpoint
from gristlm.training.optimizer import Optimizer
from gristlm.training.spikes import Spikes

KILLED_TWENTY_TIMES = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from gristlm.pretrain import PretrainConfig, run
from gristlm.runs import progress
from gristlm.training import MetricsLog

torch.set_num_threads(1)
progress.enable(False)
config, inputs, output = map(json.loads, sys.argv[1:])
config, output = PretrainConfig.model_validate(config), Path(output)
inputs = {name: Path(path) for name, path in inputs.items()}
log, chance, kills, newest = MetricsLog(output), random.Random(7), 0, []
run(config.model_copy(update={"steps": 2}), inputs, output.with_name("warm"))  # so that no child has to import
while kills < 20:
    before = len(log.read()) if (output / "metrics.jsonl").exists() else 0
    wanted = before + chance.choice((-1, 0, 1, 3, 5, 6))
    child = os.fork()
    if child == 0:
        run(config, inputs, output)
        os._exit(0)
    late = time.monotonic() + chance.uniform(0.0, 0.05)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        now = log.read()[-1:]
        if time.monotonic() > late and (wanted < before or (now and now[0]["step"] > wanted)):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            break
        time.sleep(0.001)
    else:
        break
    newest.append(sorted(path.name for path in output.glob("checkpoints/step-*"))[-1:])
run(config, inputs, output)
print(json.dumps({"kills": kills, "newest": newest}))
"""


def test_twenty_kills_end_bit_identical(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = {**SETTINGS, "steps": 60, "ema_decay": 0.9, "spike_deviations": 6.0, "keep_best": True}
    run(config(**{key: settings[key] for key in settings}), inputs, tmp_path / "uncut")
    arguments = [json.dumps(v) for v in (settings, {k: str(v) for k, v in inputs.items()}, str(tmp_path / "cut"))]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED_TWENTY_TIMES, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == 20
    assert len({tuple(names) for names in told["newest"]}) >= 3, "the kills fell on different stretches of the run"
    for name in ("final/model.safetensors", "checkpoints/step-00000060/train_state/averages.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "uncut" / name).read_bytes()
    assert_same_end(tmp_path / "cut", tmp_path / "uncut", step=60)


def test_a_damaged_checkpoint_is_named(
    inputs: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(config(), inputs, tmp_path)
    state = tmp_path / "checkpoints" / "step-00000008" / "train_state" / "optimizer.safetensors"
    flipped = bytearray(state.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    state.write_bytes(flipped)
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoints" / "step-00000006"
    assert "step-00000008 is damaged and passed over" in caplog.text
    assert "optimizer.safetensors" in caplog.text


def test_a_disk_that_is_full_for_a_while(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save = checkpoint.save

    def full_at_four(stage: Path, step: int, *args: object, **options: object) -> Path:
        if step == 4:
            raise StorageError(28, "No space left on device")
        return save(stage, step, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "save", full_at_four)
    run(config(keep_last=None), inputs, tmp_path)
    assert "No space left on device; training goes on" in caplog.text
    assert sorted(path.name[-1] for path in (tmp_path / "checkpoints").iterdir()) == ["2", "6", "8"]


def worse_and_worse(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    rest = iter(losses)
    monkeypatch.setattr(HeldOut, "measure", lambda *_: {"heldout_loss": next(rest), "heldout_bits_per_byte": 1.0})


def test_the_best_is_kept_and_patience_ends(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse_and_worse(monkeypatch, [5.0, 4.0, 4.5, 4.4, 4.3])
    manifest = run(config(steps=20, evaluate_every=2, keep_best=True, keep_last=1, patience=3), inputs, tmp_path)
    assert manifest.counts["steps"] == 10
    assert [line["step"] for line in MetricsLog(tmp_path).read()] == list(range(1, 11))
    assert sorted(path.name[-2:] for path in (tmp_path / "checkpoints").iterdir()) == ["04", "10"]


def test_an_update_of_a_spike_is_left_out(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, updates = iter(range(1, 100)), []

    def third(self: Spikes, loss: float) -> bool:
        del loss
        here = next(calls) == 3
        self.skipped += here
        return here

    step = Optimizer.step
    monkeypatch.setattr(Optimizer, "step", lambda self: updates.append(1) or step(self))
    monkeypatch.setattr(Spikes, "found", third)
    manifest = run(config(spike_deviations=5.0), inputs, tmp_path)
    assert manifest.counts["skipped_updates"] == 1
    assert len(updates) == 7
    assert [line["skipped_updates"] for line in MetricsLog(tmp_path).read()] == [0, 0, 1, 1, 1, 1, 1, 1]


def test_averaged_weights_are_measured_and_final(inputs: dict[str, Path], tmp_path: Path) -> None:
    run(config(ema_decay=0.5), inputs, tmp_path / "averaged")
    run(config(), inputs, tmp_path / "plain")
    losses = [[line["loss"] for line in MetricsLog(tmp_path / name).read()] for name in ("averaged", "plain")]
    assert losses[0] == losses[1], "averaging changes nothing in training"
    newest = checkpoint.latest(tmp_path / "averaged")
    assert newest is not None
    from safetensors.torch import load_file

    averages = load_file(newest / "train_state" / "averages.safetensors")
    final = dict(Model.from_pretrained(tmp_path / "averaged" / "final").named_parameters())
    assert all(torch.equal(final[name], tensor) for name, tensor in averages.items())
    last = dict(Model.from_pretrained(newest).named_parameters())
    assert not torch.equal(last["norm.weight"], final["norm.weight"])
