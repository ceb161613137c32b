"""Cloze and multiple-choice rows: what is right, by hand, and what is no question."""

import contextlib
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from gristlm.errors import FormatError, MissingArtifactError  # noqa: E402
from gristlm.training import device  # noqa: E402
from gristlm.training.questions import Questions  # noqa: E402


class Certain:
    """A model that is sure of the token one above the one before it."""

    device = "cpu"

    def __call__(self, ids_BT):  # type: ignore[no-untyped-def]
        return torch.nn.functional.one_hot((ids_BT + 1) % 300, 300).float() * 20


class Bytes:
    """Bytes as tokens."""

    vocab_size, special_tokens = 256, dict[str, int]()

    def encode(self, text: str, /) -> list[int]:
        return list(text.encode())

    def id_to_bytes(self, token: int, /) -> bytes:
        return bytes([token])


def test_accuracy_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
