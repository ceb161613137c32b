"""A good file of each kind, torn and flipped in a hundred ways: always documents and counted drops, never an exception.

Where a format says how long it is, a file that was cut off never passes for a shorter whole one.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_source import LIMITS, read

PROSE = "The keeper of the lighthouse walked {0} miles to the harbour at dawn, and counted {1} boats.\n"
PAGE = "<html><head><title>Page {0}</title></head><body><main><h1>Page {0}</h1><p>{1}</p></main></body></html>"


def text(number: int = 0) -> str:
    return "".join(PROSE.format(number * 31 + line, line) for line in range(12))


def rows() -> bytes:
    return "".join(json.dumps({"text": text(number), "title": f"T{number}"}) + "\n" for number in range(8)).encode()


def zipped(*members: tuple[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 1, 12, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for number in range(6):
            info, content = tarfile.TarInfo(f"m{number}.txt"), text(number).encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def parquet() -> bytes:
    buffer = io.BytesIO()
    table = pa.table({"text": [text(number) for number in range(40)], "n": list(range(40))})
    pq.write_table(table, buffer, row_group_size=9, compression="zstd")
    return buffer.getvalue()


def epub() -> bytes:
    container = '<container xmlns="urn:c"><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>'
    items = "".join(f'<item id="p{n}" href="p{n}.xhtml"/>' for n in range(4))
    spine = "".join(f'<itemref idref="p{n}"/>' for n in range(4))
    opf = f'<package xmlns="urn:o"><manifest>{items}</manifest><spine>{spine}</spine></package>'
    pages = [(f"p{number}.xhtml", PAGE.format(number, text(number))) for number in range(4)]
    return zipped(("META-INF/container.xml", container), ("b.opf", opf), *pages)


def docx() -> bytes:
    word = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    body = "".join(f"<w:p><w:r><w:t>{text(number)}</w:t></w:r></w:p>" for number in range(4))
    return zipped(
        ("_rels/.rels", f'<a><Relationship Type="{relation}" Target="word/document.xml"/></a>'),
        ("word/document.xml", f'<w:document xmlns:w="{word}"><w:body>{body}</w:body></w:document>'),
    )


def pdf() -> bytes:
    content = f"BT /F1 12 Tf 72 720 Td ({text()[:200]}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]  # fmt: skip
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets)
    return bytes(out) + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start


def warc() -> bytes:
    records = []
    for number in range(6):
        body = PAGE.format(number, text(number)).encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        head = (
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-05-01T12:00:00Z\r\n"
            f"WARC-Record-ID: <urn:uuid:{number:032d}>\r\nWARC-Target-URI: https://example.org/{number}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
        )
        records.append(head.encode() + http + b"\r\n\r\n")
    return b"".join(records)


def arc() -> bytes:
    body = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE.format(1, text(1)).encode()
    return b"".join(
        b"http://example.org/%d 192.0.2.1 20060102030405 text/html %d\n" % (number, len(body)) + body + b"\n"
        for number in range(4)
    )


def dump() -> bytes:
    pages = "".join(
        f"<page><title>A{number}</title><ns>0</ns><id>{number}</id><revision><id>9</id><timestamp>2023-02-01T10:00:00Z"
        f"</timestamp><text>{text(number)}</text></revision></page>" for number in range(6)
    )  # fmt: skip
    return f"<mediawiki><siteinfo><dbname>x</dbname></siteinfo>{pages}</mediawiki>".encode()


GUTENBERG = (
    "Title: A Book\n\n*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n"
    + text() + "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***\nLicence\n"
)  # fmt: skip
KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a.txt": (lambda: text().encode(), ""),
    "a.html": (lambda: PAGE.format(1, text()).encode(), ""),
    "a.csv": (lambda: ("text,n\n" + "".join(f'"{text(n)}",{n}\n' for n in range(6))).encode(), ""),
    "a.jsonl": (rows, ""),
    "a.jsonl.gz": (lambda: gzip.compress(rows()), ""),
    "a.jsonl.bz2": (lambda: bz2.compress(rows()), ""),
    "a.jsonl.xz": (lambda: lzma.compress(rows()), ""),
    "a.jsonl.zst": (lambda: pa.Codec("zstd").compress(rows(), asbytes=True), ""),
    "a.parquet": (parquet, ""),
    "a.zip": (lambda: zipped(*((f"m{n}.txt", text(n)) for n in range(6))), ""),
    "a.tar": (lambda: tarred("w"), ""),
    "a.tar.gz": (lambda: tarred("w:gz"), ""),
    "a.epub": (epub, ""),
    "a.docx": (docx, ""),
    "a.pdf": (pdf, "pypdfium2"),
    "a.warc": (warc, "fastwarc"),
    "a.warc.gz": (lambda: gzip.compress(warc()), "fastwarc"),
    "a.arc": (arc, ""),
    "x-pages-articles.xml": (dump, "mwparserfromhell"),
    "x-pages-articles.xml.bz2": (lambda: bz2.compress(dump()), "mwparserfromhell"),
    "pg1.txt": (GUTENBERG.encode, ""),
}


ENDLESS = ("a.txt", "a.html", "a.jsonl", "a.csv", "a.pdf", "a.arc", "pg1.txt")
"""Formats in which a part may be a whole."""


def damaged(content: bytes, chance: random.Random, count: int) -> Iterator[bytes]:
    """Copies of the content: cut off, with bytes changed, cut out, put in, or with its parts in another order."""
    yield b""
    yield content + content[: len(content) // 2]
    for _ in range(count):
        at, other = sorted(chance.randrange(len(content)) for _ in range(2))
        changed = bytearray(content)
        kind = chance.randrange(5)
        if kind == 0:
            yield content[:at]
        elif kind == 1:
            for _ in range(chance.randint(1, 8)):
                changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            yield bytes(changed)
        elif kind == 2:
            yield content[:at] + content[other:]
        elif kind == 3:
            yield content[:at] + chance.randbytes(chance.randint(1, 40)) + content[at:]
        else:
            yield content[other:] + content[:at]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore")  # of the parsers, about what they are given
def test_damage_costs_what_it_hits_and_is_told(tmp_path: Path, name: str) -> None:
    make, needed = KINDS[name]
    if needed:
        pytest.importorskip(needed)
    content = make()
    path = tmp_path / name
    path.write_bytes(content)
    whole, drops = read(path, LIMITS)
    assert whole, drops
    assert not drops
    for at in () if name in ENDLESS else range(1, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:at])
        found, told = read(path, LIMITS)
        assert told or len(found) == len(whole), at
    tracemalloc.start()
    try:
        for broken in damaged(content, random.Random(name), 8 if name == "a.pdf" else 100):
            path.write_bytes(broken)
            found, told = read(path, LIMITS)
            assert found or told
            for document in found:
                document.text.encode("utf-8", "surrogatepass")
            assert all(drop.reason and drop.uri for drop in told)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
