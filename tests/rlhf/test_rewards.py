import math
import sys

import numpy as np
import pytest

from gristlm.errors import ConfigError, TrainingError
from gristlm.rlhf import rewards
from gristlm.rlhf.rewards import Rewards

PROMPTS = [[{"role": "user", "content": "Say something"}]] * 2
ROWS = [{"kind": "answer"}, {"kind": "refuse"}]


class ConstantModel:
    def __init__(self, value):
        self.value = value

    def score(self, prompts, responses):
        return np.full(len(responses), self.value, dtype=np.float32)


def test_each_reward_alone_and_their_weighted_sum(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "def with_row(prompt, response, row):\n    return row['kind'] == 'answer'\n\n"
        "def short(prompt, response):\n    return len(response)\n"
    )
    mixture = Rewards(
        {"regex:a": 2.0, f"{own}:with_row": 1.0, f"{own}:short": 0.5, "reward_model": -1.0}, ConstantModel(3.0)
    )
    scores = mixture.score(PROMPTS, ["abc", "xy"], ROWS)
    assert scores["regex:a"].tolist() == [1.0, 0.0]
    assert scores[f"{own}:with_row"].tolist() == [1.0, 0.0]
    assert scores[f"{own}:short"].tolist() == [3.0, 2.0]
    assert scores["reward_model"].tolist() == [3.0, 3.0]
    assert mixture.total(scores).tolist() == [2 + 1 + 1.5 - 3, 0 + 0 + 1 - 3]
    assert rewards.files(mixture.weights) == {f"reward {own}:with_row": own, f"reward {own}:short": own}


@pytest.mark.parametrize(
    "body", ["return float('nan')", "return float('inf')", "raise RuntimeError('boom')", "return None", "return 'x'"]
)
def test_a_garbage_reward_names_itself_and_the_prompt(tmp_path, body):
    own = tmp_path / "own.py"
    own.write_text(f"def bad(prompt, response, row):\n    {body}\n")
    with pytest.raises(TrainingError, match=r"own\.py:bad.*Say something.*hello"):
        Rewards({f"{own}:bad": 1.0}).score(PROMPTS, ["hello", "x"], ROWS)


def test_a_reward_model_that_gives_nan_is_named():
    with pytest.raises(TrainingError, match=r"reward_model.*nan"):
        Rewards({"reward_model": 1.0}, ConstantModel(math.nan)).score(PROMPTS, ["a", "b"], ROWS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("formt", "unknown reward 'formt'; allowed: format"),
        ("missing.py:score", r"no file .*missing\.py"),
        ("{tmp}/own.py:nothing", "no function 'nothing'"),
        ("{tmp}/broken.py:score", "fails on import.*ZeroDivisionError"),
        ("reward_model", "none was given"),
    ],
)
def test_names_that_cannot_be(tmp_path, name, message):
    (tmp_path / "own.py").write_text("score = 3\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match=message):
        Rewards({name.format(tmp=tmp_path): 1.0})


def test_a_reward_model_that_no_weight_uses_is_refused():
    with pytest.raises(ConfigError, match="does not name"):
        Rewards({"format": 1.0}, ConstantModel(1.0))


def test_the_users_module_stays_out_of_sys_modules(tmp_path):
    own = tmp_path / "json.py"
    own.write_text("def score(prompt, response):\n    return 1\n")
    before = set(sys.modules)
    Rewards({f"{own}:score": 1.0})
    assert set(sys.modules) == before


def test_a_judge_is_a_reward_like_any_other():
    class Fair:
        def score(self, prompts, responses):
            return np.array([len(response) / 10 for response in responses])

        def counts(self):
            return {"calls": 2.0}

    mixture = Rewards({"judge": 2.0, "regex:a": 1.0}, judge=Fair())
    scores = mixture.score(PROMPTS, ["abcde", "xy"], ROWS)
    assert scores["judge"].tolist() == [0.5, 0.2]
    assert mixture.total(scores).tolist() == [2.0, 0.4]
    assert mixture.counts() == {"judge/calls": 2.0}
    with pytest.raises(ConfigError, match=r"no table rlhf\.judge"):
        Rewards({"judge": 1.0})


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_is_a_finite_number(weight):
    with pytest.raises(ConfigError, match="finite"):
        Rewards({"regex:a": weight})


def test_a_reward_of_the_wrong_length_is_named():
    class Short:
        def score(self, prompts, responses):
            return np.zeros(1, dtype=np.float32)

    with pytest.raises(TrainingError, match="'reward_model' gave 1 numbers for 2 answers"):
        Rewards({"reward_model": 1.0}, Short()).score(PROMPTS, ["a", "b"], ROWS)


def test_a_reward_that_hangs_is_ended_and_named(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("import time\ndef slow(prompt, response):\n    time.sleep(600)\n")
    with pytest.raises(TrainingError, match=r"own\.py:slow' on 2 answers took more than max_reward_seconds = 0\.2"):
        Rewards({f"{own}:slow": 1.0}, max_seconds=0.2).score(PROMPTS, ["a", "b"], ROWS)
    assert Rewards({"regex:a": 1.0}, max_seconds=100).score(PROMPTS, ["a", "b"], ROWS)["regex:a"].tolist() == [1, 0]


def test_a_constant_reward_is_warned_of_once_for_each_spell(capsys):
    from gristlm.rlhf.reward_watch import PATIENCE, ConstantWatch
    from gristlm.runs import progress

    progress.enable()
    watch = ConstantWatch()
    same, other = {"a": np.ones(4), "b": np.arange(4.0)}, {"a": np.arange(4.0), "b": np.arange(4.0)}
    seen = [watch.look(step) for step in [*[same] * (PATIENCE + 3), other, *[same] * PATIENCE]]
    progress.enable(False)
    assert [step for step, names in enumerate(seen) if names] == [PATIENCE - 1, 2 * PATIENCE + 3]
    assert capsys.readouterr().err.count("WARNING: reward 'a' was 1 for every answer of 5 steps") == 2


def test_a_harm_model_is_a_reward(tmp_path):
    from gristlm.verify.harm import HarmModel

    bad, good = ["I will hurt you", "kill them all"] * 5, ["what a nice day", "tea and cake"] * 5
    HarmModel.train(bad + good, [True] * 10 + [False] * 10).save(tmp_path / "harm.npz")
    name = f"harmless:{tmp_path / 'harm.npz'}"
    scores = Rewards({name: 1.0}).score(PROMPTS, ["I will kill you", "a nice cake"], ROWS)[name]
    assert scores[0] < 0.5 < scores[1]
    assert rewards.files([name]) == {f"reward {name}": tmp_path / "harm.npz"}
