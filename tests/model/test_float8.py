"""Products in float8, computed on the CPU by the same calls: close to exact ones, and a model learns with them."""

import pytest

torch = pytest.importorskip("torch")

from gristlm.errors import ConfigError  # noqa: E402
from gristlm.model import Model, ModelConfig, float8  # noqa: E402


def relative(found, exact):
    return ((found - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_products_and_gradients_are_close(size):
    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(shape, generator=generator) for shape in ((2, 32, 64), (48, 64), (2, 32, 48)))
    x, weight = (x * size).requires_grad_(), (weight / size).requires_grad_()
    exact = x @ weight.t()
    expected = torch.autograd.grad(exact, (x, weight), grad)
    found = float8.linear(x, weight)
    got = torch.autograd.grad(found, (x, weight), grad)
    assert found.dtype == torch.float32
    assert relative(found, exact) < 0.05
    for one, other in zip(got, expected, strict=True):
        assert relative(one, other) < 0.1


def test_a_tensor_of_zeros_stays_zeros():
    x, weight = torch.zeros(16, 32, requires_grad=True), torch.randn(16, 32)
    out = float8.linear(x, weight)
    out.sum().backward()
    assert not out.any()
    assert x.grad.isfinite().all()


def test_other_sizes_are_computed_without_it():
    assert float8.fits(torch.zeros(2, 8, 32), torch.zeros(16, 32))
    assert not float8.fits(torch.zeros(1, 8, 32), torch.zeros(16, 32))
    assert not float8.fits(torch.zeros(2, 8, 32), torch.zeros(12, 32))


def test_a_model_learns_as_without():
    shape = ModelConfig(vocab_size=64, num_layers=2, d_model=64, num_heads=2, max_seq_len=32)
    ids = torch.randint(0, 64, (4, 33), generator=torch.Generator().manual_seed(1))
    losses = []
    for eight in (False, True):
        model = Model(shape, seed=0)
        if eight:
            model.use_float8()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        curve = []
        for _ in range(30):
            loss, _ = model.loss(ids[:, :-1], ids[:, 1:])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            curve.append(loss.item())
        losses.append(curve)
    assert losses[0] != losses[1]
    assert losses[1][-1] < losses[1][0] / 2
    assert losses[1][-1] == pytest.approx(losses[0][-1], rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine may have it")
def test_without_such_a_device_it_is_refused():
    from gristlm.pretrain import PretrainConfig
    from gristlm.pretrain.loop import _check_float8

    with pytest.raises(ConfigError, match=r"float8 needs a CUDA device of compute capability 8\.9; this is cpu"):
        _check_float8(PretrainConfig(float8=True), torch.device("cpu"))
