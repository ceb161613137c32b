"""The network: packing, batching, determinism, refused inputs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import random_ids, tiny_config, tiny_model

from gristlm.errors import InputError
from gristlm.model import Model
from gristlm.model.products import _onednn_is_exact, linear

MODEL = tiny_model(num_kv_heads=2)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 4), length=st.integers(1, 70), data=st.data())
def test_packed_documents_equal_each_alone(rows: int, length: int, data: st.DataObject) -> None:
    total = rows * length
    inner = data.draw(st.lists(st.integers(0, total), max_size=12))
    bounds = sorted({*inner, *range(0, total + 1, length)})
    ids = random_ids(rows, length, seed=total)
    with torch.no_grad():
        packed = MODEL(ids, cu_seqlens=torch.tensor(bounds, dtype=torch.int32)).flatten(0, 1)
        for start, end in itertools.pairwise(bounds):
            alone = MODEL(ids.flatten()[None, start:end])[0]
            assert (packed[start:end] - alone).abs().max() <= 1e-5


def test_packed_gradients_equal_those_of_each_alone() -> None:
    model, ids, bounds = tiny_model(), random_ids(2, 60), [0, 9, 25, 60, 61, 100, 120]
    labels = ids.roll(-1, 1)
    cu_seqlens = torch.tensor(bounds, dtype=torch.int32)
    model.loss(ids, labels, cu_seqlens=cu_seqlens, total_tokens=1)[0].backward()
    packed = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    for start, end in itertools.pairwise(bounds):
        model.loss(ids.flatten()[None, start:end], labels.flatten()[None, start:end], total_tokens=1)[0].backward()
    for ours, alone in zip(packed, model.parameters(), strict=True):
        assert torch.allclose(ours, alone.grad, rtol=1e-4, atol=1e-4)


def test_right_padding_changes_nothing() -> None:
    ids = random_ids(1, 40)
    padded = torch.cat([ids, torch.zeros(1, 20, dtype=torch.int64)], 1)
    with torch.no_grad():
        assert (MODEL(padded)[:, :40] - MODEL(ids)).abs().max() <= 1e-5


def test_positions_can_be_given() -> None:
    ids = random_ids(1, 10)
    with torch.no_grad():
        shifted = MODEL(ids, position_ids=torch.arange(7, 17)[None])
        plain = MODEL(ids)
    assert (shifted - plain).abs().max() <= 1e-4, "rotary attention sees distances only"
    with torch.no_grad():
        spread = MODEL(ids, position_ids=torch.arange(0, 20, 2)[None])
    assert (spread - plain).abs().max() > 1e-3


def test_initial_weights_are_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = Model(tiny_config(), seed=5)
    torch.manual_seed(2)
    second, other = Model(tiny_config(), seed=5), Model(tiny_config(), seed=6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.embed_tokens.weight, other.embed_tokens.weight)


@pytest.mark.parametrize(
    ("ids", "cu_seqlens", "named"),
    [
        (random_ids(10), None, r"\[batch, length\]"),
        (random_ids(1, 129), None, "max_seq_len 128"),
        (random_ids(2, 5), [0, 5], "= 10"),
        (random_ids(2, 5), [0, 7, 5, 10], "ascend"),
        (random_ids(2, 5), [1, 10], "from 0"),
    ],
)
def test_wrong_inputs_are_named(ids: torch.Tensor, cu_seqlens: list[int] | None, named: str) -> None:
    with pytest.raises(InputError, match=named):
        MODEL(ids, cu_seqlens=None if cu_seqlens is None else torch.tensor(cu_seqlens, dtype=torch.int32))
    with pytest.raises(InputError, match="labels"):
        MODEL.loss(random_ids(2, 5), random_ids(2, 4))


@pytest.mark.parametrize("rows", [1, 15, 16, 200])
def test_fast_products_equal_plain_ones(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    x, weight = torch.randn(rows, 48, generator=generator), torch.randn(64, 48, generator=generator)
    x.requires_grad_(), weight.requires_grad_()
    out = linear(x, weight)
    out.square().sum().backward()
    exact = x.detach().double() @ weight.detach().double().t()
    assert np.allclose(out.detach(), exact, rtol=1e-5, atol=1e-4)
    assert np.allclose(x.grad, 2 * exact @ weight.detach().double(), rtol=1e-4, atol=1e-3)
    assert np.allclose(weight.grad, 2 * exact.t() @ x.detach().double(), rtol=1e-4, atol=1e-2)


def test_fast_products_leave_torch_as_it_was() -> None:
    settings = getattr(torch.backends.mkldnn, "matmul", None)
    if settings is None or not hasattr(settings, "fp32_precision"):
        pytest.skip("this torch has no such setting")
    before = settings.fp32_precision
    linear(torch.randn(64, 64), torch.randn(64, 64, requires_grad=True)).sum().backward()
    assert settings.fp32_precision == before
    assert _onednn_is_exact() in (True, False)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch.compile looks at it itself
def test_compiled_blocks_are_compiled_once() -> None:
    """Whatever the documents, the layer and its window: a block that changes its mind each step ends uncompiled."""
    from torch._dynamo.testing import CompileCounterWithBackend

    shape = tiny_config(num_layers=10, sliding_window=8, window_from_layer=1)
    plain, compiled = Model(shape, seed=0), Model(shape, seed=0)
    counter = CompileCounterWithBackend("aot_eager")
    for block in compiled.layers:
        block.compile(backend=counter)
    frames = []
    for step in range(6):
        generator = torch.Generator().manual_seed(step)
        ids = random_ids(2, 32, seed=step)
        cuts = torch.randperm(31, generator=generator)[: 2 + step] + 1
        bounds = torch.cat([torch.zeros(1, dtype=torch.int64), cuts.sort().values, torch.tensor([32, 64])]).int()
        losses = [model.loss(ids, ids.roll(-1, 1), cu_seqlens=bounds)[0] for model in (plain, compiled)]
        for loss in losses:
            torch.autograd.backward(loss)
        torch.testing.assert_close(losses[1], losses[0])
        frames.append(counter.frame_count)
    assert frames[0] < shape.num_layers, "not once for each layer"
    assert frames == [frames[0]] * 6
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(compiled.get_parameter(name).grad, parameter.grad, msg=name)


def test_recomputed_activations_give_the_same_gradients() -> None:
    models = [tiny_model(), tiny_model()]
    models[1].recompute = True
    ids, kept = random_ids(2, 32, seed=0), list[list[int]]()
    for model in models:
        kept.append([])
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept[-1].append(x.nbytes) or x, lambda x: x):
            loss = model.loss(ids, ids.roll(-1, 1), cu_seqlens=torch.tensor([0, 20, 32, 64], dtype=torch.int32))[0]
        torch.autograd.backward(loss)
    assert sum(kept[1]) < sum(kept[0]) / 2, "fewer bytes wait for the backward pass"
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one.grad, other.grad)
