"""CSV, Project Gutenberg, files behind URLs, and the character sets of text that is not Western."""

import json

import pytest
from file_source import expand, only_drop, read

from gristlm.collect import CollectConfig, charset
from gristlm.collect.document import Document
from gristlm.collect.files.reading import Limits
from gristlm.collect.sources import from_config

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


def test_a_data_set_in_a_folder(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text('{"text": "one", "title": "T"}\n{"text": "two", "title": null}\n')
    (source,) = from_config(CollectConfig(sources=[f"hf-dataset:{tmp_path / 'set'}"]), tmp_path)
    items = [item for unit in source.units() for item in expand(unit.read())]
    assert [item.text for item in items if isinstance(item, Document)] == ["one", "two"], items
