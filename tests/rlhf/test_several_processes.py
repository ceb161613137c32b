"""Two processes learn as one does; a run goes on with another number of them; an error ends all of them."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

import gristlm as gl
from gristlm.rlhf import RLHFConfig
from gristlm.runs import artifact

SETTINGS: dict[str, object] = {
    "steps": 3,
    "prompts_per_step": 3,
    "group_size": 3,
    "max_new_tokens": 6,
    "micro_batch_size": 2,
    "updates_per_step": 2,
    "learning_rate": 1e-3,
    "kl_coef": 0.05,
    "checkpoint_every": 2,
    "keep_last": 9,
    "max_heldout_prompts": 4,
    "num_threads": 1,
    "seed": 5,
}
PROGRAM = """
import json, sys
from pathlib import Path
import gristlm as gl
config, inputs, output = map(json.loads, sys.argv[1:])
gl.rlhf.run(gl.rlhf.RLHFConfig.model_validate(config), {k: Path(v) for k, v in inputs.items()}, Path(output))
"""
SAME = ("loss", "grad_norm", "reward", "kl", "entropy", "value_loss", "explained", "check_reward", "clipped")


def two_processes(inputs: dict[str, Path], output: Path, settings: dict[str, object]) -> list[tuple[int, str]]:
    """Each process's exit status and what it said."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [json.dumps(value) for value in (settings, {k: str(v) for k, v in inputs.items()}, str(output))]
    processes = []
    for rank in range(2):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {**os.environ, **{name: str(value) for name, value in place.items()}, "GLOO_SOCKET_IFNAME": "lo"}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=env, stderr=subprocess.PIPE))
    said = [process.communicate(timeout=200)[1].decode() for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def ends_well(ended: list[tuple[int, str]]) -> None:
    assert [status for status, _ in ended] == [0, 0], "\n".join(text for _, text in ended)


def lines(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in SAME if name in row} for row in rows]


def alike(one: Path, two: Path) -> None:
    """The same answers, figures and weights, up to the rounding of sums in another order."""
    artifact.verify(two)
    for file in sorted((one / "rollouts").iterdir()):
        rows, others = (pq.read_table(run / "rollouts" / file.name).to_pylist() for run in (one, two))
        assert [row["tokens"] for row in rows] == [row["tokens"] for row in others]
        assert [row["reward"] for row in rows] == [row["reward"] for row in others]
    for row, other in zip(lines(one), lines(two), strict=True):
        assert other == pytest.approx(row, rel=1e-3, abs=2e-5)
    weights, others = (load_file(run / "final" / "model.safetensors") for run in (one, two))
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, atol=3e-5, rtol=1e-3)


def cut_after_two(begun: Path, other: Path) -> Path:
    """Leaves in `other` what a run that was cut off in its third step would have left."""
    shutil.copytree(begun, other)
    (other / "manifest.json").unlink()
    shutil.rmtree(other / "final")
    shutil.rmtree(other / "checkpoints" / "step-00000003")
    return other


@pytest.mark.parametrize(
    "changes",
    [{"algorithm": "grpo", "kl_in": "loss", "check_every": 2}, {"algorithm": "ppo", "one_step_off": True}],
    ids=["grpo", "ppo"],
)
def test_two_are_as_one_and_either_goes_on_from_the_other(changes, checkpoint, prompts, likes_e, tmp_path):
    settings = {**SETTINGS, **changes, "rewards": {likes_e: 1.0, "length": 0.5}}
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    one, two = tmp_path / "one", tmp_path / "two"
    manifest = gl.rlhf.run(RLHFConfig.model_validate(settings), inputs, one)
    ends_well(two_processes(inputs, two, settings))
    alike(one, two)
    assert artifact.load(two, kind="rlhf").counts["reward_after"] == pytest.approx(manifest.counts["reward_after"])
    again = cut_after_two(two, tmp_path / "two-then-one")
    gl.rlhf.run(RLHFConfig.model_validate(settings), inputs, again)
    alike(one, again)
    if changes["algorithm"] == "ppo":
        again = cut_after_two(one, tmp_path / "one-then-two")
        ends_well(two_processes(inputs, again, settings))
        alike(one, again)


def test_a_reward_that_fails_ends_every_process_with_its_name(checkpoint, prompts, tmp_path):
    own = tmp_path / "bad.py"
    own.write_text("def broken(prompt, response):\n    return float('nan')\n")
    settings = {**SETTINGS, "rewards": {f"{own}:broken": 1.0}}
    ended = two_processes({"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run", settings)
    for status, text in ended:
        assert status != 0  # where the other ended first, gloo's threads may abort instead of exiting with 1
        assert "TrainingError" in text
        assert "broken" in text
