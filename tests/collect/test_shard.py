"""Shares of a source: together everything, nothing twice."""

import random
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq

from gristlm.collect import CollectConfig, run
from gristlm.collect.shard import parse
from gristlm.errors import ConfigError

pytestmark = pytest.mark.extras


def test_shards_are_a_partition(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(10):
        (tmp_path / "in" / f"{number}.txt").write_text(f"Text number {number} about {number * 17} mills by a river.")
    found = []
    for shard in (None, "0/3", "1/3", "2/3"):
        output = tmp_path / f"out{len(found)}"
        run(CollectConfig(sources=[str(tmp_path / "in")], shard=shard, heldout_fraction=0), {}, output)
        found.append(pq.read_table(output / "train-00000.parquet")["id"].to_pylist())
    whole, *shares = found
    assert sorted(each for share in shares for each in share) == sorted(whole)
    assert [len(share) for share in shares] == [4, 3, 3]


def test_shards_merged_are_one_run(tmp_path: Path) -> None:
    """Near duplicates are left to the merge, where all documents are seen together."""
    (tmp_path / "in").mkdir()
    rng = random.Random(8)
    words = ["mill", "river", "stone", "wheel", "grain", "water", "flour", "miller"]
    texts = [" ".join(rng.choices(words, k=80)) for _ in range(30)]
    texts += [f"{text} again" for text in texts[:10]] + texts[20:25]
    for number, text in enumerate(texts):
        (tmp_path / "in" / f"{number}.txt").write_text(text)
    settings = {"heldout_fraction": 0.2, "keep_dropped": True}
    run(CollectConfig(sources=[str(tmp_path / "in")], **settings), {}, tmp_path / "one")
    shares = [tmp_path / f"share{number}" for number in range(3)]
    for number, share in enumerate(shares):
        config = CollectConfig(
            sources=[str(tmp_path / "in")], shard=f"{number}/3", near_duplicate_threshold=None, **settings
        )
        run(config, {}, share)
    run(CollectConfig(sources=[str(share) for share in reversed(shares)], **settings), {}, tmp_path / "merged")
    one, merged = (
        {
            split: sorted(
                pq.read_table(tmp_path / name / f"{split}-00000.parquet").to_pylist(), key=lambda row: row["id"]
            )
            for split in ("train", "heldout")
        }
        for name in ("one", "merged")
    )
    assert len(one["train"]) + len(one["heldout"]) == 30
    assert merged == one


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "a/b", "1/"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match="is not i/n"):
        parse(text)
