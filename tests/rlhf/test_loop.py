"""The whole loop on a tiny untrained model."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

import gristlm as gl
from gristlm.errors import ConfigError, FormatError, TrainingError
from gristlm.rlhf import RLHFConfig
from gristlm.rlhf.losses import ALGORITHMS
from gristlm.runs import artifact

SMALL = {
    "steps": 12,
    "prompts_per_step": 4,
    "group_size": 8,
    "max_new_tokens": 8,
    "learning_rate": 3e-2,
    "kl_coef": 0.01,
    "num_threads": 1,
    "checkpoint_every": 4,
}
COLUMNS = ["step", "prompt", "completion", "tokens", "logprobs", "reward", "advantage", "kl", "finish_reason"]


def config(reward: str, **changes: object) -> RLHFConfig:
    return RLHFConfig.model_validate({**SMALL, "rewards": {reward: 1.0}, **changes})


def contents(run: Path) -> dict[str, bytes]:
    """Every file whose bytes two equal runs must share: all but the times in the log and in the manifest."""
    files = [*run.glob("final/*"), *run.glob("rollouts/*"), *run.glob("*.parquet"), run / "heldout.jsonl"]
    return {str(file.relative_to(run)): file.read_bytes() for file in files if file.name != "manifest.json"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_reward_rises_under_every_algorithm(algorithm, checkpoint, prompts, likes_e, tmp_path):
    inputs = {"checkpoint": checkpoint, "prompts": prompts, "heldout_prompts": prompts}
    slow = algorithm in ("best_of_n", "online_dpo")  # one or two answers of a group count
    steps = 40 if slow else 20
    manifest = gl.rlhf.run(config(likes_e, algorithm=algorithm, steps=steps), inputs, tmp_path / "run")
    assert manifest.counts["reward_before"] <= 0.4
    assert manifest.counts["reward_after"] >= (0.5 if slow else 0.75)
    assert manifest.counts["kl"] > (0.1 if slow else 0.5)
    assert gl.Model.from_pretrained(tmp_path / "run" / "final").config.vocab_size


def test_what_a_run_leaves(checkpoint, prompts, likes_e, tmp_path):
    run = tmp_path / "run"
    settings = config(likes_e, steps=3, rewards={likes_e: 2.0, "length": 0.5, "regex:a": 0.0})
    manifest = gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts, "heldout_prompts": prompts}, run)
    artifact.verify(run)
    artifact.verify(run / "final")
    assert manifest.counts["completions"] == 3 * 4 * 8
    assert manifest.counts["heldout_prompts"] == 24
    assert {f"reward {likes_e}", "checkpoint", "prompts", "heldout_prompts"} == set(manifest.inputs)
    files = sorted((run / "rollouts").iterdir())
    assert [file.name for file in files] == ["step-00001.parquet", "step-00002.parquet", "step-00003.parquet"]
    for step, file in enumerate(files, 1):
        rows = pq.read_table(file).to_pylist()
        assert list(rows[0]) == [*COLUMNS, f"reward/{likes_e}", "reward/length", "reward/regex:a"]
        assert len(rows) == 32
        for row in rows:
            assert row["step"] == step
            assert row["prompt"].startswith("<|im_start|>user\nSay ")
            assert row["prompt"].endswith("<|im_end|>\n<|im_start|>assistant\n")
            assert len(row["tokens"]) == len(row["logprobs"]) <= 8
            assert row["reward"] == pytest.approx(2 * row[f"reward/{likes_e}"] + 0.5 * row["reward/length"])
            assert (row["finish_reason"] == "length") == (len(row["tokens"]) == 8 and row["tokens"][-1] != 2)
        assert len({row["prompt"] for row in rows}) == 4
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 3]
    assert all(line["logprob_mismatch"] <= 1e-4 for line in lines if "loss" in line)
    assert pq.read_table(run / "heldout_before.parquet").num_rows == 24
    again = gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts, "heldout_prompts": prompts}, run)
    assert again == manifest


@pytest.mark.parametrize(
    ("die_at_call", "changes"),
    [
        (5 * 32 + 7, {"kl_in": "loss"}),
        (11 * 32 + 30, {"algorithm": "ppo", "kl_target": 1.0, "check_every": 3}),
        (7 * 32 + 1, {"one_step_off": True, "max_kl": 50.0, "schedule": "linear"}),
        (11 * 32 + 5, {"max_sampling_rounds": 3}),
    ],
)
def test_a_run_that_was_killed_ends_bit_identical(die_at_call, changes, checkpoint, prompts, tmp_path):
    """Killed with -9 in the middle of scoring a step's rollouts, some steps after the last checkpoint."""
    bomb = tmp_path / "fuse"
    own = tmp_path / "own.py"
    own.write_text(
        "import os, pathlib\ncalls = 0\n"
        "def likes_e(prompt, response):\n"
        "    global calls\n    calls += 1\n"
        f"    if calls == {die_at_call} and pathlib.Path({str(bomb)!r}).exists():\n        os.kill(os.getpid(), 9)\n"
        "    return response.count('e')\n"
    )
    settings = config(f"{own}:likes_e", steps=12, updates_per_step=2, kl_coef=0.1, **changes)
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    uncut = gl.rlhf.run(settings, inputs, tmp_path / "uncut")
    bomb.touch()
    program = (
        "import sys, json, pathlib, gristlm as gl\n"
        "config, inputs, out = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]\n"
        "inputs = {name: pathlib.Path(path) for name, path in inputs.items()}\n"
        "gl.rlhf.run(gl.rlhf.RLHFConfig.model_validate(config), inputs, pathlib.Path(out))\n"
    )
    arguments = [
        settings.model_dump_json(),
        json.dumps({name: str(path) for name, path in inputs.items()}),
        str(tmp_path / "cut"),
    ]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -9
    assert list((tmp_path / "cut" / "checkpoints").iterdir())
    bomb.unlink()
    resumed = gl.rlhf.run(settings, inputs, tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "uncut")
    assert resumed.digest == uncut.digest


