"""Large files in parts: however they are divided, the parts give together what the whole gives, damage included."""

import dataclasses
import json
import os
import random
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq
from file_source import LIMITS, expand

from gristlm.collect.document import Document, Drop, Unit
from gristlm.collect.files import FileSource, parquet

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def _short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_MOST_ROWS", 16)


def unit(path: Path) -> Unit:
    os.utime(path, (1_700_000_000, 1_700_000_000))
    [found] = FileSource(path, path.name, LIMITS).units()
    return found


def divided(path: Path, size: int) -> tuple[int, list[object]]:
    """How many parts, and what they give."""
    whole = unit(path)
    assert whole.divide is not None
    assert whole.read_part is not None
    parts = whole.divide(size)
    return len(parts), [item for part in parts for item in expand(whole.read_part(part))]


def check(path: Path, most: int) -> list[object]:
    """Checks several divisions against the whole, and returns that."""
    whole = list(expand(unit(path).read()))
    counts = []
    for size in (1, 100, 777, 3000, 20_000):
        count, given = divided(path, size)
        assert given == whole, size
        counts.append(count)
    assert most <= counts[0]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0]
    return whole


def texts(count: int) -> list[str | None]:
    rng = random.Random(5)
    found: list[str | None] = [
        " ".join(f"w{rng.randrange(10**6)}" for _ in range(rng.randrange(40))) for _ in range(count)
    ]
    found[7], found[count // 2] = None, "  \n"
    return found


@pytest.mark.parametrize("group", [500, 64, 90, 17])
@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_in_parts(tmp_path: Path, group: int, dictionary: bool) -> None:
    table = pa.table({"text": texts(500), "title": [f"T{number % 3}" for number in range(500)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=group, compression="zstd", use_dictionary=dictionary)
    whole = check(tmp_path / "a.parquet", 8 if group == 500 else 500 // group)
    assert len(whole) == 500
    assert [item.id for item in whole if isinstance(item, Document)][-1] == "a.parquet:row=500"


def test_a_damaged_group_costs_its_rest(tmp_path: Path) -> None:
    table = pa.table({"text": [text if text and text.strip() else "-" for text in texts(600)]})
    path = tmp_path / "a.parquet"
    pq.write_table(
        table, path, row_group_size=200, compression="zstd", use_dictionary=False, data_page_size=2000,
        write_batch_size=8, write_page_checksum=True,
    )  # fmt: skip
    sound = list(expand(unit(path).read()))
    content, column = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(1).column(0)
    at = column.data_page_offset + column.total_compressed_size // 2
    content[at : at + 64] = bytes(64)
    path.write_bytes(content)
    whole = check(path, 3)
    [index] = [index for index, item in enumerate(whole) if not isinstance(item, Document)]
    drop = whole[index]
    assert isinstance(drop, Drop)
    assert (drop.reason, drop.uri.rpartition("#")[2]) == ("damaged file", f"row={index + 1}")
    assert 200 < index < 400
    assert [*whole[:index], *whole[index + 1 :]] == sound[:index] + sound[400:]


def test_a_row_that_is_not_utf8_costs_itself(tmp_path: Path) -> None:
    words = [f"row {number} of many".encode() for number in range(100)]
    words[41] = b"caf\xe9"
    column = pa.array(words, pa.binary())
    bad = pa.Array.from_buffers(pa.string(), len(column), column.buffers())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet", row_group_size=50)
    whole = check(tmp_path / "a.parquet", 4)
    assert [(index, item.reason) for index, item in enumerate(whole) if not isinstance(item, Document)] == [
        (41, "bad row")
    ]


def test_a_group_that_is_a_bomb_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "FREE_BYTES", 1 << 16)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["x" * 20_000]))
    with pq.ParquetWriter(tmp_path / "a.parquet", pa.schema({"text": long.type}), compression="zstd") as writer:
        for _ in range(2):
            row = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array(["a plain row"]))
            writer.write_table(pa.table({"text": row}))
            writer.write_table(pa.table({"text": long}))
    whole = check(tmp_path / "a.parquet", 4)
    reasons = [item.reason for item in whole if not isinstance(item, Document)]
    assert reasons == ["decompression bomb"] * 2
    assert len([item for item in whole if isinstance(item, Document) and item.text == "a plain row"]) == 600


@pytest.mark.parametrize(
    ("name", "table"), [("no text", {"body": ["x"]}), ("no rows", {"text": pa.array([], pa.string())})]
)
def test_what_gives_no_rows_is_not_divided(tmp_path: Path, name: str, table: dict[str, object]) -> None:
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert divided(tmp_path / "a.parquet", 1) == (0, []), name
    assert len(list(expand(unit(tmp_path / "a.parquet").read()))) == 1


def test_json_lines_in_parts(tmp_path: Path) -> None:
    lines = [json.dumps({"text": text}).encode() for text in texts(300)]
    lines[20:20] = [b"", b"  ", b"no JSON", b'{"text": "' + b"x" * 500_000 + b'"}', b"", b'{"text": "caf\xe9"}']
    for ending in (b"", b"\n", b"\n\n\n"):
        (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines) + ending)
        whole = check(tmp_path / "a.jsonl", 100)
        assert len(whole) == 303
        assert [item.id for item in whole if isinstance(item, Document)][-1] == "a.jsonl:row=306"
    (tmp_path / "b.jsonl").write_bytes(b"")
    assert divided(tmp_path / "b.jsonl", 10) == (0, [])


def test_what_is_packed_is_not_divided(tmp_path: Path) -> None:
    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.gz"), "gzip") as sink:
        sink.write(b'{"text": "a row"}\n' * 1000)
    assert divided(tmp_path / "a.jsonl.gz", 1) == (0, [])


def test_a_file_that_is_being_read_tells_how_far(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": texts(500)}), tmp_path / "a.parquet", row_group_size=250)
    reading = dataclasses.replace(unit(tmp_path / "a.parquet"))
    assert reading.position is not None
    places = [reading.position() for _ in expand(reading.read())]
    assert places == sorted(places)
    assert len(set(places)) > 20
    assert reading.bytes // 2 < places[-1] <= reading.bytes
