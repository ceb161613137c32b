from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from gristlm.errors import ConfigError
from gristlm.runs import recipe
from gristlm.runs.config import Config, StageConfig


class Train(StageConfig):
    steps: int = Field(default=10, ge=1)
    schedule: Literal["cosine", "wsd"] = "cosine"


class Whole(Config):
    seed: int = 0
    num_threads: int | None = None
    train: Train | None = None


def load(tmp_path: Path, text: str, **overrides: str) -> Whole:
    file = tmp_path / "my.toml"
    file.write_text(text)
    return recipe.load(file, Whole, {key.replace("__", "."): value for key, value in overrides.items()})


def test_defaults_overrides_and_the_shared_seed(tmp_path: Path) -> None:
    whole = load(tmp_path, "seed = 7\n[train]\nsteps = 5", train__schedule="wsd")
    assert whole.train == Train(steps=5, schedule="wsd", seed=7)
    assert load(tmp_path, "[train]", train__steps="123").train == Train(steps=123)
    assert load(tmp_path, "seed = 7\n[train]\nseed = 1").train == Train(seed=1)
    assert load(tmp_path, "num_threads = 3\n[train]\nnum_threads = 'none'").train == Train(num_threads=None)
    assert recipe.load(None, Whole, {"seed": "3"}, tables=("train",)).train == Train(seed=3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[train]\nstepz = 5", ["my.toml: train.stepz", "unknown key", "did you mean 'steps'", "schedule"]),
        ("[train]\nsteps = 'none'", ["my.toml: train.steps", "integer", "'none'"]),
        ("[trian]", ["my.toml: trian", "unknown key", "did you mean 'train'"]),
        ("[train]\nsteps = 'many'", ["my.toml: train.steps", "integer", "'many'"]),
        ("[train]\nsteps = 0", ["my.toml: train.steps", "greater than or equal to 1", "given 0"]),
        ("[train]\nschedule = 'flat'", ["my.toml: train.schedule", "'cosine' or 'wsd'", "'flat'"]),
        ("train = 3", ["my.toml: train", "given 3"]),
        ("[train\n", ["my.toml", "not a TOML file", "line 1"]),
        ("[train]\nsteps = nan", ["my.toml: train.steps", "nan"]),
    ],
)
def test_a_mistake_names_file_key_given_and_allowed(tmp_path: Path, text: str, says: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    for words in says:
        assert words in str(caught.value)


def test_a_mistaken_override_is_named_as_given() -> None:
    with pytest.raises(ConfigError, match=r"--train\.steps: .* given 'x'"):
        recipe.load(None, Whole, {"train.steps": "x"})
    with pytest.raises(ConfigError, match="did you mean '--output'"):
        recipe.parse_overrides(["--outptu", "x"], ["--output"])
    with pytest.raises(ConfigError, match="has no value"):
        recipe.parse_overrides(["--train.steps"])
    given = ["here", "--train.steps", "5", "there", "--a.b=c=d"]
    assert recipe.parse_overrides(given) == (["here", "there"], {"train.steps": "5", "a.b": "c=d"})


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        recipe.locate("demoo")
    assert recipe.locate("recipes/demo.toml").samefile(recipe.locate("demo"))
