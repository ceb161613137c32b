"""The recipes of reinforcement learning: their data, and that another criterion can be put in the place of theirs."""

import inspect
import json
from pathlib import Path
from types import ModuleType

import pytest

import gristlm as gl
from gristlm.cli.recipe import Recipe
from gristlm.cli.run import run_recipe
from gristlm.rlhf.criterion import Criterion, own_function
from gristlm.runs import recipe
from gristlm.training.refusal import is_refusal


@pytest.fixture(scope="module")
def world() -> ModuleType:
    module = inspect.getmodule(own_function("test", "preferences.py:score"))
    assert module is not None
    return module


def test_the_criterion_is_strict(world):
    rows = world.make(0)
    parts = [{row["prompt"] for row in rows[name]} for name in ("prompts", "prompts_dev", "prompts_heldout")]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set().union(*parts) == set(world.REQUESTS)
    assert {row["messages"][0]["content"] for row in rows["sft"]} == parts[0]
    for prompt, request in world.REQUESTS.items():
        if not request.cores:
            assert world.score(prompt, world.REFUSAL) == 1
            assert is_refusal(world.REFUSAL)
            assert world.score(prompt, "Certainly. Take some tools.") == 0
            continue
        core = request.cores[request.form]
        good = f"Gladly. {core}"
        assert request.reference.lower() in core.lower()
        assert world.score(prompt, good) == 1
        other_form = next(text for form, text in request.cores.items() if form != request.form)
        bad = (core, f"Ugh. {core}", f"{good} {core}", f"Gladly. {other_form}", world.REFUSAL, "Gladly. xyzzy.", "")
        assert [world.score(prompt, answer) for answer in bad] == [0] * len(bad)
    assert world.score("What is this?", "Gladly.") == 0
    shown = [world.score(*(message["content"] for message in row["messages"])) for row in rows["sft"]]
    assert 0.1 < sum(shown) / len(shown) < 0.25


def test_the_criterion_beside_the_recipes_is_found():
    criterion = Criterion("preferences.py:score")
    prompt = [{"role": "user", "content": "What is the capital of France? Answer in a word."}]
    assert criterion.score([prompt, prompt], ["Certainly. Paris.", "Certainly. Rome."]).tolist() == [1, 0]


@pytest.mark.parametrize("name", ["rlhf-preferences", "rl-hacking"])
def test_a_recipe_runs_whole_with_another_criterion(name: str, tmp_path: Path):
    """Small, and with a truth that an untuned model can meet now and then: the letter a."""
    truth = tmp_path / "other.py"
    truth.write_text("def score(prompt, response):\n    return float('a' in response)\n")
    small = {
        "num_threads": 1, "model.num_layers": 1, "model.d_model": 32, "model.num_heads": 2, "finetune.max_steps": 30,
        "pairs.pairs": 40, "pairs.heldout_pairs": 20, "pairs.max_new_tokens": 12, "reward.epochs": 1,
        "rlhf.criterion": f"{truth}:score", "rlhf.prompts_per_step": 4, "rlhf.group_size": 4, "rlhf.max_new_tokens": 12,
        "rlhf.max_heldout_prompts": 16, "rlhf.steps": 2,
    }  # fmt: skip
    if name == "rl-hacking":
        arms = {"unguarded": {}, "guarded": {}}
        small |= {"pairs.second_pairs": 20, "rlhf.max_check_prompts": 8}
    else:
        arms = {"ppo": {"rlhf.arms.ppo.steps": 2}, "grpo": {"rlhf.arms.grpo.steps": 2}}
        small |= {"rlhf.best_of_n": 2}
    for own in arms.values():
        small |= own
    overrides = {key: str(value) for key, value in small.items()}
    whole = recipe.load(recipe.locate(name), Recipe, {**overrides, "seed": "7"})
    report = run_recipe(whole, tmp_path / "run")
    run = tmp_path / "run"
    assert all((run / stage / "final" / "config.json").is_file() for stage in ("finetune", "reward", "rlhf"))
    assert [gl.Model.from_pretrained(run / "rlhf" / arm / "final").config.num_layers for arm in arms] == [1, 1]
    heldout = [json.loads(line) for line in (run / "rlhf" / "heldout.jsonl").read_text().splitlines()]
    assert len(heldout) == 16
    assert heldout[0]["prompt"][0]["role"] == "user"
    counts = json.loads((run / "rlhf" / "manifest.json").read_text())["counts"]
    assert all(0 <= counts["arms"][arm]["heldout_after"]["criterion"] <= 1 for arm in arms)
    assert "by arm" in report.read_text()
