"""Micro-batches: the gradient of a step does not depend on how its rows are cut."""

import dataclasses

import numpy as np
import pytest
import torch

from gristlm.model import Model, ModelConfig
from gristlm.training import batches


@dataclasses.dataclass(frozen=True)
class Rows:
    input_ids: np.ndarray
    labels: np.ndarray
    position_ids: np.ndarray
    cu_seqlens: np.ndarray


def packed(rows: int, length: int) -> Rows:
    random = np.random.default_rng(0)
    bounds = np.unique(
        np.concatenate([np.arange(0, rows * length + 1, length), random.integers(0, rows * length, 2 * rows)])
    )
    ids = random.integers(0, 50, (rows, length))
    labels = np.where(random.random((rows, length)) < 0.2, -100, np.roll(ids, -1))
    positions = np.concatenate([np.arange(n) for n in np.diff(bounds)]).reshape(rows, length)
    return Rows(ids, labels, positions, bounds.astype(np.int32))


@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_gradients_add_up(rows: int) -> None:
    batch, model = (
        packed(6, 32),
        Model(ModelConfig(vocab_size=50, num_layers=2, d_model=32, num_heads=2, max_seq_len=32)),
    )
    gradients = []
    for size in (6, rows):
        model.zero_grad()
        for part in batches.split(batch, size, torch.device("cpu")):
            total = int((batch.labels >= 0).sum())
            loss, _ = model.loss(
                part.input_ids,
                part.labels,
                position_ids=part.position_ids,
                cu_seqlens=part.cu_seqlens,
                total_tokens=total,
            )
            loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for whole, parts in zip(*gradients, strict=True):
        assert (whole - parts).abs().max() <= 1e-6


def test_parts_cover_the_batch() -> None:
    batch = packed(5, 16)
    parts = batches.split(batch, 2, torch.device("cpu"))
    assert [len(part.input_ids) for part in parts] == [2, 2, 1]
    assert np.array_equal(np.concatenate([part.labels for part in parts]), batch.labels)
    bounds = np.concatenate([part.cu_seqlens.numpy()[1:] + 32 * i for i, part in enumerate(parts)])
    assert np.array_equal(bounds, batch.cu_seqlens[1:])
    assert all(part.cu_seqlens[0] == 0 for part in parts)


@pytest.mark.parametrize("rows", [2, 4, 6])
def test_staged_is_as_direct_and_never_changes(rows: int) -> None:
    cpu = torch.device("cpu")
    staging, given = batches.Staging(cpu), [packed(size, 32) for size in (6, 1, 6, 9, 2, 6, 6)]
    kept = [batches.split(batch, rows, cpu, staging) for batch in given]
    for batch, parts in zip(given, kept, strict=True):
        for ours, theirs in zip(parts, batches.split(batch, rows, cpu), strict=True):
            for name in ("input_ids", "labels", "position_ids", "cu_seqlens"):
                one, other = getattr(ours, name), getattr(theirs, name)
                assert one.dtype == other.dtype
                assert torch.equal(one, other)
    places = [buffer.data_ptr() for buffer in staging._buffers]
    batches.split(given[0], rows, cpu, staging)
    assert places == [buffer.data_ptr() for buffer in staging._buffers], "no new buffer for what fits"


@pytest.mark.cuda
def test_pinned_buffers() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    cuda = torch.device("cuda")
    staging, given = batches.Staging(cuda), [packed(6, 512) for _ in range(40)]
    kept = [batches.split(batch, 2, cuda, staging) for batch in given]
    assert all(buffer.is_pinned() for buffer in staging._buffers)
    for batch, parts in zip(given, kept, strict=True):
        assert np.array_equal(torch.cat([part.labels for part in parts]).cpu().numpy(), batch.labels)
