"""Training on several token artifacts, measured one by one; questions answered along the way."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import config

from gristlm.errors import ConfigError
from gristlm.pretrain import run
from gristlm.pretrain.data import open_loader
from gristlm.runs import artifact
from gristlm.tokenize import TokenDataset, Tokenizer
from gristlm.training import MetricsLog


@pytest.fixture(scope="module")
def code(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("code") / "tokens"
    tokenizer = Tokenizer.from_file(inputs["tokenizer"])
    texts = [Path(file).read_text() for file in (json.__file__, json.decoder.__file__, json.encoder.__file__)]
    for name, part in (("train", texts[1:]), ("heldout", texts[:1])):
        ids = [tokenizer.encode(text) for text in part]
        TokenDataset.write(root / name, np.concatenate(ids), np.cumsum([0, *map(len, ids)]), vocab_size=512)
    artifact.seal(root, {"kind": "tokens", "config": {}, "inputs": {}}, counts={}, measured={})
    return root


def test_a_mixture_that_changes(inputs: dict[str, Path], code: Path, tmp_path: Path) -> None:
    settings = config(mixture={"tokens": 1.0, str(code): [[0, 0.0], [4, 1.0]]}, max_epochs={str(code): 50})
    run(settings, inputs, tmp_path)
    loader = open_loader(settings, inputs["tokens"])
    shares = [batch.segments[batch.segments[:, 0] == 1, 3].sum() / 256 for batch in (loader.batch(s) for s in range(8))]
    assert shares == [0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]
    measured = [line for line in MetricsLog(tmp_path).read() if "heldout_loss" in line]
    assert [f"heldout_bits_per_byte/{code}" in line for line in measured] == [True, True]
    assert str(code) in artifact.load(tmp_path, kind="pretrain").inputs


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mixture": {"elsewhere": 1.0}}, "'tokens', the run's own"),
        ({"mixture": {"tokens": 1.0}, "max_epochs": {"web": 1}}, "max_epochs names 'web'"),
        ({"steps": 10**6, "mixture": {"tokens": 1.0}, "max_epochs": {"tokens": 1}}, "max_epochs allows"),
    ],
)
def test_mixtures_that_do_not_fit(
    inputs: dict[str, Path], tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        run(config(**changes), inputs, tmp_path)


QUESTIONS = [
    {"context": "The statement", "answer": " is"},
    {"context": "An object", "choices": [" is", " qzx"], "answer": 0},
    {"context": "The value", "choices": ["#~#~", " of", "%%%%"], "answer": 1},
]


def test_questions_are_answered_while_training(inputs: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    manifest = run(config(steps=40, evaluate_every=20, questions=file), inputs, tmp_path / "out")
    lines = [line for line in MetricsLog(tmp_path / "out").read() if "choice_accuracy" in line]
    assert [line["step"] for line in lines] == [20, 40]
    assert manifest.counts["choice_accuracy"] == 1.0
    assert manifest.counts["cloze_accuracy"] in (0.0, 1.0)
