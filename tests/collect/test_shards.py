"""Parquet files written as rows come: the same whatever the pieces, one row group held, whole or absent."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.collect import CollectConfig, shards
from gristlm.collect.shards import Shards

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string())])


def table(sizes: list[int]) -> pa.Table:
    rows = [{"id": str(number), "text": chr(97 + number % 26) * size} for number, size in enumerate(sizes)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write(folder: Path, rows: pa.Table, step: int, **settings: int) -> dict[str, bytes]:
    folder.mkdir()
    with Shards(folder, "train", CollectConfig(sources=["x"], **settings), SCHEMA, "parquet") as out:
        for start in range(0, len(rows), step):
            out.add(rows.slice(start, step))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "GROUP_ROWS", 10)
    monkeypatch.setattr(shards, "GROUP_BYTES", 2000)
    rows = table([*range(60), 5000, *range(300, 340), 0, 0])
    settings = {"shard_rows": 35, "shard_bytes": 6000}
    whole = write(tmp_path / "whole", rows, 1000, **settings)
    for step in (1, 7, 13):
        assert write(tmp_path / str(step), rows, step, **settings) == whole
    files = sorted((tmp_path / "whole").iterdir())
    assert pa.concat_tables(map(pq.read_table, files)).equals(rows)
    for file in files:
        with pq.ParquetFile(file) as opened:
            groups = [opened.read_row_group(number) for number in range(opened.num_row_groups)]
        lengths = [[len(text) for text in group["text"].to_pylist()] for group in groups]
        assert sum(map(len, lengths)) <= 35
        assert sum(map(sum, lengths)) <= 6000
        assert all(len(group) <= 10 and (sum(group) <= 2000 or len(group) == 1) for group in lengths)


def test_there_is_always_a_first(tmp_path: Path) -> None:
    assert list(write(tmp_path / "none", table([]), 1)) == ["train-00000.parquet"]
    assert pq.read_table(tmp_path / "none/train-00000.parquet").schema.equals(SCHEMA)
    assert list(write(tmp_path / "one", table([3]), 1)) == ["train-00000.parquet"]


def test_what_was_being_written_is_gone_on_an_error(tmp_path: Path) -> None:
    out = Shards(tmp_path, "train", CollectConfig(sources=["x"], shard_rows=10), SCHEMA, "parquet")
    out.add(table([5] * 30))
    with pytest.raises(KeyError), out:
        out.add(pa.table({"id": ["no text"]}))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train-00000.parquet", "train-00001.parquet"]
