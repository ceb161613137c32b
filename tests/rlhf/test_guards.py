"""What ends a run, what it goes back to, and that arms, checks and a criterion leave what they promise."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import gristlm as gl
from gristlm.errors import ConfigError, MissingArtifactError, TrainingError
from gristlm.rlhf import RLHFConfig
from gristlm.rlhf.guards import Guard, controlled, repetition
from gristlm.rlhf.show import show
from gristlm.runs import artifact
from gristlm.runs.report import write_report

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
CALM = {"kl": 1.0, "entropy": 1.0, "completion_tokens": 8.0, "repetition": 0.1}


def config(**changes: object) -> RLHFConfig:
    return RLHFConfig.model_validate({**SMALL, **changes})


@pytest.fixture
def hates_e(tmp_path: Path) -> str:
    """A second reward that falls where the first rises."""
    path = tmp_path / "second.py"
    path.write_text("def hates_e(prompt, response):\n    return -response.count('e')\n")
    return f"{path}:hates_e"


def test_the_price_of_a_nat_follows_its_target():
    assert controlled(0.1, 99.0, config()) == 0.1
    steered = config(kl_target=2.0, kl_horizon=10.0)
    assert controlled(0.1, 2.0, steered) == pytest.approx(0.1)
    assert controlled(0.1, 2.2, steered) == pytest.approx(0.1 * 1.05)
    assert controlled(0.1, 99.0, steered) == pytest.approx(0.1 * 1.1)
    assert controlled(0.1, 0.0, steered) == pytest.approx(0.1 * 0.9)


def test_repetition_is_the_share_of_triples_said_before():
    assert repetition([1, 2]) == 0
    assert repetition([1, 2, 3, 4, 5]) == 0
    assert repetition([1] * 12) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("setting", "figures", "says"),
    [
        ({"max_kl": 2.0}, {"kl": 2.5}, r"kl 2\.50.*max_kl = 2\.0"),
        ({"min_entropy": 0.5}, {"entropy": 0.4}, r"entropy 0\.400.*min_entropy = 0\.5"),
        ({"max_length_ratio": 2.0}, {"completion_tokens": 17.0}, r"2\.12 times as long.*max_length_ratio"),
        ({"max_repetition": 0.5}, {"repetition": 0.6}, r"repetition 0\.60.*max_repetition"),
    ],
)
def test_alarms_say_what_and_which_setting(setting, figures, says):
    guard = Guard(config(**setting))
    assert guard.after_sampling(CALM) == ""
    _matches(says, guard.after_sampling({**CALM, **figures}))
    assert Guard(config(**setting, guarded=False)).after_sampling({**CALM, **figures}) == ""


def _matches(pattern: str, text: str) -> None:
    import re

    assert re.search(pattern, text), text


def test_a_second_reward_that_falls_ends_a_run_at_its_best():
    guard = Guard(config(max_second_drop=0.5))
    guard.begin({"second_reward": 0.0, "second_std": 1.0}, [0.0] * 3)
    checks = [0.5, 1.0, 0.8, 0.4, 0.9, 0.4]
    for step, value in enumerate(checks, 1):
        assert guard.after_check(step, {"kl_k1": 1.0}, [value] * 3) == ""
    resumed = Guard(config(max_second_drop=0.5))
    resumed.begin({"second_reward": 0.0, "second_std": 1.0}, [0.0] * 3)
    resumed.load(json.loads(json.dumps(guard.state())))
    for each in (guard, resumed):
        _matches(r"from 1\.000 after step 2 to 0\.300", each.after_check(7, {"kl_k1": 1.0}, [0.3] * 3))
        assert each.keep(7, each.stopped) == 2
    assert "max_second_drop" in Guard(config(), second_std=1.0, candidates=[(0, [1.0])]).after_check(
        1, {"kl_k1": 0.0}, [0.3]
    )


def test_a_gain_within_the_standard_error_is_no_reason_to_go_farther():
    """The earliest check that is as good as the best; few are held at a time."""
    guard = Guard(config())
    guard.begin({"second_std": 1.0}, [0.0, 0.0, 0.0, 0.0])
    told = [
        ([1.0, 1.0, 1.0, 1.0], 1),  # better for everyone
        ([0.9, 1.0, 1.0, 1.2], 1),  # better by 0.025, standard error 0.063
        ([1.3, 1.3, 1.3, 1.0], 3),  # by 0.225 over the first, standard error 0.075
        ([0.9, 0.9, 0.9, 0.9], 3),
    ]
    for step, (second, best) in enumerate(told, 1):
        assert guard.after_check(step, {"kl_k1": 1.0}, second) == ""
        assert guard.best_step == best
    draw = np.random.default_rng(0)
    for step in range(5, 40):
        guard.after_check(step, {"kl_k1": 1.0}, draw.normal(1.2, 1.0, 4).tolist())
        assert len(guard.candidates) <= 4
        assert guard.best_step in guard.held


def test_a_run_rolls_back_and_says_why(checkpoint, prompts, likes_e, hates_e, tmp_path):
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    settings = config(rewards={likes_e: 1.0}, second_rewards={hates_e: 1.0}, check_every=2, steps=20)
    manifest = gl.rlhf.run(settings, inputs, tmp_path / "run")
    assert "the second reward fell" in manifest.counts["stopped"]
    kept = manifest.counts["rolled_back_to"]
    assert kept < manifest.counts["steps"] < 20
    start = tmp_path / "run" / "checkpoints" / f"step-{kept:08d}" if kept else checkpoint
    final = tmp_path / "run" / "final" / "model.safetensors"
    assert final.read_bytes() == (start / "model.safetensors").read_bytes()
    unguarded = gl.rlhf.run(settings.model_copy(update={"guarded": False}), inputs, tmp_path / "unguarded")
    assert (unguarded.counts["steps"], unguarded.counts["stopped"]) == (20, "")
    assert unguarded.counts["second_reward_after"] < unguarded.counts["second_reward_before"]


def test_the_kl_budget_goes_back_to_the_last_good_check(checkpoint, prompts, likes_e, tmp_path):
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    settings = config(rewards={likes_e: 1.0}, max_kl=1.0, kl_coef=0.0, check_every=1, learning_rate=1e-2, steps=20)
    manifest = gl.rlhf.run(settings, inputs, tmp_path / "run")
    kept = manifest.counts["rolled_back_to"]
    assert "max_kl" in manifest.counts["stopped"]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    checks = {row["step"]: row["check_kl_k1"] for row in rows if "check_kl_k1" in row}
    assert checks[kept] <= 1.0
    weights = tmp_path / "run" / "checkpoints" / f"step-{kept:08d}" / "model.safetensors"
    assert (tmp_path / "run" / "final" / "model.safetensors").read_bytes() == weights.read_bytes()


def test_arms_start_alike_and_are_told_apart(checkpoint, prompts, likes_e, tmp_path):
    truth = tmp_path / "truth.py"
    truth.write_text("def score(prompt, response):\n    assert prompt.startswith('Say')\n    return 'e' in response\n")
    arms = {"plain": {"algorithm": "grpo"}, "critic": {"algorithm": "ppo", "steps": 2}}
    settings = config(rewards={likes_e: 1.0}, steps=3, criterion=f"{truth}:score", best_of_n=4, arms=arms)
    run = tmp_path / "rlhf"
    manifest = gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts}, run)
    assert list(manifest.counts["arms"]) == ["plain", "critic"]
    assert [manifest.counts["arms"][name]["steps"] for name in arms] == [3, 2]
    before = [manifest.counts["arms"][name]["criterion_before"] for name in arms]
    assert before[0] == before[1] == manifest.counts["arms"]["plain"]["reward_before"]
    assert manifest.counts["arms"]["plain"]["best_of_n"]["criterion"] >= before[0]
    for folder in (run, run / "plain", run / "critic"):
        artifact.verify(folder)
        assert (folder / "heldout.jsonl").is_file()
        gl.Model.from_pretrained(folder / "final")
    assert gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts}, run) == manifest
    shown = show(tmp_path, count=2)
    assert "the best" in shown
    assert "the strangest" in shown
    assert len([line for line in show(run / "plain", step=1, count=1).splitlines() if "->" in line]) == 3
    with pytest.raises(MissingArtifactError, match="step 99"):
        show(run, step=99)
    with pytest.raises(MissingArtifactError, match="holds no rollouts"):
        show(checkpoint)
    assert "Reward, by arm" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("arms", "message"),
    [({"final": {}}, "final"), ({"a": {"stepz": 1}}, "stepz"), ({"a": {"algorithm": "none"}}, "algorithm")],
)
def test_arms_that_cannot_be(arms, message):
    with pytest.raises(ValidationError, match=message):
        config(arms=arms)


@pytest.mark.parametrize(
    ("body", "message"),
    [("return float('nan')", "must be finite"), ("raise KeyError('x')", "failed on prompt 'Say")],
)
def test_a_criterion_that_fails_is_named(body, message, checkpoint, prompts, likes_e, tmp_path):
    own = tmp_path / "truth.py"
    own.write_text(f"def score(prompt, response):\n    {body}\n")
    settings = config(rewards={likes_e: 1.0}, criterion=f"{own}:score")
    with pytest.raises(TrainingError, match=message):
        gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"nowhere\.py:score"):
        gl.rlhf.run(
            config(criterion="nowhere.py:score"), {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run2"
        )


def test_dynamic_sampling_fills_a_step_with_groups_that_differ(checkpoint, prompts, likes_e, tmp_path):
    import pyarrow.parquet as pq

    settings = config(rewards={likes_e: 1.0}, algorithm="dapo", steps=3, max_sampling_rounds=4, group_size=3)
    gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run")
    for file in sorted((tmp_path / "run" / "rollouts").iterdir()):
        rewards = pq.read_table(file)["reward"].to_numpy().reshape(-1, 3)
        assert (rewards.max(axis=1) > rewards.min(axis=1)).all()
        assert len(rewards) <= 4


def test_answers_that_near_the_limit_cost(checkpoint, prompts, tmp_path):
    import pyarrow.parquet as pq

    settings = config(rewards={"regex:": 0.5}, steps=1, overlong_buffer_tokens=4)
    gl.rlhf.run(settings, {"checkpoint": checkpoint, "prompts": prompts}, tmp_path / "run")
    rows = pq.read_table(tmp_path / "run" / "rollouts" / "step-00001.parquet").to_pylist()
    for row in rows:
        assert row["reward"] == pytest.approx(0.5 - max(0, len(row["tokens"]) - 4) / 4)
