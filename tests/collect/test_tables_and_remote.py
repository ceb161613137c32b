"""CSV, Project Gutenberg, files behind URLs, and the character sets of text that is not Western."""

import functools
import gzip
import http.server
import importlib.util
import json
import re
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_source import expand, only_drop, read

from gristlm.collect import CollectConfig, charset
from gristlm.collect.document import Document, Drop
from gristlm.collect.files.reading import Limits
from gristlm.collect.sources import from_config
from gristlm.errors import InputError

GUTENBERG = """The Project Gutenberg eBook of A Small Book

This ebook is for the use of anyone anywhere in the United States and
most other parts of the world at no cost and with almost no restrictions
whatsoever.

Title: A Small Book
        and a long title

Author: Ann Writer

Release Date: June, 1998 [eBook #1342]

Language: English

*** START OF THE PROJECT GUTENBERG EBOOK A SMALL BOOK ***

Produced by a volunteer

CHAPTER I.

It was a quiet evening.

*** END OF THE PROJECT GUTENBERG EBOOK A SMALL BOOK ***

Section 1. General Terms of Use
"""


def test_a_gutenberg_book_is_the_book_alone(tmp_path):
    (tmp_path / "pg1342.txt").write_text(GUTENBERG, encoding="utf-8-sig")
    (document,), _ = read(tmp_path)
    assert document.text == "CHAPTER I.\n\nIt was a quiet evening.\n"
    assert (document.title, document.licence, document.language) == (
        "A Small Book and a long title", "public-domain", "en"
    )  # fmt: skip
    assert document.metadata["author"] == "Ann Writer"
    assert document.metadata["gutenberg"] == 1342
    (tmp_path / "pg1342.txt").write_text(
        GUTENBERG.replace("This ebook", "This is a COPYRIGHTED Project Gutenberg eBook")
    )
    assert read(tmp_path)[0][0].licence == "LicenseRef-Project-Gutenberg"


def test_rows_of_csv_and_tsv(tmp_path):
    (tmp_path / "a.csv").write_text('headline,text,lic\nA,"one,\n""quoted"" line",MIT\nB,two,x\n')
    (tmp_path / "b.tsv").write_text("text\tlanguage\nthree, four\tde\n")
    limits = Limits(200_000, None, "text", {"title": "headline", "licence": "lic"})
    documents, drops = read(tmp_path, limits)
    assert not drops
    assert [(d.text, d.title, d.licence) for d in documents[:2]] == [
        ('one,\n"quoted" line', "A", "MIT"), ("two", "B", "unknown"),
    ]  # fmt: skip
    assert (documents[2].text, documents[2].language) == ("three, four", "de")


def test_hostile_csv_is_a_drop(tmp_path):
    for name, content, reason in (
        ("quote", b'text\n"' + b"x" * 2_000_000, "damaged file"),
        ("column", b"body\nx\n", "no text column"),
        ("binary", b"\0\1\2" * 100, "binary file"),
        ("empty", b"", "empty"),
    ):
        (tmp_path / f"{name}.csv").write_bytes(content)
        assert only_drop(tmp_path / f"{name}.csv").reason == reason


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Вечером гавань была тиха, и фонари зажигали один за другим, как каждый вечер. "),
        ("koi8_r", "Вечером гавань была тиха, и фонари зажигали один за другим, как каждый вечер. "),
        ("shift_jis", "夕方の港は静かで、灯籠は毎晩のように一つずつ灯されていった。船はもう戻っていた。"),
    ],
)
def test_older_character_sets_are_found(encoding, text):
    pytest.importorskip("charset_normalizer")
    assert charset.decode((text * 8).encode(encoding)).text == text * 8


def test_files_behind_urls(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    rows = "".join(json.dumps({"text": f"row {number}"}) + "\n" for number in range(3)).encode()
    for name, content in (("b.jsonl", rows), ("a.txt", b"first\n")):
        with memory.open(f"/collect-test/{name}", "wb") as file:
            file.write(content)
    try:
        for url in ("memory://collect-test", "memory://collect-test/*"):
            (source,) = from_config(CollectConfig(sources=[url]), tmp_path)
            items = [item for unit in source.units() for item in expand(unit.read())]
            assert [item.text for item in items] == ["first\n", "row 0", "row 1", "row 2"]
            assert items[0].uri == "memory:///collect-test/a.txt"
        (source,) = from_config(CollectConfig(sources=["memory://collect-test/none.txt"]), tmp_path)
        (drop,) = [item for unit in source.units() for item in expand(unit.read())]
        assert drop.reason == "unreadable file"
    finally:
        memory.rm("/collect-test", recursive=True)


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, with ranges, as object stores do."""

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), min(int(asked[2]), len(content) - 1)) if asked else (0, len(content) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(content[first : last + 1])

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    (tmp_path / "served").mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Files, directory=str(tmp_path / "served"))
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_columns_of_files_behind_http_are_mapped(tmp_path, served):
    pytest.importorskip("aiohttp")
    pytest.importorskip("fsspec")
    folder, url = served
    names = {"body": "text", "headline": "title", "link": "uri", "terms": "licence", "lang": "language"}
    rows = [
        {"body": f"Row {n} of it.", "headline": f"T{n}", "link": f"https://e.org/{n}", "terms": "MIT", "lang": "de"}
        for n in range(40)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet", row_group_size=7)
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    columns = {name: column for column, name in names.items() if name != "text"}
    for file in ("rows.parquet", "rows.jsonl.gz"):
        config = CollectConfig(sources=[f"{url}/{file}"], text_column="body", columns=columns)
        (source,) = from_config(config, tmp_path)
        items = [item for unit in source.units() for item in expand(unit.read())]
        assert [(d.text, d.title, d.licence, d.language) for d in items] == [
            (row["body"], row["headline"], "MIT", "de") for row in rows
        ]
        assert items[3].metadata["url"] == "https://e.org/3"
        assert items[3].uri.startswith(f"{url}/{file}#row=")


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/a.jsonl", "s3fs"), ("gs://bucket/a.jsonl", "gcsfs")])
def test_a_protocol_that_lacks_its_package_names_it(tmp_path, url, package):
    pytest.importorskip("fsspec")
    if importlib.util.find_spec(package):
        (source,) = from_config(CollectConfig(sources=[url]), tmp_path)
        assert source.name == "a.jsonl"
        return
    with pytest.raises(InputError, match=package):
        from_config(CollectConfig(sources=[url]), tmp_path)


def test_a_data_set_in_a_folder(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text('{"text": "one", "title": "T"}\n{"text": "two", "title": null}\n')
    (source,) = from_config(CollectConfig(sources=[f"hf-dataset:{tmp_path / 'set'}"]), tmp_path)
    items = [item for unit in source.units() for item in expand(unit.read())]
    assert [item.text for item in items if isinstance(item, Document)] == ["one", "two"], items
    config = CollectConfig(
        sources=[f"hf-dataset:{tmp_path / 'set'}@train"], columns={"title": "text"}, text_column="title"
    )
    (source,) = from_config(config, tmp_path)
    items = [item for unit in source.units() for item in expand(unit.read())]
    assert [item.text for item in items if isinstance(item, Document)] == ["T"]
    assert [item.reason for item in items if isinstance(item, Drop)] == ["bad row"]
    (source,) = from_config(CollectConfig(sources=["hf-dataset:nobody/nothing"]), tmp_path)
    (drop,) = [item for unit in source.units() for item in expand(unit.read())]
    assert (drop.reason, drop.fault) == ("unreadable source", True)
