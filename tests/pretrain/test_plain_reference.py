"""Training is what the papers say: our losses, step by step, are those of a reference with every layer written out."""

import pytest
import torch

from gristlm.model import ModelConfig
from pretraining import characters, train_both


@pytest.mark.parametrize("num_kv_heads", [4, 2])
def test_the_same_curve(num_kv_heads: int) -> None:
    ids = characters(None)
    shape = ModelConfig(
        vocab_size=int(ids.max()) + 1, num_layers=2, d_model=64, num_heads=4, num_kv_heads=num_kv_heads, max_seq_len=32
    )
    curves = train_both(ids, shape, steps=25, rows=6)
    torch.testing.assert_close(torch.tensor(curves.ours), torch.tensor(curves.plain), rtol=1e-4, atol=1e-4)
    assert curves.ours[-1] < curves.ours[0] - 0.5, "and it learns"
