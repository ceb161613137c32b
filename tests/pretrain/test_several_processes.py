"""Two processes train as one does, and a run goes on with another number of them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gristlm.errors import ConfigError
from gristlm.model import ModelConfig
from gristlm.pretrain import PretrainConfig, run
from gristlm.training import MetricsLog, tensor_parallel

SETTINGS: dict[str, object] = {
    "model": {"num_layers": 2, "d_model": 32, "num_heads": 2, "max_seq_len": 64},
    "steps": 6,
    "global_batch_size": 4,
    "seq_len": 64,
    "warmup_steps": 2,
    "checkpoint_every": 3,
    "evaluate_every": 3,
    "evaluate_batches": 1,
    "ema_decay": 0.8,
    "keep_last": None,
    "num_threads": 1,
    "seed": 3,
    "sample_every": 3,
    "sample_prompts": ["The value"],
    "sample_tokens": 8,
    "sample_temperature": 0.0,
}
PROGRAM = """
import json, sys
from pathlib import Path
from gristlm.errors import ConfigError
from gristlm.model import ModelConfig
from gristlm.pretrain import PretrainConfig, run
config, inputs, output = map(json.loads, sys.argv[1:])
run(PretrainConfig.model_validate(config), {k: Path(v) for k, v in inputs.items()}, Path(output))
"""


def several_processes(inputs: dict[str, Path], output: Path, settings: dict[str, object], world_size: int = 2) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [json.dumps(value) for value in (settings, {k: str(v) for k, v in inputs.items()}, str(output))]
    processes = []
    for rank in range(world_size):
        place = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": world_size,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        env = {**os.environ, **{name: str(value) for name, value in place.items()}, "GLOO_SOCKET_IFNAME": "lo"}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=env, stderr=subprocess.PIPE))
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * world_size, "\n".join(errors)


def losses(stage: Path) -> list[float]:
    return [float(str(line["loss"])) for line in MetricsLog(stage).read()]


def go_on_from_the_middle(stage: Path, other: Path) -> None:
    """Leaves in `other` what a run of `stage` that was cut after step 3 would have left."""
    import shutil

    for name in ("stage.json", "started.json", "metrics.jsonl"):
        if (stage / name).exists():
            other.mkdir(exist_ok=True)
            shutil.copy(stage / name, other / name)
    shutil.copytree(stage / "checkpoints" / "step-00000003", other / "checkpoints" / "step-00000003")


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_two_are_as_one_and_either_goes_on_from_the_other(
    inputs: dict[str, Path], tmp_path: Path, optimizer: str
) -> None:
    settings = {**SETTINGS, "optimizer": optimizer}
    one, two = tmp_path / "one", tmp_path / "two"
    run(PretrainConfig.model_validate(settings), inputs, one)
    several_processes(inputs, two, settings)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    samples = [MetricsLog(stage, "samples.jsonl").read() for stage in (one, two)]
    assert samples[0] == samples[1]
    assert [line["step"] for line in samples[0]] == [3, 6]
    averaged = [load_file(stage / "final" / "model.safetensors") for stage in (one, two)]
    for name, tensor in averaged[0].items():
        torch.testing.assert_close(averaged[1][name], tensor, atol=2e-4, rtol=1e-3)
    if optimizer == "adamw":
        return
    go_on_from_the_middle(two, tmp_path / "two-to-one")
    run(PretrainConfig.model_validate(settings), inputs, tmp_path / "two-to-one")
    go_on_from_the_middle(one, tmp_path / "one-to-two")
    several_processes(inputs, tmp_path / "one-to-two", settings)
    for stage in ("two-to-one", "one-to-two"):
        assert losses(tmp_path / stage) == pytest.approx(losses(one), abs=1e-5)


@pytest.mark.parametrize(("optimizer", "world_size"), [("muon", 2), ("adamw", 4)])
def test_tensor_parallel_is_as_one_and_either_goes_on_from_the_other(
    inputs: dict[str, Path], tmp_path: Path, optimizer: str, world_size: int
) -> None:
    settings = {**SETTINGS, "optimizer": optimizer, "model": {**SETTINGS["model"], "value_embeddings": True}}  # type: ignore[dict-item]
    cut = {**settings, "tensor_parallel": 2}
    one, two = tmp_path / "one", tmp_path / "two"
    run(PretrainConfig.model_validate(settings), inputs, one)
    several_processes(inputs, two, cut, world_size)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert MetricsLog(two, "samples.jsonl").read() == MetricsLog(one, "samples.jsonl").read()
    assert len(list((two / "checkpoints/step-00000006/train_state").glob("*.safetensors"))) == 2 * world_size
    for stage in (one, two):
        assert MetricsLog(stage).read()[-1]["tokens"] == 6 * 4 * 64
    go_on_from_the_middle(two, tmp_path / "cut-to-one")
    run(PretrainConfig.model_validate(settings), inputs, tmp_path / "cut-to-one")
    go_on_from_the_middle(one, tmp_path / "one-to-cut")
    several_processes(inputs, tmp_path / "one-to-cut", cut, world_size)
    for stage in ("cut-to-one", "one-to-cut"):
        assert losses(tmp_path / stage) == pytest.approx(losses(one), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "degree", "world_size", "named"),
    [
        ({}, 2, 3, "3 processes cannot be divided"),
        ({"num_heads": 2, "d_model": 32}, 4, 4, "num_heads 2"),
        ({"num_experts": 4, "expert_d_ff": 32}, 2, 2, "experts"),
    ],
)
def test_what_cannot_be_cut_is_refused(changes: dict[str, object], degree: int, world_size: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        tensor_parallel.check(ModelConfig.model_validate(changes), degree, world_size)


def test_one_process_cannot_be_cut(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tensor_parallel is 2, which 1 processes"):
        run(PretrainConfig.model_validate({**SETTINGS, "tensor_parallel": 2}), inputs, tmp_path)
