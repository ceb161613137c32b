"""Signing shared out: what other machines left in the folder is found, used, and nothing else."""

import random
from pathlib import Path

import numpy as np
import pytest

from gristlm import dedup
from gristlm.errors import DamagedArtifactError, InputError, StorageError


def corpus() -> list[str]:
    rng = random.Random(3)
    texts = [" ".join(f"w{rng.randrange(2000)}" for _ in range(12)) for _ in range(20_000)]
    near = [f"{text} more" for text in texts[:9000]]
    texts += [*near, *texts[:6000]]
    rng.shuffle(texts)
    return texts


TEXTS = corpus()
SHARDS = -(-len(TEXTS) // dedup.SHARD_TEXTS)


def positions(texts: list[str], order: np.ndarray) -> np.ndarray:
    """The position of each text in `order`, -1 for one that equals a text before it."""
    out, seen = np.full(len(texts), -1), set[str]()
    for position, text in enumerate(order):
        if texts[text] not in seen:
            out[text] = position
            seen.add(texts[text])
    return out


def sign(folder: Path, places: np.ndarray) -> None:
    for shard in reversed(range(SHARDS)):
        here = slice(shard * dedup.SHARD_TEXTS, (shard + 1) * dedup.SHARD_TEXTS)
        dedup.sign_shard(TEXTS[here], places[here], shard, folder, num_threads=1)


def test_what_others_signed_and_grouped_is_used(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert SHARDS == 2
    sign(tmp_path, positions(TEXTS, order))
    for first in range(0, dedup.PARTITIONS, 64):
        dedup.group_partitions(range(first, first + 64), SHARDS, tmp_path, num_threads=1)
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    assert len(files) == SHARDS + dedup.PARTITIONS
    shared = dedup.minhash(TEXTS, order=order, memory=50_000_000, folder=tmp_path)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == files
    alone = dedup.minhash(TEXTS, order=order)
    assert (~alone.keep).sum() > 6000
    for name in ("keep", "cluster", "twin", "similarity"):
        assert getattr(shared, name).tobytes() == getattr(alone, name).tobytes()


def test_what_is_of_other_texts_is_done_again(tmp_path: Path) -> None:
    sign(tmp_path, np.arange(len(TEXTS)))  # copies are signed too: not what `minhash` wants
    dedup.group_partitions(range(256), SHARDS, tmp_path)
    assert dedup.minhash(TEXTS, memory=50_000_000, folder=tmp_path).twin.tolist() == dedup.minhash(TEXTS).twin.tolist()


def test_wrong_shards_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 texts and 1 positions"):
        dedup.sign_shard(["a", "b"], [0], 0, tmp_path)
    with pytest.raises(InputError, match="at most 32768 texts"):
        dedup.sign_shard(["a"] * 32769, range(32769), 0, tmp_path)
    with pytest.raises(InputError, match="there are 256"):
        dedup.group_partitions(range(250, 260), 0, tmp_path)
    with pytest.raises(InputError, match="without a step"):
        dedup.group_partitions(range(0, 256, 2), 0, tmp_path)
    dedup.sign_shard(["a b c"], [0], 0, tmp_path)
    with pytest.raises(StorageError, match="bands-00001"):
        dedup.group_partitions(range(2), 2, tmp_path)
    (tmp_path / "bands-00000.bin").write_bytes(b"torn")
    with pytest.raises(DamagedArtifactError, match="bands-00000"):
        dedup.group_partitions(range(2), 1, tmp_path)
    with pytest.raises(DamagedArtifactError, match="bands-00000"):
        dedup.sign_shard(["a b c"], [0], 0, tmp_path)