def test_micro_batches_and_threads_of_work_change_nothing_but_rounding(checkpoint, prompts, likes_e, tmp_path):
    rewards = []
    for size in (3, 32):
        run = tmp_path / str(size)
        gl.rlhf.run(
            config(likes_e, steps=2, micro_batch_size=size), {"checkpoint": checkpoint, "prompts": prompts}, run
        )
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rewards.append([(line["loss"], line["grad_norm"]) for line in lines if line["step"] == 1])
    assert rewards[0][0] == pytest.approx(rewards[1][0], rel=1e-4, abs=1e-6)


def test_the_kl_budget_stops_the_run(checkpoint, prompts, likes_e, tmp_path):
    manifest = gl.rlhf.run(
        config(likes_e, max_kl=1.0, kl_coef=0.0), {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run"
    )
    assert "max_kl" in manifest.counts["stopped"]
    assert 0 < manifest.counts["steps"] < 12
    assert len(list((tmp_path / "run" / "rollouts").iterdir())) == manifest.counts["steps"]


@pytest.mark.parametrize("body", ["return float('nan')", "raise RuntimeError('boom')", "return None"])
def test_a_garbage_reward_stops_with_the_answers_saved(body, checkpoint, prompts, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(f"def bad(prompt, response):\n    {body}\n")
    with pytest.raises(TrainingError, match=r"own\.py:bad.*prompt 'Say"):
        gl.rlhf.run(config(f"{own}:bad"), {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run")
    saved = [json.loads(line) for line in (tmp_path / "run" / "failed_rollouts.jsonl").read_text().splitlines()]
    assert all(set(row) == {"prompt", "completion"} for row in saved)
    assert not artifact.is_complete(tmp_path / "run")


def test_a_judge_that_times_out_ends_the_run_with_the_answers_saved(checkpoint, prompts, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        judge = {"endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}/v1", "model": "m"}
        judge |= {"timeout_seconds": 0.05, "retries": 0, "concurrency": 8}
        with pytest.raises(TrainingError, match=r"judge at http://127\.0\.0\.1:\d+/v1 gives no reply: .*timed out"):
            gl.rlhf.run(config("judge", judge=judge), {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run")
    assert (tmp_path / "run" / "failed_rollouts.jsonl").is_file()
    assert not artifact.is_complete(tmp_path / "run")


def test_generation_that_disagrees_with_training_stops_the_run(checkpoint, prompts, likes_e, tmp_path, monkeypatch):
    """Every step compares the engine's log-probabilities with the trainer's before it changes a weight."""
    honest = gl.Model.generate

    def wrong(self, *args, **settings):
        groups = honest(self, *args, **settings)
        return [[replace(one, logprobs=[x + 5e-5 for x in one.logprobs]) for one in group] for group in groups]

    monkeypatch.setattr(gl.Model, "generate", wrong)
    with pytest.raises(TrainingError, match=r"disagree about the log-probabilities .* 5e-05 on average"):
        gl.rlhf.run(config(likes_e), {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run")
    assert pq.read_table(tmp_path / "run" / "rollouts" / "step-00001.parquet").num_rows == 32
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_constant_reward_changes_no_weight(checkpoint, prompts, tmp_path):
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    manifest = gl.rlhf.run(config("regex:", kl_coef=0.0, steps=2), inputs, tmp_path / "run")
    assert manifest.counts["kl"] == pytest.approx(0, abs=1e-9)
    assert (tmp_path / "run" / "final" / "model.safetensors").read_bytes() == (
        checkpoint / "model.safetensors"
    ).read_bytes()


def test_a_diverging_run_is_stopped(checkpoint, prompts, likes_e, tmp_path):
    with pytest.raises(TrainingError, match=r"learning_rate|log-probability"):
        gl.rlhf.run(
            config(likes_e, learning_rate=1e30, kl_in="loss"),
            {"checkpoint": checkpoint, "prompts": prompts},
            tmp_path / "run",
        )
    saved = list((tmp_path / "run" / "rollouts").iterdir())
    assert saved
    assert not artifact.is_complete(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group_size": 1}, "group_size"),
        ({"rewards": {}}, "rewards"),
        ({"rewards": {"format": 0.0}}, "weight"),
        ({"clip_range": (2.0, 0.1)}, "below"),
        ({"updates_per_step": 1000}, "updates_per_step"),
        ({"lerning_rate": 1.0}, "lerning_rate"),
    ],
)
def test_settings_that_cannot_be(change, message):
    with pytest.raises(ValidationError, match=message):
        RLHFConfig.model_validate({**SMALL, **change})


def test_inputs_that_cannot_be(checkpoint, prompts, likes_e, tmp_path):
    with pytest.raises(ConfigError, match="needs the input 'prompts'"):
        gl.rlhf.run(config(likes_e), {"checkpoint": checkpoint}, tmp_path / "a")
    with pytest.raises(ConfigError, match="leaves room for max_new_tokens = 60"):
        gl.rlhf.run(config(likes_e, max_new_tokens=60), {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "b")
    bad = tmp_path / "bad.jsonl"
    for text, message in [
        ("{}", "'prompt' must be"),
        ("nonsense", "bad.jsonl:1: not JSON"),
        ("", "no rows"),
        ('{"prompt": [{}]}', "needs the texts"),
    ]:
        bad.write_text(text)
        with pytest.raises(FormatError, match=message):
            gl.rlhf.run(config(likes_e), {"checkpoint": checkpoint, "prompts": bad}, tmp_path / f"c{len(text)}")
