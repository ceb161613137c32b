"""Win rates: what length control takes out, its intervals, and the three who judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from judge_server import Server

from gristlm import evaluate
from gristlm.errors import ConfigError, FormatError
from gristlm.evaluate import EvaluateConfig
from gristlm.evaluate.length_control import RIDGE, Cases, fit, win_rate
from gristlm.evaluate.win_rates import by_votes
from gristlm.verify.judge import JudgeConfig

if TYPE_CHECKING:
    from conftest import Prepared


def judged(count: int, theta: float, phi: float, longer: float, seed: int = 0) -> Cases:
    """Preferences of a judge who looks at quality (theta) and at length (phi)."""
    rng = np.random.default_rng(seed)
    second = rng.integers(50, 400, count)
    first = second + rng.normal(longer, 80, count).astype(int)
    difference = first - second
    likely = 1 / (1 + np.exp(-theta - phi * np.tanh(difference / difference.std())))
    return Cases((rng.random(count) < likely).astype(float).tolist(), first.tolist(), second.tolist())


def value(figures: dict[str, object], name: str) -> tuple[float, float, float]:
    estimate = figures[name]
    assert isinstance(estimate, dict)
    return estimate["value"], estimate["low"], estimate["high"]


def test_a_checkpoint_that_wins_by_length_alone_does_not_win_at_equal_length() -> None:
    figures = win_rate(judged(800, 0.0, 2.0, longer=100), seed=0)
    plain, low, _ = value(figures, "win_rate")
    assert plain > 0.7
    assert low > 0.6
    controlled, low, high = value(figures, "length_controlled")
    assert low < 0.5 < high
    assert abs(controlled - 0.5) < 0.07
    assert float(str(figures["length_effect"])) > 1
    assert figures == win_rate(judged(800, 0.0, 2.0, longer=100), seed=0)


def test_a_better_one_that_is_shorter_wins_more_at_equal_length() -> None:
    figures = win_rate(judged(800, 1.0, 2.0, longer=-100), seed=0)
    plain, controlled = value(figures, "win_rate")[0], value(figures, "length_controlled")[0]
    assert controlled > plain + 0.1
    assert controlled == pytest.approx(1 / (1 + np.exp(-1)), abs=0.07)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(60):
        _, low, high = value(win_rate(judged(150, 0.4, 1.0, longer=40, seed=seed), seed=seed), "length_controlled")
        hits += low <= 1 / (1 + np.exp(-0.4)) <= high
    assert 51 <= hits <= 60


def test_one_side_always_wins() -> None:
    figures = win_rate(Cases([1.0] * 9, [5] * 9, [5] * 9), seed=0)
    assert value(figures, "win_rate") == (1.0, None, None)
    assert value(figures, "length_controlled") == (pytest.approx(9.5 / 10, abs=1e-6), None, None)
    separated = win_rate(Cases([1.0, 1.0, 0.0, 0.0], [9, 8, 1, 2], [5, 5, 5, 5]), seed=0)
    assert value(separated, "length_controlled")[0] == pytest.approx(0.5, abs=1e-6)


def test_the_fit_is_where_the_penalised_likelihood_is_flat() -> None:
    rng = np.random.default_rng(3)
    preferences, features = rng.random(40), np.tanh(rng.normal(size=40))
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=20).astype(float)
    theta, phi = fit(preferences, features, weights)
    missed = weights * (preferences - 1 / (1 + np.exp(-theta[:, None] - phi[:, None] * features)))
    assert np.abs(missed.sum(axis=1) + 0.5 - 1 / (1 + np.exp(-theta))).max() < 1e-8
    assert np.abs(missed @ features - RIDGE * phi).max() < 1e-8


def test_the_stage_compares_with_the_first_by_a_reward_model(prepared: Prepared, tmp_path: Path) -> None:
    prepared.write_checkpoint(tmp_path / "other", seed=1)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"What does number {i} do?"}) + "\n" for i in range(10)))
    inputs = {"base": prepared.checkpoint, "other": tmp_path / "other", "prompts": prompts}
    config = EvaluateConfig(checkpoints=["base", "other"], suite_max_new_tokens=6, num_threads=1)

    def vowels(prompts: object, responses: list[str]) -> np.ndarray:
        return np.array([sum(letter in "aeiou" for letter in text) for text in responses], dtype=np.float32)

    evaluate.run(config, inputs, tmp_path / "evaluate", score=vowels)
    (figures,) = json.loads((tmp_path / "evaluate" / "summary.json").read_bytes())["win_rates"]
    assert (figures["of"], figures["against"], figures["by"], figures["cases"]) == ("other", "base", "reward_model", 10)
    kept = (tmp_path / "evaluate" / "other.against.base.reward_model.jsonl").read_text()
    rows = [json.loads(line) for line in kept.splitlines()]
    for row in rows:
        scores = vowels(None, [row["first"], row["second"]]).tolist()
        assert row["scores"] == scores
        assert row["preference"] == (0.5 if scores[0] == scores[1] else float(scores[0] > scores[1]))
    assert figures["win_rate"]["value"] == pytest.approx(np.mean([row["preference"] for row in rows]))
    assert figures["same_prompts"]
    del inputs["prompts"]
    with pytest.raises(ConfigError, match="prompts"):
        evaluate.run(config, inputs, tmp_path / "nothing", score=vowels)


def test_a_judge_that_always_likes_the_first_answer_says_nothing(prepared: Prepared, tmp_path: Path) -> None:
    """Each pair is asked in both orders, so a judge's liking for a place cancels out."""
    prepared.write_checkpoint(tmp_path / "other", seed=1)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"What does number {i} do?"}) + "\n" for i in range(6)))
    inputs = {"base": prepared.checkpoint, "other": tmp_path / "other", "prompts": prompts}
    server = Server(lambda body, number: "better: A")
    try:
        judge = JudgeConfig(endpoint=f"http://127.0.0.1:{server.port}/v1", model="one")
        config = EvaluateConfig(checkpoints=["base", "other"], suite_max_new_tokens=6, judge=judge, num_threads=1)
        evaluate.run(config, inputs, tmp_path / "evaluate")
    finally:
        server.close()
    (figures,) = json.loads((tmp_path / "evaluate" / "summary.json").read_bytes())["win_rates"]
    assert (figures["of"], figures["against"], figures["by"], figures["ties"]) == ("other", "base", "judge", 6)
    assert figures["win_rate"]["value"] == 0.5
    kept = (tmp_path / "evaluate" / "other.against.base.judge.jsonl").read_text()
    rows = [json.loads(line) for line in kept.splitlines()]
    assert len(server.asked) == 2 * sum(row["first"] != row["second"] for row in rows)


