"""People's votes as a reward: voted on, exported, a reward model trained on them, and a policy that follows it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gristlm.cli.app import app
from gristlm.rlhf import RewardModel, RLHFConfig, run
from gristlm.serve.label.pairs import read_pairs
from gristlm.serve.label.project import Project


def gristlm(*arguments: object) -> None:
    told = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert told.exit_code == 0, told.output


def test_a_policy_learns_what_people_voted_for(checkpoint: Path, prompts: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["number", "items", "list", "length", "returns", "system"]
    rows = []
    for i in range(240):
        plain = " ".join(rng.choice(words, 2))
        rows.append({"prompt": f"Say {i}", "a": plain.replace("e", "i"), "b": plain.replace("i", "e") + " e"})
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    project = Project(tmp_path / "project", create=True)
    project.add(read_pairs(file))
    votes = 0
    while (shown := project.next("ada")) is not None:
        left, right = (answer[0]["content"].count("e") for answer in (shown.left, shown.right))
        choice = "skip" if votes % 10 == 9 else "tie" if left == right else "left" if left > right else "right"
        project.vote("ada", shown.id, choice)
        votes += 1
    project.database.close()
    assert votes == 240
    gristlm("label", tmp_path / "project", "--export", tmp_path / "votes.jsonl")
    lines = (tmp_path / "votes.jsonl").read_text().splitlines(keepends=True)
    assert 180 <= len(lines) <= 216
    (tmp_path / "train.jsonl").write_text("".join(lines[:-40]))
    (tmp_path / "heldout.jsonl").write_text("".join(lines[-40:]))
    gristlm(
        *("rlhf", "reward", "--checkpoint", checkpoint, "--data", tmp_path / "train.jsonl"),
        *("--heldout-data", tmp_path / "heldout.jsonl", "--output", tmp_path / "reward", "--num-threads", 1),
        *("--reward.epochs=6", "--reward.learning_rate=0.01"),
    )
    counts = json.loads((tmp_path / "reward" / "manifest.json").read_bytes())["counts"]
    assert counts["accuracy"] >= 0.85
    model = RewardModel.from_pretrained(tmp_path / "reward" / "final")
    better, worse = model.score(["Say 3"] * 2, ["length returns e", "lingth riturns"])
    assert better > worse
    settings = {"steps": 12, "prompts_per_step": 4, "group_size": 8, "max_new_tokens": 8, "learning_rate": 3e-2}
    config = RLHFConfig.model_validate(
        {**settings, "rewards": {"reward_model": 1.0}, "kl_coef": 0.01, "num_threads": 1}
    )
    inputs = {"checkpoint": checkpoint, "prompts": prompts, "heldout_prompts": prompts}
    inputs |= {"reward_model": tmp_path / "reward" / "final"}
    learned = run(config, inputs, tmp_path / "rlhf").counts
    assert float(str(learned["reward_after"])) > float(str(learned["reward_before"])) + 0.2


@pytest.mark.parametrize("missing", ["--data", "--checkpoint"])
def test_the_verb_names_what_is_missing(missing: str, checkpoint: Path, prompts: Path, tmp_path: Path) -> None:
    given = {"--data": prompts, "--checkpoint": checkpoint, "--output": tmp_path / "out"}
    del given[missing]
    told = CliRunner().invoke(app, ["rlhf", "reward", *(str(x) for pair in given.items() for x in pair)])
    assert told.exit_code == 2
