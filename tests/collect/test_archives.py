"""tar, zip and compressed files: members are files, and bombs are drops."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_source import only_drop, read

from gristlm.collect.files import unpack
from gristlm.collect.files.reading import Limits

LINE = "The harbour was quiet, and the lanterns were lit one after the other.\n"


def zipped(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 1, 12, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(*members, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_700_000_000
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def parquet(*texts):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts)}), buffer)
    return buffer.getvalue()


MEMBERS = (
    ("../../etc/passwd", b"root is only text here\n"),
    ("a.txt", b"one\n"),
    ("a.txt", b"two\n"),
    ("rows.jsonl", b'{"text": "three"}\n{"text": "four"}\n'),
    ("packed.txt.gz", gzip.compress(b"five\n")),
    ("table.parquet", parquet("six", "seven")),
    ("inner.zip", zipped(("deep.tar.xz", tarred(("b.md", b"# Eight\n"), mode="w:xz")))),
)
TEXTS = ["root is only text here\n", "one\n", "two\n", "three", "four", "five\n", "six", "seven", "# Eight\n"]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_are_read_in_order_and_never_written(tmp_path, suffix):
    path = tmp_path / f"books.{suffix}"
    if suffix == "zip":
        path.write_bytes(zipped(*MEMBERS))
    elif suffix == "tar.zst":
        with pa.CompressedOutputStream(str(path), "zstd") as sink:
            sink.write(tarred(*MEMBERS))
    else:
        packing = {"tar": "", "tgz": "gz"}.get(suffix, suffix[4:])
        path.write_bytes(tarred(*MEMBERS, mode=f"w:{packing}"))
    documents, drops = read(path)
    assert not drops
    assert [document.text for document in documents] == TEXTS
    assert len({document.id for document in documents}) == len(documents)
    assert documents[0].uri == f"{path.as_uri()}!/../../etc/passwd"
    assert list(tmp_path.iterdir()) == [path]


def test_archives_nested_too_deep_are_drops(tmp_path):
    inner = zipped(("a.txt", b"text\n"))
    for _ in range(5):
        inner = zipped(("next.zip", inner))
    (tmp_path / "a.zip").write_bytes(inner)
    assert only_drop(tmp_path / "a.zip").reason == "nested archive"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_files_of_several_members_are_one(tmp_path, pack):
    suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
    whole = "".join(json.dumps({"text": LINE * n}) + "\n" for n in range(1, 400)).encode()
    (tmp_path / f"a.jsonl.{suffix}").write_bytes(pack(whole[:100_000]) + pack(b"") + pack(whole[100_000:]))
    documents, drops = read(tmp_path)
    assert (len(documents), drops) == (399, [])
    torn = (tmp_path / f"a.jsonl.{suffix}").read_bytes()[:-100]
    (tmp_path / f"a.jsonl.{suffix}").write_bytes(torn)
    documents, drops = read(tmp_path)
    assert len(documents) < 399
    assert drops[-1].reason == "damaged file"


def bomb(suffix, size):
    zeros = b"\0" * (1 << 20)
    if suffix == "gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="w", compresslevel=6) as packed:
            for _ in range(size >> 20):
                packed.write(zeros)
        return buffer.getvalue()
    packer = bz2.BZ2Compressor(1) if suffix == "bz2" else lzma.LZMACompressor(preset=0)
    return b"".join([*(packer.compress(zeros) for _ in range(size >> 20)), packer.flush()])


@pytest.mark.parametrize(
    "name", ["a.jsonl.gz", "a.jsonl.bz2", "a.jsonl.xz", "a.jsonl.zst", "a.csv.gz", "a.tar.gz", "a.txt.gz"]
)
def test_compressed_bombs_are_drops_in_bounded_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr(unpack, "FREE_BYTES", 4 << 20)
    if name.endswith("zst"):
        with pa.CompressedOutputStream(str(tmp_path / name), "zstd") as sink:
            for _ in range(64):
                sink.write(b"\0" * (1 << 20))
    else:
        (tmp_path / name).write_bytes(bomb(name.rpartition(".")[2], 64 << 20))
    tracemalloc.start()
    try:
        documents, drops = read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert not documents
    assert {drop.reason for drop in drops} <= {
        "decompression bomb",
        "too large",
        "binary file",
        "damaged file",
        "empty",
    }
    assert len(drops) == 1 or name.startswith("a.jsonl")


def test_a_zip_that_unpacks_to_too_much_is_a_drop(tmp_path, monkeypatch):
    from gristlm.collect.files import archives

    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    rows = b'{"text": ""}\n' * 400_000
    (tmp_path / "a.zip").write_bytes(zipped(("a.jsonl", rows)))
    documents, drops = read(tmp_path / "a.zip")
    assert not documents
    assert drops[-1].reason == "decompression bomb"


def test_hostile_headers_are_drops(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    (tmp_path / "long.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"a" * 10_240)
    assert only_drop(tmp_path / "long.tar").reason == "damaged file"
    (tmp_path / "torn.zip").write_bytes(zipped(("a.txt", b"x"))[:-10])
    assert only_drop(tmp_path / "torn.zip").reason == "damaged file"
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    (tmp_path / "link.tar").write_bytes(link.tobuf() + b"\0" * 1024)
    drop = only_drop(tmp_path / "link.tar")
    assert (drop.reason, drop.fault) == ("link or device in an archive", False)


def test_a_parquet_bomb_is_a_drop(tmp_path, monkeypatch):
    from gristlm.collect.files import parquet

    monkeypatch.setattr(parquet, "FREE_BYTES", 1 << 20)
    table = pa.table({"text": ["x" * (8 << 20)]})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    assert only_drop(tmp_path / "a.parquet", Limits(20 << 20, None, "text")).reason == "decompression bomb"


def test_pages_a_million_elements_deep_are_read_or_dropped(tmp_path):
    (tmp_path / "deep.html").write_text("<div>" * 100_000 + LINE * 9 + "</div>" * 10, newline="")
    documents, drops = read(tmp_path, Limits(2_000_000, None, "text"))
    assert len(documents) + len(drops) == 1
