"""Shares of a source: together everything, nothing twice."""

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


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "a/b", "1/"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match="is not i/n"):
        parse(text)
