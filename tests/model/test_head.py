"""Log-probabilities and losses in chunks, against the whole logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import random_ids, tiny_model
from torch.nn import functional

from gristlm.model import head


def whole(x: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    return (x @ weight.t() / temperature).log_softmax(-1).gather(1, labels[:, None]).squeeze(1)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 300), temperature=st.sampled_from([0.5, 1.0, 2.0]), seed=st.integers(0, 99))
def test_token_logprobs_and_gradients_equal_the_whole(rows: int, temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(n, 24, generator=generator, requires_grad=True) for n in (rows, 70))
    labels, upstream = random_ids(rows, seed=seed, vocab_size=70), torch.randn(rows, generator=generator)
    ours = head.token_logprobs(x, weight, labels, temperature=temperature)
    theirs = whole(x, weight, labels, temperature)
    assert torch.allclose(ours, theirs, atol=1e-5)
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight), upstream),
        torch.autograd.grad(theirs, (x, weight), upstream),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=2e-4)


@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_summed_loss_equals_the_whole(z_loss: float) -> None:
    x, weight = torch.randn(333, 24, requires_grad=True), torch.randn(70, 24, requires_grad=True)
    labels = random_ids(333, vocab_size=70)
    loss, nll = head.summed_loss(x, weight, labels, divisor=100.0, z_loss=z_loss)
    logits = x @ weight.t()
    plain = functional.cross_entropy(logits, labels, reduction="sum") / 100
    theirs = plain + z_loss * logits.logsumexp(-1).square().sum() / 100
    assert torch.allclose(loss, theirs, rtol=1e-5)
    assert torch.allclose(nll, plain, rtol=1e-5)
    assert not nll.requires_grad
    for a, b in zip(
        torch.autograd.grad(3 * loss, (x, weight)), torch.autograd.grad(3 * theirs, (x, weight)), strict=True
    ):
        assert torch.allclose(a, b, atol=2e-4)


def test_logits_never_exist_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = head._logits
    monkeypatch.setattr(head, "_logits", lambda x, weight, cap: seen.append(len(x)) or plain(x, weight, cap))
    monkeypatch.setattr(head, "CHUNK_LOGITS", 64 * 97)
    model, ids = tiny_model(), random_ids(4, 100)
    model.token_logprobs(ids, ids).sum().backward()
    model.loss(ids, ids)[0].backward()
    assert max(seen) == 64
    assert sum(seen) == 3 * 400


def test_unlabelled_positions_are_zero_and_cost_nothing() -> None:
    model, ids = tiny_model(), random_ids(2, 20)
    labels = ids.roll(-1, 1)
    labels[0, :7], labels[:, -1] = -100, -100
    logprobs = model.token_logprobs(ids, labels)
    assert (logprobs[labels == -100] == 0).all()
    reference = model(ids).log_softmax(-1).gather(2, labels.clamp(min=0)[..., None]).squeeze(2)
    assert torch.allclose(logprobs[labels != -100], reference[labels != -100], atol=1e-5)
    loss, nll = model.loss(ids, labels)
    assert torch.allclose(loss, -logprobs.sum() / (labels != -100).sum(), atol=1e-5)
    assert loss == nll
    nothing, _ = model.loss(ids, torch.full_like(labels, -100))
    assert nothing == 0


def test_temperature_is_part_of_the_probability() -> None:
    model, ids = tiny_model(), random_ids(1, 20)
    got = model.token_logprobs(ids, ids, temperature=0.7)
    assert torch.allclose(got, (model(ids) / 0.7).log_softmax(-1).gather(2, ids[..., None]).squeeze(2), atol=1e-5)
