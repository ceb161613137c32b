"""Training on several token artifacts, measured one by one; questions answered along the way."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import config

from gristlm.errors import ConfigError, FormatError, MissingArtifactError
from gristlm.pretrain import run
from gristlm.pretrain.data import open_loader
from gristlm.pretrain.questions import Questions
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


class Certain:
    """A model that is sure of the token one above the one before it."""

    device = "cpu"

    def __call__(self, ids_BT):  # type: ignore[no-untyped-def]
        import torch

        return torch.nn.functional.one_hot((ids_BT + 1) % 300, 300).float() * 20


class Bytes:
    """Bytes as tokens."""

    vocab_size, special_tokens = 256, dict[str, int]()

    def encode(self, text: str, /) -> list[int]:
        return list(text.encode())

    def id_to_bytes(self, token: int, /) -> bytes:
        return bytes([token])


def test_accuracy_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    from gristlm.training import device

    monkeypatch.setattr(device, "autocast", lambda _: contextlib.nullcontext())
    rows = [
        {"context": "a", "answer": "bcd"},
        {"context": "a", "answer": "bcx"},
        {"context": "m", "choices": ["no", "nop", "o"], "answer": 1},
        {"context": "m", "choices": ["x", "n"], "answer": 0},
        {"context": "m", "choices": ["xyz", "n"], "answer": 1},
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    figures = Questions.read(file, Bytes(), 64).measure(Certain())  # type: ignore[arg-type]
    assert figures["cloze_accuracy"] == 0.5
    assert figures["choice_accuracy"] == pytest.approx(1 / 3), "ties go to the first"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("[]", "line 1.*context"),
        ('{"context": "a"}', "answer is None"),
        ('{"context": "a", "choices": ["b"], "answer": 0}', "two or more"),
        ('{"context": "a", "choices": ["b", "c"], "answer": 2}', "0 to 1"),
        ('{"context": "a", "answer": "' + "b" * 100 + '"}', "a row holds 64"),
        ("{", "line 1"),
    ],
)
def test_what_is_no_question(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / "q.jsonl").write_text(line)
    with pytest.raises(FormatError, match=named):
        Questions.read(tmp_path / "q.jsonl", Bytes(), 64)
    with pytest.raises(MissingArtifactError, match="nowhere"):
        Questions.read(tmp_path / "nowhere", Bytes(), 64)
