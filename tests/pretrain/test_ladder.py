"""The scaling-law tool finds the curve that the losses were made from."""

import json
from pathlib import Path

import pytest
from small_runs import config

from gristlm.errors import InputError
from gristlm.pretrain import ladder
from gristlm.pretrain.ladder import Rung


def made(floor: float, scale: float, exponent: float, sizes: list[int]) -> list[Rung]:
    return [Rung(size, 20 * size, floor + scale / size**exponent, 1.0) for size in sizes]


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(1.7, 400.0, 0.34), (0.9, 12.0, 0.2), (0.0, 9.0, 0.1)])
def test_a_curve_is_found_again(floor: float, scale: float, exponent: float) -> None:
    sizes = [10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7]
    fitted = ladder.fit(made(floor, scale, exponent, sizes))
    assert fitted.predict(10**8) == pytest.approx(floor + scale / 10 ** (8 * exponent), rel=0.02)
    assert fitted.error < 1e-2


def test_what_cannot_be_fitted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="three sizes"):
        ladder.fit(made(1, 9, 0.1, [10, 100]))
    with pytest.raises(InputError, match="does not fall"):
        ladder.fit([Rung(size, 1, 1.0 + size / 100, 1.0) for size in (1, 2, 3)])
    with pytest.raises(InputError, match="multiples of 32"):
        ladder.run(config(), {}, tmp_path, widths=[32, 64, 70])


def test_a_ladder_of_three(inputs: dict[str, Path], tmp_path: Path) -> None:
    base = config(learning_rate=1e-2)
    fitted = ladder.run(base, inputs, tmp_path, widths=[96, 32, 64], tokens_per_weight=0.08, predict=10**6)
    body = json.loads((tmp_path / "ladder.json").read_text())
    sizes = [rung["parameters"] for rung in body["rungs"]]
    assert sizes == sorted(sizes)
    assert body["prediction"] == {"parameters": 10**6, "loss": fitted.predict(10**6)}
    assert all(rung["tokens"] == pytest.approx(0.08 * rung["parameters"], rel=0.5) for rung in body["rungs"])
    assert "1M: " in (tmp_path / "ladder.svg").read_text()
    before = (tmp_path / "width-0032" / "manifest.json").read_bytes()
    assert ladder.run(base, inputs, tmp_path, widths=[32, 64, 96], tokens_per_weight=0.08, predict=10**6) == fitted
    assert (tmp_path / "width-0032" / "manifest.json").read_bytes() == before
