"""WARC, WET and ARC files, and MediaWiki dumps, made here in their real formats."""

import bz2
import dataclasses
import gzip
import io
import re
import tarfile
import tracemalloc

import pytest
from file_source import LIMITS, only_drop, read

PARAGRAPH = (
    "<p>The harbour was quiet, and the lanterns were lit one after the other, as they had been every evening.</p>"
)
PAGE = f"<html lang='en'><title>Harbour</title><article><h1>Harbour</h1>{PARAGRAPH * 5}</article></html>".encode()


def record(uri, body, kind="response", mime="text/html", status="200 OK", extra=""):
    if kind == "response":
        head = f"HTTP/1.1 {status}\r\nContent-Type: {mime}; charset=utf-8\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        body, mime = head.encode() + body, "application/http; msgtype=response"
    top = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\nWARC-Date: 2024-05-01T12:00:00Z\r\n"
        f"WARC-Record-ID: <urn:uuid:{len(uri):032x}>\r\nContent-Type: {mime}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return top.encode() + body + b"\r\n\r\n"


RECORDS = [
    record("https://example.org/one", PAGE),
    record("https://example.org/request", b"GET / HTTP/1.1\r\n\r\n", kind="request", mime="application/http"),
    record("https://example.org/gone", PAGE, status="404 Not Found"),
    record("https://example.org/image", b"\x89PNG", mime="image/png"),
    record("https://example.org/packed", gzip.compress(PAGE), extra="Content-Encoding: gzip\r\n"),
    record("https://example.org/wet", b"Plain text of a page.\nMore.\n", kind="conversion", mime="text/plain"),
]


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "a.warc.zst"])
def test_pages_of_a_warc(tmp_path, name):
    pytest.importorskip("fastwarc")
    content = b"".join(RECORDS)
    if name.endswith("gz"):
        content = b"".join(gzip.compress(one) for one in RECORDS)
    if name.endswith("zst"):
        import pyarrow as pa

        content = pa.Codec("zstd").compress(content, asbytes=True)
    (tmp_path / name).write_bytes(content)
    documents, drops = read(tmp_path / name)
    assert [document.uri.rpartition("/")[2] for document in documents] == ["one", "packed", "wet"]
    assert [drop.reason for drop in drops] == ["status", "media type"]
    assert documents[0].title == "Harbour"
    assert documents[0].text.count("lanterns") == 5
    assert documents[0].text == documents[1].text
    assert documents[0].fetched_at.isoformat() == "2024-05-01T12:00:00+00:00"
    assert documents[0].metadata["archive"] == (tmp_path / name).as_uri()
    assert len({document.id for document in documents}) == 3


def test_a_damaged_warc_costs_what_follows(tmp_path):
    pytest.importorskip("fastwarc")
    packed = b"".join(gzip.compress(one) for one in RECORDS)
    (tmp_path / "a.warc.gz").write_bytes(packed[: len(packed) // 2])
    documents, drops = read(tmp_path / "a.warc.gz")
    assert [document.uri for document in documents] == ["https://example.org/one"]
    assert drops[-1].reason == "damaged file"
    whole = RECORDS[0] + RECORDS[5]
    for cut in range(len(RECORDS[0]) + 1, len(whole) - 4, 7):  # of a record that is cut off, nothing is taken
        (tmp_path / "a.warc").write_bytes(whole[:cut])
        documents, drops = read(tmp_path / "a.warc")
        assert [document.uri for document in documents if document.text] == ["https://example.org/one"]
        assert drops[-1].reason == "damaged file"
    (tmp_path / "b.warc").write_bytes(b"nothing of the kind" * 100)
    assert only_drop(tmp_path / "b.warc").reason in ("no records", "damaged file")


def chunked(body):
    parts = [body[at : at + 100] for at in range(0, len(body), 100)]
    return b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in parts)


def test_codings_of_http_are_undone(tmp_path):
    pytest.importorskip("fastwarc")
    chunks = "Transfer-Encoding: chunked\r\n"
    codings = [
        (PAGE, ""),
        (chunked(PAGE) + b"0\r\n\r\n", chunks),
        (chunked(gzip.compress(PAGE)) + b"0\r\n\r\n", chunks + "Content-Encoding: gzip\r\n"),
        (gzip.compress(gzip.compress(PAGE)), "Content-Encoding: gzip, gzip\r\n"),
        (PAGE, "Content-Encoding: aes128gcm\r\n"),
    ]
    records = [record(f"https://example.org/{at}", body, extra=extra) for at, (body, extra) in enumerate(codings)]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    documents, (drop,) = read(tmp_path / "a.warc")
    assert len(documents) == 4
    assert {document.text for document in documents} == {documents[0].text}
    assert (drop.reason, drop.detail) == ("unknown content encoding", "aes128gcm")


def test_a_warc_in_a_stream_that_cannot_be_wound_back(tmp_path):
    pytest.importorskip("fastwarc")
    for mode, name, content in (
        ("w:gz", "a.tar.gz", b"".join(RECORDS)),
        ("w", "b.tar", gzip.compress(b"".join(RECORDS))),
    ):
        with tarfile.open(tmp_path / name, mode) as archive:
            info = tarfile.TarInfo("pages.warc" + ".gz" * (mode == "w"))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        documents, drops = read(tmp_path / name)
        assert [document.uri.rpartition("/")[2] for document in documents] == ["one", "packed", "wet"]
        assert [drop.reason for drop in drops] == ["status", "media type"]


def test_a_bomb_in_a_warc_is_a_drop(tmp_path):
    pytest.importorskip("fastwarc")
    page = record("https://example.org/inner", gzip.compress(bytes(64 << 20)), extra="Content-Encoding: gzip\r\n")
    outer = gzip.compress(record("https://example.org/outer", bytes(200 << 20)))
    (tmp_path / "inner.warc").write_bytes(page)
    (tmp_path / "outer.warc.gz").write_bytes(outer)
    tracemalloc.start()
    try:
        assert only_drop(tmp_path / "inner.warc").reason == "too large"
        assert {drop.reason for drop in read(tmp_path / "outer.warc.gz")[1]} <= {"too large", "decompression bomb"}
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_what_of_an_archive_is_taken_can_be_said(tmp_path):
    pytest.importorskip("fastwarc")
    (tmp_path / "a.warc").write_bytes(b"".join(RECORDS))

    def taken(**settings):
        documents, drops = read(tmp_path / "a.warc", dataclasses.replace(LIMITS, **settings))
        return [document.uri.rpartition("/")[2] for document in documents], {drop.reason for drop in drops}

    assert taken(statuses=(200, 404)) == (["one", "gone", "packed", "wet"], {"media type"})
    assert taken(mimes=("text/plain",)) == (["wet"], {"status", "media type"})
    assert taken(url_pattern=re.compile("/(one|wet)$")) == (["one", "wet"], {"status", "media type", "url pattern"})


def test_pages_of_an_arc(tmp_path):
    body = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    top = b"1 0 Archive\nURL IP-address Archive-date Content-type Archive-length\n"
    lines = b"filedesc://a.arc 0.0.0.0 20060101000000 text/plain %d\n" % len(top) + top + b"\n"
    lines += b"http://example.org/ 192.0.2.1 20060102030405 text/html %d\n" % len(body) + body + b"\n"
    (tmp_path / "a.arc.gz").write_bytes(gzip.compress(lines))
    (document,), drops = read(tmp_path / "a.arc.gz")
    assert not drops
    assert (document.uri, document.title) == ("http://example.org/", "Harbour")
    assert document.fetched_at.isoformat() == "2006-01-02T03:04:05+00:00"


def dump(*pages, prolog=""):
    site = "<siteinfo><dbname>enwiki</dbname><base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>"
    head = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">{site}'
    return (prolog + head + "".join(pages) + "</mediawiki>").encode()


def wiki(title, text, ns=0, redirect=""):
    sent = f'<redirect title="{redirect}" />' if redirect else ""
    body = text.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f"<page><title>{title}</title><ns>{ns}</ns><id>7</id>{sent}<revision><id>99</id>"
        "<timestamp>2023-02-01T10:00:00Z</timestamp><contributor><username>A</username><id>3</id></contributor>"
        f"<model>wikitext</model><text>{body}</text></revision></page>"
    )


