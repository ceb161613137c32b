"""The loader as a torch dataset: the same batches with any number of workers, and after any cut."""

import json
from pathlib import Path

import pytest
from token_corpora import sequences, skewed_lengths, write

from gristlm.errors import InputError
from gristlm.training.packed_loader import PackedLoader

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402

from gristlm.training.torch_dataset import PackedDataset  # noqa: E402

OPTIONS: dict[str, object] = {"seq_len": 32, "batch_size": 4, "seed": 5, "epochs": 1}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("torch") / "tokens", sequences(skewed_lengths(150))).path


@pytest.fixture(scope="module")
def expected(path: Path) -> list[torch.Tensor]:
    return [torch.from_numpy(batch.input_ids) for batch in PackedLoader(path, **OPTIONS)]


def ids(batches: list[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [batch["input_ids"] for batch in batches]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_number_of_workers(path: Path, expected: list[torch.Tensor], workers: int) -> None:
    dataset = PackedDataset(sources=path, **OPTIONS)
    assert equal(ids(list(DataLoader(dataset, batch_size=None, num_workers=workers))), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on(path: Path, expected: list[torch.Tensor], workers: int) -> None:
    dataset = PackedDataset(sources=path, **OPTIONS)
    batches = iter(DataLoader(dataset, batch_size=None, num_workers=workers))
    for _ in range(7):
        next(batches)
    state = json.loads(json.dumps(dataset.state_dict(None if workers == 0 else 7)))
    again = PackedDataset(sources=path, **OPTIONS)
    again.load_state_dict(state)
    assert equal(ids(list(DataLoader(again, batch_size=None, num_workers=workers))), expected[7:])


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_keeps_its_place(path: Path, expected: list[torch.Tensor], workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    loader = stateful(PackedDataset(sources=path, **OPTIONS), batch_size=None, num_workers=workers)
    batches = iter(loader)
    for _ in range(5):
        next(batches)
    state = loader.state_dict()
    again = stateful(PackedDataset(sources=path, **OPTIONS), batch_size=None, num_workers=workers)
    again.load_state_dict(state)
    assert equal(ids(list(again)), expected[5:])


def test_what_the_loader_does_not_take(path: Path) -> None:
    with pytest.raises(InputError, match="rows_per_step"):
        PackedDataset(sources=path, rows_per_step=4)
