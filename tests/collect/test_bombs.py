"""Small files that would become huge: each is a counted drop with its reason, and memory stays bounded."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib

import pytest
from file_source import only_drop, read

from gristlm.collect.files import zip_directory
from gristlm.collect.files.reading import Limits

LIMITS = Limits(max_document_bytes=1_000_000, piece_bytes=None, text_column="text")
LAUGHS = '<!DOCTYPE x [<!ENTITY a "' + "ha" * 50 + '">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)
) + "]>"  # fmt: skip
OUTSIDE = '<!DOCTYPE x [<!ENTITY j SYSTEM "file:///etc/passwd">]>'


@pytest.fixture
def bounded():
    """Fails a test that holds more than 32 MiB in Python at one time."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


# --- lines, lists, lies ---


def test_a_line_of_256_mb_costs_itself(tmp_path, bounded):
    line = b'{"text": "' + b"x" * (1 << 20)
    with gzip.open(tmp_path / "a.jsonl.gz", "wb", compresslevel=1) as packed:
        packed.write(b'{"text": "before"}\n{"text": "')
        for number in range(256):
            packed.write(b"%d" % number + bytes(range(32, 34)) + line)
        packed.write(b'"}\n{"text": "after"}\n')
    documents, drops = read(tmp_path / "a.jsonl.gz", LIMITS)
    assert {drop.reason for drop in drops} <= {"too large", "decompression bomb"}
    assert documents[0].text == "before"
    assert len(drops) == 1
    assert drops[0].bytes > 1 << 20 or drops[0].reason == "decompression bomb"


def test_a_zip_of_a_million_names_is_refused_before_they_are_read(tmp_path, monkeypatch, bounded):
    names = 20_000
    monkeypatch.setattr(zip_directory, "MAX_BYTES", names * 46)
    content = zipped(*((f"{number}.txt", b"") for number in range(names)), method=zipfile.ZIP_STORED)
    for name in ("a.zip", "a.epub", "a.docx"):
        if name == "a.docx":
            pytest.importorskip("docx")
        (tmp_path / name).write_bytes(content)
        drop = only_drop(tmp_path / name, LIMITS)
        assert (drop.reason, drop.fault) == ("too large", True)
        assert "directory" in drop.detail


@pytest.mark.parametrize("claimed", [0, 10, 1 << 40])
def test_a_zip_whose_sizes_lie_gives_no_more_than_they_say(tmp_path, claimed, bounded):
    content = bytearray(zipped(("a.txt", b"The harbour was quiet. " * 4000), ("b.txt", b"And the other one.\n")))
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = min(claimed, 0xFFFFFFFE).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    documents, drops = read(tmp_path / "a.zip", LIMITS)
    assert [document.text for document in documents] == ["And the other one.\n"]
    assert {drop.reason for drop in drops} <= {"too large", "damaged file", "empty"}
    assert len(drops) == 1


@pytest.mark.parametrize("claimed", [1 << 33, 10])
def test_a_tar_whose_sizes_lie_costs_what_follows(tmp_path, claimed, bounded):
    info = tarfile.TarInfo("a.jsonl")
    info.size = claimed
    (tmp_path / "a.tar").write_bytes(info.tobuf() + b'{"text": "x"}\n' * 2000)
    documents, drops = read(tmp_path / "a.tar", LIMITS)
    assert len(documents) <= 2000
    assert drops


def test_archives_in_archives_multiply_only_within_bounds(tmp_path, bounded):
    inner = zipped(("rows.jsonl", b'{"text": ""}\n' * 2_000_000))
    for level in range(2):
        inner = zipped(*((f"{level}-{number}.zip", inner) for number in range(3)))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("deep.zip")
        info.size = len(inner)
        archive.addfile(info, io.BytesIO(inner))
    documents, drops = read(tmp_path / "a.tar.gz", LIMITS)
    assert not documents
    assert {drop.reason for drop in drops} == {"nested archive"}


@pytest.mark.parametrize("name", ["../../../tmp/x.txt", "/etc/cron.d/x.txt", "C:\\x.txt", "a/../../x.txt"])
def test_names_that_point_elsewhere_are_only_names(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.zip").write_bytes(zipped((name, b"only text\n")))
    documents, _ = read(tmp_path / "in/a.zip", LIMITS)
    assert len(documents) <= 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "in"]


# --- XML ---


def test_entities_in_wiki_dumps_books_and_office_files_are_not_expanded(tmp_path, bounded):
    page = "<page><title>A</title><ns>0</ns><id>1</id><revision><id>1</id><text>&j;</text></revision></page>"
    for number, bomb in enumerate((LAUGHS, OUTSIDE)):
        (tmp_path / f"{number}-pages-articles.xml").write_text(f"{bomb}<mediawiki>{page}</mediawiki>")
        assert only_drop(tmp_path / f"{number}-pages-articles.xml", LIMITS).reason == "entity expansion"
        container = '<container><r:rootfile xmlns:r="urn:x" full-path="a.opf"/></container>'
        opf = f"{bomb}<package>&j;</package>"
        (tmp_path / f"{number}.epub").write_bytes(zipped(("META-INF/container.xml", container), ("a.opf", opf)))
        assert only_drop(tmp_path / f"{number}.epub", LIMITS).reason == "entity expansion"