ARTICLE = """{{Infobox|name=Lantern}}
A '''lantern''' is a [[light|source of light]], often [[portable]].<ref>A book.</ref>[[File:L.jpg|thumb|A [[lamp]]]]
== History ==
The first were made of [https://example.org horn].
* One
* Two &amp; three
{| class="wikitable"
| cell
|}
== References ==
{{reflist}}
[[Category:Light]]
"""


def test_articles_of_a_mediawiki_dump(tmp_path):
    pytest.importorskip("mwparserfromhell")
    pages = wiki("Old lantern", ARTICLE), wiki("Lamp", "", redirect="Lantern"), wiki("Talk:X", "hello", ns=1)
    (tmp_path / "enwiki-latest-pages-articles.xml.bz2").write_bytes(bz2.compress(dump(*pages)))
    (document,), drops = read(tmp_path)
    assert [drop.reason for drop in drops] == ["redirect", "other namespace"]
    assert [line for line in document.text.splitlines() if line] == [
        "A lantern is a source of light, often portable.",
        "## History",
        "The first were made of horn.",
        "- One",
        "- Two & three",
    ]
    assert (document.title, document.licence, document.language) == ("Old lantern", "CC-BY-SA-4.0", "en")
    assert document.uri == "https://en.wikipedia.org/wiki/Old_lantern"
    assert document.metadata == {"page": "7", "revision": "99"}
    assert document.fetched_at.isoformat() == "2023-02-01T10:00:00+00:00"


def test_hostile_dumps_are_drops(tmp_path):
    pytest.importorskip("mwparserfromhell")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    for name, content, reason in (
        ("entities", dump(wiki("A", "text"), prolog=bomb), "entity expansion"),
        ("long", dump(wiki("A", "x" * 4 * LIMITS.max_document_bytes)), "too large"),
        ("torn", dump(wiki("A", "text"))[:-20], "damaged file"),
        ("deep", b"<a>" * 100_000, "damaged file"),
        ("other", b"<html></html>", "no pages"),
    ):
        path = tmp_path / f"{name}-pages-articles.xml"
        path.write_bytes(content)
        _, drops = read(path)
        assert [drop.reason for drop in drops] == [reason], name


@pytest.mark.parametrize("length", [b"999999999999999", b"1", b"-5", b"x"])
def test_a_warc_whose_lengths_lie_costs_what_follows_in_bounded_memory(tmp_path, length):
    pytest.importorskip("fastwarc")
    first, second = RECORDS[0], RECORDS[4]
    at = second.index(b"Content-Length: ") + 16
    (tmp_path / "a.warc").write_bytes(first + second[:at] + length + second[second.index(b"\r\n", at) :])
    tracemalloc.start()
    try:
        documents, _ = read(tmp_path / "a.warc")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert documents[0].uri == "https://example.org/one"
