"""Pairs of a model's own answers, labelled by a criterion."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gristlm.errors import ConfigError
from gristlm.rlhf import pairs
from gristlm.rlhf.config import PairsConfig
from gristlm.runs import artifact

Row = dict[str, object]


@pytest.fixture
def judge(tmp_path: Path) -> str:
    file = tmp_path / "truth.py"
    file.write_text("def score(prompt, response):\n    return response.count('e')\n")
    return f"{file}:score"


@pytest.fixture
def made(checkpoint: Path, prompts: Path, judge: str, tmp_path: Path) -> Callable[..., dict[str, list[Row]]]:
    def make(name: str, **changes: object) -> dict[str, list[Row]]:
        settings = {"pairs": 60, "second_pairs": 20, "heldout_pairs": 30, "max_new_tokens": 8, "num_threads": 1}
        config = PairsConfig.model_validate({**settings, "criterion": judge, **changes})
        inputs = {"checkpoint": checkpoint, "prompts": prompts, "heldout_prompts": prompts}
        manifest = pairs.run(config, inputs, tmp_path / name)
        artifact.verify(tmp_path / name)
        assert "criterion" in manifest.inputs
        return {
            file.stem: [json.loads(line) for line in file.read_text().splitlines()]
            for file in (tmp_path / name).glob("*.jsonl")
        }

    return make


def content(row: Row, side: str) -> str:
    messages = row[side]
    assert isinstance(messages, list)
    return str(messages[-1]["content"])


def key(row: Row) -> tuple[str, frozenset[str]]:
    return content(row, "prompt"), frozenset((content(row, "chosen"), content(row, "rejected")))


def test_labels_are_the_criterions_but_for_the_flipped(made):
    files = made("pairs", flip=0.25)
    assert {name: len(rows) for name, rows in files.items()} == {
        "preferences": 60,
        "preferences_second": 20,
        "preferences_heldout": 30,
        "preferences_heldout_noisy": 30,
    }
    for rows in files.values():
        for row in rows:
            better, worse = (content(row, side).count("e") for side in ("chosen", "rejected"))
            assert (better < worse) if row["flipped"] else (better > worse)
    flipped = [row["flipped"] for row in files["preferences"]]
    assert 0.05 < sum(flipped) / len(flipped) < 0.5
    assert not any(row["flipped"] for row in files["preferences_heldout"])
    assert [key(row) for row in files["preferences_heldout"]] == [key(r) for r in files["preferences_heldout_noisy"]]


def test_the_second_pairs_are_others_and_a_seed_is_a_seed(made):
    first, again, other = made("a"), made("b"), made("c", seed=1)
    assert first == again != other
    keys = [key(row) for name in ("preferences", "preferences_second") for row in first[name]]
    assert len(set(keys)) == len(keys)


def test_a_criterion_that_likes_all_alike_is_named(made, tmp_path):
    flat = tmp_path / "flat.py"
    flat.write_text("def score(prompt, response):\n    return 1.0\n")
    with pytest.raises(ConfigError, match=r"flat\.py:score' told only 0 pairs"):
        made("flat", criterion=f"{flat}:score")
