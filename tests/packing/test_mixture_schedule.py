"""Weights that change at steps and limits per source: nothing lost, the same at any cut and any number of ranks."""

import json
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_corpora import check_batch, delivered, same, sequences, skewed_lengths, write

from gristlm.errors import InputError
from gristlm.tokenize.token_dataset import TokenDataset
from gristlm.training.packed_loader import PackedLoader

WEB, CODE, BOOKS = [(0, 0.8), (40, 0.3)], [(0, 0.2), (20, 0.4), (40, 0.7)], [(0, 0.0), (30, 0.5), (50, 0.0)]


@pytest.fixture(scope="module")
def parts() -> list[list[np.ndarray]]:
    return [sequences(skewed_lengths(300, seed=seed), seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def datasets(parts: list[list[np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> list[TokenDataset]:
    root = tmp_path_factory.mktemp("mixture")
    return [write(root / str(number), part) for number, part in enumerate(parts)]


def loader(datasets: list[TokenDataset], **options: object) -> PackedLoader:
    sources = dict(zip(datasets, (WEB, CODE, BOOKS), strict=True))
    return PackedLoader(sources, **{"seq_len": 64, "batch_size": 24, "seed": 7, **options})


def test_shares_follow_the_schedule(datasets: list[TokenDataset], parts: list[list[np.ndarray]]) -> None:
    tokens = np.zeros((70, 3))
    for step, batch in enumerate(islice(loader(datasets), 70)):
        check_batch(batch, parts)
        np.add.at(tokens[step], batch.segments[:, 0], batch.segments[:, 3])
    for begin, end, weights in (
        (0, 20, [0.8, 0.2, 0.0]),
        (20, 30, [0.8, 0.4, 0.0]),
        (30, 40, [0.8, 0.4, 0.5]),
        (40, 50, [0.3, 0.7, 0.5]),
        (50, 70, [0.3, 0.7, 0.0]),
    ):
        share = tokens[begin:end].sum(0)
        expected = np.array(weights) / sum(weights) * share.sum()
        np.testing.assert_allclose(share, expected, atol=4 * 64)


def test_no_token_is_lost_when_weights_change(datasets: list[TokenDataset], parts: list[list[np.ndarray]]) -> None:
    limits = {datasets[0]: 1, datasets[1]: 3, datasets[2]: 2}
    weights = dict(zip(datasets, (WEB, CODE, [(0, 0.0), (30, 0.5)]), strict=True))
    whole = PackedLoader(weights, seq_len=64, batch_size=24, seed=7, epochs=limits)
    batches = list(whole)
    assert len(batches) == whole.num_steps
    assert delivered(batches) == Counter(
        {
            (source, sequence, place): limits[datasets[source]]
            for source, part in enumerate(parts)
            for sequence, one in enumerate(part)
            for place in range(len(one))
        }
    )


def test_a_source_that_reached_its_limit_leaves_its_share(datasets: list[TokenDataset]) -> None:
    endless = PackedLoader(
        {datasets[0]: 0.9, datasets[1]: 0.1}, seq_len=64, batch_size=8, seed=0, epochs={datasets[0]: 1}
    )
    assert endless.num_steps is None
    steps = datasets[0].num_tokens // (64 * 8)
    endless.seek(steps * 3)
    assert set(next(endless).segments[:, 0].tolist()) == {1}


@given(cuts=st.lists(st.tuples(st.integers(0, 25), st.sampled_from([1, 2, 3, 8])), min_size=1, max_size=5))
@settings(deadline=None, max_examples=15)
def test_interruptions_and_ranks_change_nothing(datasets: list[TokenDataset], cuts: list[tuple[int, int]]) -> None:
    uncut, state = loader(datasets), None
    for steps, world_size in cuts:
        ranks = [
            loader(datasets, batch_size=24 // world_size, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        for rank in ranks:
            if state is not None:
                rank.load_state_dict(json.loads(state))
        for _ in range(steps):
            whole = next(uncut)
            rows = np.concatenate([next(rank).input_ids for rank in ranks])
            assert np.array_equal(whole.input_ids, rows)
        states = {json.dumps(rank.state_dict()) for rank in ranks}
        assert len(states) == 1
        state = states.pop()
        assert len(state) < 1000


def test_seek_takes_less_than_ten_milliseconds(datasets: list[TokenDataset]) -> None:
    whole = loader(datasets)
    took = []  # CPU time of this thread, thousands of times less than the limit: a busy or slow machine changes nothing
    for step in (0, 39, 40, 10**6, 10**12):
        begin = time.thread_time()
        whole.seek(step)
        took.append(time.thread_time() - begin)
        assert whole.step == step
    assert sorted(took)[2] < 0.01
    assert same(next(whole), whole.batch(10**12))


@pytest.mark.parametrize(
    ("weight", "named"),
    [
        ([], "step 0"),
        ([(1, 0.5)], "step 0"),
        ([(0, 0.5), (0, 0.2)], "rise"),
        ([(0, -1.0)], "weight is -1"),
        ([(0, 0.0)], "above 0|0 in every phase"),
        ([(0, "much")], "'much'"),
        ([0.5], "schedule is"),
        ([(0, 0.5), (-3, 0.2)], "-3"),
    ],
)
def test_schedules_that_make_no_sense(datasets: list[TokenDataset], weight: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        PackedLoader({datasets[0]: weight}, seq_len=8, batch_size=1, seed=0)  # type: ignore[dict-item]


def test_what_a_state_and_limits_must_share(datasets: list[TokenDataset]) -> None:
    state = loader(datasets).state_dict()
    with pytest.raises(InputError, match="24 rows per step"):
        loader(datasets, batch_size=12).load_state_dict(state)
    with pytest.raises(InputError, match="datasets or weights"):
        loader(datasets, epochs={datasets[0]: 2}).load_state_dict(state)
    with pytest.raises(InputError, match="no source"):
        loader(datasets, epochs={Path("elsewhere"): 2})
