import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gristlm.finetune.batches import lay_out  # noqa: E402
from gristlm.finetune.pair_batches import lay_out_pairs  # noqa: E402
from gristlm.finetune.prepared import Prepared  # noqa: E402
from gristlm.model import Model, ModelConfig  # noqa: E402

CPU = torch.device("cpu")


def pairs(draw, count):
    ids, masks = [], []
    for _ in range(count):
        prompt = draw.integers(0, 90, draw.integers(1, 40))
        for _ in range(2):
            answer = draw.integers(0, 90, draw.integers(1, 30))
            ids.append(np.r_[prompt, answer].astype(np.uint32))
            masks.append(np.r_[np.zeros(len(prompt), bool), np.ones(len(answer), bool)])
    offsets = np.cumsum([0, *map(len, ids)]).astype(np.int64)
    return Prepared(np.concatenate(ids), offsets, np.concatenate(masks), np.arange(2 * count), [])


@pytest.mark.parametrize("seed", range(4))
def test_pairs_that_share_their_prompt_have_the_values_and_gradients_of_each_alone(seed):
    draw = np.random.default_rng(seed)
    shape = ModelConfig(vocab_size=90, num_layers=2, d_model=32, num_heads=4, num_kv_heads=2, max_seq_len=200)
    model = Model(shape, seed=seed).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.05)
    model = model.float()
    prepared, units = pairs(draw, 5), np.arange(10).reshape(5, 2)
    weights = torch.from_numpy(draw.normal(size=10).astype(np.float32))
    together = lay_out_pairs(prepared, units, config=shape, device=CPU)
    alone = lay_out(prepared, units.T.ravel(), packing=False, max_seq_len=200, device=CPU)
    assert together.layout.input_ids.numel() < len(prepared.ids)
    values, gradients = [], []
    for logprobs in (together.logprobs(model), alone.sums(model.token_logprobs(alone.input_ids, alone.labels))):
        model.zero_grad()
        (logprobs * weights).sum().backward()
        values.append(logprobs.detach())
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
