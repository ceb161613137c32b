"""`gristlm bench packing` and `train` on very little: what they assert holds, and rows come out."""

import pytest

from gristlm.bench import packing, run_bench
from gristlm.errors import InputError


def test_packing_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NUM_DOCUMENTS": 300, "NUM_BATCHES": 2, "NUM_WINDOWS": 2, "BUFFER_DOCUMENTS": 50}.items():
        monkeypatch.setattr(packing, name, value)
    table = run_bench("packing", peers=["numpy", "nanochat-like"])
    assert [row.library for row in table.rows] == [
        "gristlm", "gristlm", "nanochat-like", "gristlm", "numpy", "gristlm", "numpy",
    ]  # fmt: skip
    assert not table.skipped
    assert "0 tokens lost" in table.rows[1].note
    assert "Mtok/s" in table.to_text()
    with pytest.raises(InputError, match="litdata"):
        run_bench("packing", peers=["litdata"])


@pytest.mark.filterwarnings("ignore")
def test_train_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    from gristlm.bench import train

    tiny = {"num_layers": 1, "d_model": 64, "num_heads": 2, "num_kv_heads": 2, "head_dim": 32, "d_ff": 128}
    monkeypatch.setattr(train, "SHAPE", train.SHAPE.model_copy(update=tiny))
    monkeypatch.setattr(train, "ROWS", 1)
    table = run_bench("train")
    assert [row.library for row in table.rows] == ["gristlm", "transformers"], "equal losses and gradient norms"
    assert "peak memory" in table.text