@pytest.mark.parametrize("bomb", [LAUGHS, OUTSIDE], ids=["laughs", "outside"])
def test_entities_in_word_files_are_not_expanded(tmp_path, bomb):
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.add_paragraph("A paragraph.")
    made.save(str(tmp_path / "whole.docx"))
    with zipfile.ZipFile(tmp_path / "whole.docx") as source, zipfile.ZipFile(tmp_path / "a.docx", "w") as target:
        for member in source.infolist():
            content = source.read(member)
            if member.filename == "word/document.xml":
                head, mark, rest = content.partition(b"?>")
                content = head + mark + bomb.encode() + rest.replace(b"A paragraph.", b"A &j;paragraph.")
            target.writestr(member, content)
    documents, drops = read(tmp_path / "a.docx", LIMITS)
    assert len(documents) + len(drops) == 1
    assert not any("root:" in document.text or len(document.text) > 1000 for document in documents)


@pytest.mark.parametrize("bomb", [LAUGHS, OUTSIDE], ids=["laughs", "outside"])
def test_entities_in_sitemaps_are_not_expanded(bomb, bounded):
    links = pytest.importorskip("gristlm.collect.web.links")
    body = f"{bomb}<urlset><url><loc>https://e.org/&j;</loc></url><url><loc>https://e.org/b</loc></url></urlset>"
    found = list(links.sitemap(body.encode()))
    assert all(len(each) < 100 and "root:" not in each for each in found)


def test_a_packed_sitemap_bomb_is_cut(monkeypatch):
    links = pytest.importorskip("gristlm.collect.web.links")
    packed = gzip.compress(b"<urlset>" + b" " * (64 << 20))
    monkeypatch.setattr(links, "MAX_SITEMAP_BYTES", 1 << 20)
    tracemalloc.start()
    try:
        assert list(links.sitemap(packed)) == []
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_pages_a_million_elements_deep_end(tmp_path):
    (tmp_path / "deep.html").write_text("<div>" * 1_000_000 + "The harbour was quiet and the boats lay still. " * 20)
    documents, drops = read(tmp_path / "deep.html", Limits(4_000_000, None, "text"))
    assert len(documents) + len(drops) == 1


# --- PDF, in a process of its own ---


def pdf(kids, count, content):
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets))
    out.write(b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def spaces(size):
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(b" " * (1 << 20)) for _ in range(size >> 20)), packer.flush()])


PAGE = zlib.compress(b"BT /F1 12 Tf 72 720 Td (Hello from a page) Tj ET")


def test_a_pdf_of_too_many_pages_is_a_drop(tmp_path):
    pytest.importorskip("pypdfium2")
    (tmp_path / "many.pdf").write_bytes(pdf(b"3 0 R " * 20_001, 20_001, PAGE))
    drop = only_drop(tmp_path / "many.pdf", LIMITS)
    assert (drop.reason, "20,001 pages" in drop.detail) == ("too large", True)
    (tmp_path / "lies.pdf").write_bytes(pdf(b"3 0 R", 2_000_000_000, PAGE))
    documents, drops = read(tmp_path / "lies.pdf", LIMITS)
    assert len(documents) + len(drops) == 1


def test_a_pdf_that_takes_all_memory_or_time_ends_its_own_process(tmp_path, monkeypatch):
    pytest.importorskip("pypdfium2")
    from gristlm.collect.files import pdf as reader

    (tmp_path / "good.pdf").write_bytes(pdf(b"3 0 R", 1, PAGE))
    (tmp_path / "bomb.pdf").write_bytes(pdf(b"3 0 R", 1, spaces(900 << 20)))
    assert read(tmp_path / "good.pdf", LIMITS)[0][0].text == "Hello from a page"
    drop = only_drop(tmp_path / "bomb.pdf", LIMITS)
    assert (drop.reason, drop.fault) == ("decompression bomb", True)
    assert read(tmp_path / "good.pdf", LIMITS)[0][0].text == "Hello from a page"
    assert reader._ended(-24)["reason"] == "timed out"


def test_a_pdf_process_ends_with_the_one_that_asked():
    pytest.importorskip("pypdfium2")
    worker = subprocess.Popen(
        [sys.executable, "-m", "gristlm.collect.files.pdf_pages"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.communicate(json.dumps({"path": "/", "max_pages": 1, "max_bytes": 1}).encode() + b"\n")[0]
    assert worker.returncode == 0
