"""The harm classifier: it learns, is the same twice, survives hostile texts and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gristlm.errors import FormatError, InputError
from gristlm.verify.harm import HarmModel

BAD = [f"I will {verb} {who}" for verb in ("hurt", "kill", "poison") for who in ("him", "them all", "my neighbour")]
GOOD = [f"I will {verb} {who}" for verb in ("help", "thank", "invite") for who in ("him", "them all", "my neighbour")]
LABELS = [True] * len(BAD) + [False] * len(GOOD)


@pytest.fixture(scope="module")
def model() -> HarmModel:
    return HarmModel.train(BAD + GOOD, LABELS)


def test_it_tells_what_it_learned_and_its_like(model: HarmModel) -> None:
    scores = model.score(["They killed her", "They helped her", ""])
    assert scores.dtype == np.float32
    assert scores[0] > 0.5 > scores[1]
    assert ((model.score(BAD + GOOD) > 0.5) == LABELS).all()
    assert model.score([]).shape == (0,)


def test_it_is_the_same_twice_and_after_a_round_trip(model: HarmModel, tmp_path: Path) -> None:
    texts = ["kill", "help", "\ud800 \x00", "a" * 100_000, "kill " * 50_000]
    model.save(tmp_path / "harm.npz")
    for other in (HarmModel.train(BAD + GOOD, LABELS), HarmModel.load(tmp_path / "harm.npz")):
        np.testing.assert_array_equal(other.score(texts), model.score(texts))
    assert np.isfinite(model.score(texts)).all()


def test_what_cannot_be_learned_from_or_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 texts and 1 labels"):
        HarmModel.train(["a", "b"], [True])
    with pytest.raises(InputError, match="both"):
        HarmModel.train(["a", "b"], [True, True])
    for content in (b"", b"PK\x03\x04" + bytes(99), b"\x80\x04N."):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(FormatError, match="no harm model"):
            HarmModel.load(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", weights=np.zeros(3, dtype=np.float32), scale=np.zeros(3, dtype=np.float32), bias=0.0)
    with pytest.raises(FormatError, match="other shapes"):
        HarmModel.load(tmp_path / "y.npz")
    with pytest.raises(FormatError, match="no harm model"):
        HarmModel.load(tmp_path / "absent.npz")
