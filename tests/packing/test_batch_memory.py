"""The memory of batches: used again, and never while anything holds it."""

import gc
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_corpora import same, sequences, skewed_lengths, write

from gristlm.tokenize.token_dataset import TokenDataset
from gristlm.training.packed_loader import Batch, PackedLoader

NAMES = ("input_ids", "labels", "position_ids", "cu_seqlens", "segments")
VIEWS = {
    "array": lambda array: array,
    "slice": lambda array: array[1:],
    "stride": lambda array: array[::-2],
    "flat view of a view": lambda array: array[:2].reshape(-1)[3:],
    "other type": lambda array: array.view(np.uint8),
    "memoryview": lambda array: np.asarray(memoryview(array)[1:]),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TokenDataset:
    return write(tmp_path_factory.mktemp("memory") / "tokens", sequences(skewed_lengths(300)))


def loader(dataset: TokenDataset) -> PackedLoader:
    return PackedLoader(dataset, seq_len=64, batch_size=4, seed=2)


@given(held=st.dictionaries(st.integers(0, 30), st.tuples(st.sampled_from(NAMES), st.sampled_from(sorted(VIEWS)))))
@settings(deadline=None, max_examples=30)
def test_what_is_held_does_not_change(dataset: TokenDataset, held: dict[int, tuple[str, str]]) -> None:
    ours, kept, before = loader(dataset), {}, {}
    for step in range(32):
        batch = next(ours)
        if step in held:
            name, view = held[step]
            kept[step] = VIEWS[view](getattr(batch, name))
            before[step] = kept[step].copy()
    other = loader(dataset)
    for step, view in kept.items():
        assert np.array_equal(view, before[step])
        name, how = held[step]
        assert np.array_equal(view, VIEWS[how](getattr(other.batch(step), name)))


def test_whole_batches_are_apart_and_outlive_the_loader(dataset: TokenDataset) -> None:
    ours = loader(dataset)
    kept: list[Batch] = [next(ours) for _ in range(20)]
    assert not any(np.shares_memory(one.labels, other.labels) for one in kept for other in kept if one is not other)
    ours.seek(3)
    again = [next(ours) for _ in range(5)]
    del ours
    gc.collect()
    assert all(same(one, other) for one, other in zip(again, kept[3:8], strict=True))


def test_tensors_hold_it_too(dataset: TokenDataset) -> None:
    torch = pytest.importorskip("torch")
    ours, other = loader(dataset), loader(dataset)
    kept = [torch.from_numpy(next(ours).input_ids)[1:, ::3] for _ in range(12)]
    for tensor in kept:
        assert np.array_equal(tensor.numpy(), next(other).input_ids[1:, ::3])


def test_what_a_holder_wrote_is_not_in_a_later_batch(dataset: TokenDataset) -> None:
    ours, other = loader(dataset), loader(dataset)
    for _ in range(40):
        batch = next(ours)
        assert same(batch, next(other))
        for name in NAMES:
            getattr(batch, name)[...] = -7


def test_it_is_used_again(dataset: TokenDataset) -> None:
    ours, places = loader(dataset), set()
    for _ in range(300):
        places.add(next(ours).labels.ctypes.data)
    assert len(places) <= 30, "two wait, one is made, one is held"


def test_given_back_by_other_threads(dataset: TokenDataset) -> None:
    ours, other, wrong = loader(dataset), loader(dataset), []

    def keep(batch: Batch, expected: np.ndarray) -> None:
        if not np.array_equal(batch.labels, expected):
            wrong.append(expected)

    threads = [threading.Thread(target=keep, args=(next(ours), next(other).labels.copy())) for _ in range(60)]
    for thread in threads:
        thread.start()
    del thread
    while threads:
        threads.pop().join()
    assert not wrong
    assert same(next(ours), next(other))
