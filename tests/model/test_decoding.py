"""Decoding in one Rust call beside the plain network: the same logits and cache; rows do not see each other."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gristlm.errors import InputError  # noqa: E402
from gristlm.model import Model, ModelConfig, attention  # noqa: E402
from gristlm.model.cache import Cache, Decode, Prefill  # noqa: E402
from gristlm.model.generation_step import Step  # noqa: E402

SHAPES = {
    "qwen3": {"num_kv_heads": 2, "qk_norm": True, "head_dim": 32},
    "qwen2": {"num_kv_heads": 1, "qk_norm": False, "qkv_bias": True},
    "mistral": {"num_kv_heads": 4, "qk_norm": False, "sliding_window": 5, "tie_embeddings": False},
    "small heads": {"num_kv_heads": 4, "head_dim": 20},
}
LENGTHS = [3, 9, 1, 7, 2, 8, 5, 4, 6, 3, 9]


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def filled(request):
    """A model with weights that say something, its ready step, and a cache with prompts of several lengths."""
    shape = ModelConfig(vocab_size=77, num_layers=2, d_model=48, num_heads=4, max_seq_len=32, **request.param)
    model = Model(shape, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    cache = Cache(shape, len(LENGTHS), 12, device=torch.device("cpu"), dtype=torch.float32)
    ids = torch.randint(0, 77, (1, sum(LENGTHS)), generator=generator)
    bounds = torch.tensor(np.cumsum([0, *LENGTHS]), dtype=torch.int32)
    windows = tuple(shape.window(layer) for layer in range(2))
    attend, positions = attention.documents(bounds, (1, ids.shape[1]), half_precision=False, windows=windows)
    rows = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    places = cache.places(rows, positions[0])
    with torch.no_grad():
        model.run_blocks(ids, positions, Prefill(attend, cache, torch.arange(ids.shape[1]), places))
    step = Step.of(model)
    assert step is not None
    return model, step, cache, windows


def decode(step, ids, lengths, cache):
    """The next token of the first rows of the cache."""
    everyone = range(len(lengths))
    return step(ids, everyone, lengths, everyone, cache)


def copied(cache, rows):
    small = Cache.__new__(Cache)
    small.__dict__ |= cache.__dict__
    small.keys, small.values = (tensor[:, rows].clone() for tensor in (cache.keys, cache.values))
    return small


@torch.no_grad()
def test_logits_and_cache_are_those_of_the_plain_network(filled):
    model, step, cache, windows = filled
    everyone = list(range(len(LENGTHS)))
    mine, other = copied(cache, everyone), copied(cache, everyone)
    ids, lengths = torch.arange(len(LENGTHS)), torch.tensor(LENGTHS)
    found = decode(step, ids, LENGTHS, mine)
    plain = Decode(other, lengths, max(LENGTHS), ragged=True, windows=windows)
    exact = model.logits(model.run_blocks(ids[:, None], lengths[:, None], plain)[:, 0])
    torch.testing.assert_close(found, exact, atol=1e-5, rtol=1e-5)
    for one, two in zip([*mine.keys, *mine.values], [*other.keys, *other.values], strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_prompts_are_those_of_the_plain_network_and_the_same_to_the_bit_token_by_token(filled):
    """More tokens than go through the layers at once; the last of each prompt gives the logits."""
    model, step, _, windows = filled
    lengths = [9, 31, 1, 24, 31, 17, 31]
    bounds = np.cumsum([0, *lengths])
    ids = torch.randint(0, 77, (int(bounds[-1]),), generator=torch.Generator().manual_seed(2))
    rows = np.repeat(np.arange(len(lengths)), lengths).tolist()
    positions = np.concatenate([np.arange(length) for length in lengths]).tolist()
    last = (bounds[1:] - 1).tolist()
    whole, plain, single = (
        Cache(model.config, len(lengths), 32, device=torch.device("cpu"), dtype=torch.float32) for _ in range(3)
    )
    found = step(ids, rows, positions, last, whole)
    attend, places_T = attention.documents(
        torch.tensor(bounds, dtype=torch.int32), (1, len(ids)), half_precision=False, windows=windows
    )
    places = plain.places(torch.tensor(rows), torch.tensor(positions))
    exact = model.run_blocks(ids[None], places_T, Prefill(attend, plain, torch.arange(len(ids)), places))
    torch.testing.assert_close(found, model.logits(exact[0, last]), atol=1e-5, rtol=1e-5)
    for one, two in zip([*whole.keys, *whole.values], [*plain.keys, *plain.values], strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    for place in range(len(ids)):
        alone = step(ids[place : place + 1], rows[place : place + 1], positions[place : place + 1], [0], single)
        if place in last:
            assert torch.equal(alone[0], found[last.index(place)])
    for one, two in zip([*whole.keys, *whole.values], [*single.keys, *single.values], strict=True):
        assert torch.equal(one, two)
    with pytest.raises(InputError, match="wanted"):
        step(ids[:1], [0], [0], [1], single)


@torch.no_grad()
@pytest.mark.parametrize("rows", [[0], [4], [10, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
def test_a_row_is_the_same_to_the_bit_among_any_others(filled, rows):
    _, step, cache, _ = filled
    ids = torch.arange(len(LENGTHS))
    together = decode(step, ids, LENGTHS, copied(cache, list(range(len(LENGTHS)))))
    some = decode(step, ids[rows], [LENGTHS[row] for row in rows], copied(cache, rows))
    assert torch.equal(some, together[rows])


@torch.no_grad()
def test_two_threads_give_the_same_bits(filled):
    model, step, cache, _ = filled
    everyone, ids = list(range(len(LENGTHS))), torch.arange(len(LENGTHS))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = Step.of(model)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(
        decode(step, ids, LENGTHS, copied(cache, everyone)), decode(other, ids, LENGTHS, copied(cache, everyone))
    )


@torch.no_grad()
def test_a_full_row_is_an_error_and_nothing_is_written(filled):
    _, step, cache, _ = filled
    mine = copied(cache, [0, 1])
    with pytest.raises(InputError, match=r"row 1 has 12 positions in a cache of 12"):
        decode(step, torch.tensor([1, 2]), [3, 12], mine)
    assert all(torch.equal(one, two[:2]) for one, two in zip(mine.keys, cache.keys, strict=True))


@torch.no_grad()
def test_numbers_that_are_not_finite_come_out(filled):
    _, step, cache, _ = filled
    mine = copied(cache, [0, 1])
    mine.values[0][1, :, 0] = float("nan")
    found = decode(step, torch.tensor([1, 2]), [3, 3], mine)
    assert found[0].isfinite().all()
