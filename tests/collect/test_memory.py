"""Memory stays bounded however long the input is: the most that a process of its own ever held (`VmHWM`).

(`ru_maxrss` would not do: the kernel hands it on from the process that was forked, here pytest.)
"""

import json
import os
import random
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from file_source import read

from gristlm.collect.files.reading import Limits

pytestmark = pytest.mark.extras
COLLECT = """
import json, sys
from pathlib import Path
from gristlm.collect import CollectConfig, run

run(CollectConfig(sources=[sys.argv[1]], **json.loads(sys.argv[3])), {}, Path(sys.argv[2]))
print(next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def stream(path: Path, size: int) -> int:
    """Writes JSON Lines of about `size` bytes, packed; returns the number of rows, no two of which are alike."""
    chance = random.Random(7)
    vocabulary = ["".join(chance.choices("etaoinshrdlucmfw", k=chance.randint(2, 9))) for _ in range(20_000)]
    pool = " ".join(chance.choices(vocabulary, k=1_000_000))
    part, written, number = 1600, 0, 0
    with pa.output_stream(str(path), compression="zstd") as sink:
        while written < size:
            lines = []
            for _ in range(200):
                parts = (pool[at : at + part] for at in (int(chance.random() * (len(pool) - part)) for _ in range(3)))
                lines.append(f'{{"id": "{number}", "language": "en", "text": "{" ".join(parts)}"}}\n')
                number += 1
            block = "".join(lines).encode()
            sink.write(block)
            written += len(block)
    return number


def collect(source: Path, output: Path, **settings: object) -> int:
    """Returns the most memory, in bytes, that a process which collects `source` ever held."""
    command = [sys.executable, "-c", COLLECT, str(source), str(output), json.dumps(settings)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_stream_is_never_held(tmp_path: Path) -> None:
    rows = stream(tmp_path / "rows.jsonl.zst", 500_000_000)
    most = collect(tmp_path / "rows.jsonl.zst", tmp_path / "out", memory="64MB", shard_bytes=16_000_000)
    kept = json.loads((tmp_path / "out/report.json").read_text())["total"]["kept"]
    assert kept["documents"] > 0.99 * rows
    assert most < kept["bytes"]


def short_rows(path: Path, size: int) -> int:
    """Writes Parquet of `size` bytes of text in 83-word rows, every tenth nearly the one before; returns how many."""
    rng, count = np.random.default_rng(0), 100_000
    ends = pa.py_buffer(np.arange(count + 1, dtype=np.int64) * 498)
    with pq.ParquetWriter(path, pa.schema({"text": pa.large_string()}), compression="zstd") as writer:
        for _ in range(size // (498 * count)):
            letters = rng.integers(97, 123, (count, 83, 6), dtype=np.uint8)
            letters[:, :, 5] = ord(" ")
            letters[9::10] = letters[8::10]
            letters[9::10, 40, :5] = ord("a")
            texts = pa.LargeStringArray.from_buffers(count, ends, pa.py_buffer(letters))
            writer.write_table(pa.table({"text": texts}))
    return size // (498 * count) * count


@pytest.mark.skipif("GRISTLM_TEST_LARGE" not in os.environ, reason="writes 5 GB: set GRISTLM_TEST_LARGE=1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "write"), [("rows.jsonl.zst", stream), ("rows.parquet", short_rows)])
def test_five_gigabytes_take_less_than_one(tmp_path: Path, name: str, write: Callable[[Path, int], int]) -> None:
    rows = write(tmp_path / name, 5_000_000_000)
    most = collect(tmp_path / name, tmp_path / "out")
    kept = json.loads((tmp_path / "out/report.json").read_text())["total"]["kept"]["documents"]
    print(f"{rows:,} rows, {kept:,} kept, at most {most / 1e6:,.0f} MB")
    assert kept > 0.89 * rows
    assert most < 1_000_000_000


def test_there_may_be_more_parts_than_files_may_be_open(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "Row {n} is the {n * 7919}th."}}\n' for n in range(240)))
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))\n"
    small = "from gristlm.collect import batch; batch.MAX_BATCH_ITEMS = 4\n"
    for name, limits in (("few", few + small), ("many", "")):
        command = [sys.executable, "-c", limits + COLLECT, str(tmp_path / "rows.jsonl"), str(tmp_path / name), "{}"]
        subprocess.run(command, check=True, capture_output=True)
    files = [sorted((tmp_path / name).glob("*.parquet")) for name in ("few", "many")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_a_line_of_a_gigabyte_costs_itself(tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("wb") as file:
        file.write(b'{"text": "It stands before."}\n{"text": "')
        file.seek(1 << 30)  # a hole: zeros that take no room on the disk
        file.write(b'"}\n{"text": "It stands behind."}\n')
    most = collect(tmp_path / "rows.jsonl", tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["total"]["kept"]["documents"] == 2
    assert report["total"]["dropped"]["too large"]["documents"] == 1
    assert "rows.jsonl:2: a line of 1,073,7" in report["examples"]["too large"][0]["detail"]
    assert most < 1 << 28


def test_of_a_word_file_only_the_text_is_held(tmp_path: Path) -> None:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    with zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("_rels/.rels", f'<a><Relationship Type="{relation}" Target="word/document.xml"/></a>')
        with archive.open("word/media/image1.png", "w", force_zip64=True) as picture:
            for _ in range(64):
                picture.write(bytes(1 << 20))
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            part.write(f'<w:document xmlns:w="{word}"><w:body>'.encode())
            for _ in range(16):
                part.write(b"<w:p><w:pPr><w:b/><w:i/><w:u/></w:pPr></w:p>" * 10_000)
            part.write(b"<w:p><w:r><w:t>The end.</w:t></w:r></w:p></w:body></w:document>")
    tracemalloc.start()
    try:
        (document,), drops = read(tmp_path / "a.docx", Limits(1_000_000, None, "text"))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert (document.text, drops) == ("The end.", [])
