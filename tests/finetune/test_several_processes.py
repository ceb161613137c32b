"""Two processes tune as one does, whatever the step holds, and one goes on from what two left."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from gristlm import finetune  # noqa: E402
from gristlm.finetune import FinetuneConfig  # noqa: E402
from gristlm.training import MetricsLog  # noqa: E402

COMMON = {
    "epochs": 1,
    "global_batch_size": 7,
    "num_threads": 1,
    "checkpoint_every": 2,
    "keep_last": 9,
    "num_samples": 0,
}
SAMPLED = {"num_samples": 2, "max_sample_tokens": 4}
RUNS = {  # 7 conversations for 2 processes; the last micro-batch of one stands alone, so the other repeats one
    "sft": COMMON | {"method": "sft", "learning_rate": 1e-2, "micro_batch_size": 3, "neftune_alpha": 5.0} | SAMPLED,
    "dpo": COMMON | {"method": "dpo", "learning_rate": 1e-3},
    "kto": COMMON | {"method": "kto", "learning_rate": 1e-3, "micro_batch_size": 2, "max_steps": 3},
    "memory": COMMON | {"method": "ipo", "learning_rate": 1e-3, "cache_reference": False, "max_steps": 3},
    "lora": COMMON | {"method": "dpo", "lora_rank": 2, "learning_rate": 1e-2, "num_samples": 2, "max_sample_tokens": 4},
}
PROGRAM = """
import json, sys
from pathlib import Path
from gristlm import finetune
from gristlm.finetune import FinetuneConfig
from gristlm.training.distributed import joined

runs, inputs, output = map(json.loads, sys.argv[1:])
with joined() as ranks:
    for name, settings in runs.items():
        files = {key: Path(path) for key, path in inputs[settings["method"] == "sft"].items()}
        finetune.run(FinetuneConfig.model_validate(settings), files, Path(output) / name)
"""


def files(checkpoint: Path, data: Path, name: str) -> dict[str, Path]:
    return {"checkpoint": checkpoint, "data": data / f"{name}.jsonl", "heldout_data": data / f"{name}_heldout.jsonl"}


def two_processes(inputs: list[dict[str, Path]], output: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = [{key: str(path) for key, path in given.items()} for given in inputs]
    arguments = [json.dumps(value) for value in (RUNS, paths, str(output))]
    processes = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {**os.environ, **{name: str(value) for name, value in place.items()}, "GLOO_SOCKET_IFNAME": "lo"}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=env, stderr=subprocess.PIPE))
    errors = [process.communicate(timeout=240)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)


@pytest.mark.slow
def test_two_are_as_one(checkpoint, data, tmp_path):
    inputs = [files(checkpoint, data, name) for name in ("pairs", "sft")]
    two_processes(inputs, tmp_path / "two")
    for name in RUNS:
        config = FinetuneConfig.model_validate(RUNS[name])
        given = inputs[config.method == "sft"]
        one = finetune.run(config, given, tmp_path / name)
        lines = [MetricsLog(path).read() for path in (tmp_path / name, tmp_path / "two" / name)]
        assert [line["step"] for line in lines[1]] == [line["step"] for line in lines[0]]
        for alone, shared in zip(*lines, strict=True):
            assert alone.keys() == shared.keys()
            for key in alone.keys() - {"tokens_per_second"}:
                assert shared[key] == pytest.approx(alone[key], rel=1e-3, abs=1e-5), (name, alone["step"], key)
        weights = [load_file(path / "final/model.safetensors") for path in (tmp_path / name, tmp_path / "two" / name)]
        for tensor, values in weights[0].items():
            torch.testing.assert_close(weights[1][tensor], values, atol=5e-4, rtol=1e-3)
        assert (tmp_path / "two" / name / "manifest.json").is_file()
        assert one.counts["steps"] == len(lines[0]) - 1
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in ("started.json", "metrics.jsonl"):
        shutil.copy(tmp_path / "two/dpo" / file, cut / file)
    shutil.copytree(tmp_path / "two/dpo/checkpoints/step-00000002", cut / "checkpoints/step-00000002")
    finetune.run(FinetuneConfig.model_validate(RUNS["dpo"]), inputs[0], cut)
    losses = [[line.get("loss") for line in MetricsLog(path).read()][1:] for path in (tmp_path / "dpo", cut)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