def test_votes_of_several_people_on_one_pair_are_drawn_together(tmp_path: Path) -> None:
    def vote(pair: int, kind: str, swapped: bool = False) -> dict[str, object]:
        models = ("new", "old") if swapped else ("old", "new")
        said = {"a": [{"role": "assistant", "content": "x" * pair}], "b": [{"role": "assistant", "content": "yy"}]}
        return {
            "prompt": "p",
            "vote": kind,
            "pair": pair,
            "gold": None,
            "model_a": models[0],
            "model_b": models[1],
            **said,
        }

    rows = [vote(i % 12, "b" if i % 3 else "a", swapped=i % 2 == 0) for i in range(48)]
    rows += [vote(0, "skip"), vote(1, "tie"), {**vote(2, "a"), "gold": "a"}, {**vote(3, "a"), "model_a": None}]
    file = tmp_path / "votes.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (figures,) = by_votes(file, seed=0)
    assert (figures["of"], figures["against"], figures["cases"], figures["ties"]) == ("new", "old", 49, 1)
    wins = sum((row["vote"] == "b") != (row["model_a"] == "new") for row in rows[:48]) + 0.5
    assert value(figures, "win_rate")[0] == pytest.approx(wins / 49, abs=1e-6)
    alone = tmp_path / "alone.jsonl"
    alone.write_text("".join(json.dumps({**row, "pair": i}) + "\n" for i, row in enumerate(rows)))
    (apart,) = by_votes(alone, seed=0)
    assert value(apart, "win_rate")[1:] != value(figures, "win_rate")[1:]
    file.write_text(json.dumps(vote(0, "skip")) + "\n")
    with pytest.raises(FormatError, match="all-votes"):
        by_votes(file, seed=0)
