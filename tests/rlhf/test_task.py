"""Data from a function and an untrained model: what the stage leaves, and what it refuses."""

import json
from pathlib import Path

import pytest

import gristlm as gl
from gristlm.errors import ConfigError
from gristlm.model import ModelConfig
from gristlm.rlhf import task
from gristlm.runs import artifact

SMALL = ModelConfig(num_layers=1, d_model=16, num_heads=2, max_seq_len=32)


def test_arithmetic_is_right_and_nothing_held_out_is_shown(tmp_path: Path) -> None:
    config = task.TaskConfig(generator="arithmetic.py:make", model=SMALL, seed=3)
    manifest = task.run(config, {}, tmp_path / "task")
    artifact.verify(tmp_path / "task")
    rows = {
        name: [json.loads(line) for line in (tmp_path / "task" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("sft", "sft_heldout", "prompts", "prompts_dev", "prompts_heldout")
    }
    assert [len(rows[name]) for name in rows] == [41400, 1000, 6900, 200, 1000]
    shown = [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in rows["sft"]]
    asked = {name: {row["prompt"]: row["reference"] for row in rows[name]} for name in rows if "prompts" in name}
    questions = {question for question, _ in shown}
    assert questions == asked["prompts"].keys()
    assert not questions & (asked["prompts_heldout"].keys() | asked["prompts_dev"].keys())
    assert not asked["prompts_heldout"].keys() & asked["prompts_dev"].keys()
    for question, answer in (pair for part in asked.values() for pair in part.items()):
        assert sum(map(int, question.split("+"))) == int(answer)
    slips = [int(answer) - int(asked["prompts"][question]) for question, answer in shown]
    assert set(slips) == {-10, -1, 0, 1, 10}
    assert 0.31 < slips.count(0) / len(slips) < 0.35
    model = gl.Model.from_pretrained(tmp_path / "task" / "final")
    assert model.config.vocab_size == gl.Tokenizer.from_file(tmp_path / "task" / "final").vocab_size == 261
    assert manifest.counts["parameters"] == model.config.num_parameters()
    assert task.run(config, {}, tmp_path / "task") == manifest


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def make(seed):\n    raise RuntimeError('boom')\n", "boom"),
        ("def other(seed):\n    return {}\n", "has no function 'make'"),
        ("def make(seed):\n    return {'tests': [{}]}\n", "returned tests"),
        ("def make(seed):\n    return {'sft': []}\n", "returned sft"),
        ("def make(seed):\n    return 3\n", "failed"),
    ],
)
def test_a_generator_that_cannot_be_used_is_named(body: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(body)
    config = task.TaskConfig(generator=f"{tmp_path / 'own.py'}:make", model=SMALL)
    with pytest.raises(ConfigError, match=message):
        task.run(config, {}, tmp_path / "task")


def test_a_missing_generator_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.py:make"):
        task.run(task.TaskConfig(generator="nowhere.py:make"), {}, tmp_path / "task")
