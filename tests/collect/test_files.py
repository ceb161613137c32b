"""Local files and folders: every format, and everything that can be wrong with a file."""

import gzip
import io
import os
import socket
import zipfile

import pytest
from file_source import LIMITS, only_drop, read

from gristlm.collect.files import FileSource
from gristlm.collect.files.formats import kind, programming_language
from gristlm.collect.files.reading import Limits
from gristlm.errors import InputError

PARAGRAPH = "The quick brown fox jumps over the lazy dog, and then it rests in the warm sun for a while. "


def test_names_tell_formats_and_languages():
    assert [kind(name) for name in ("a.TXT", "a.md", "a.HTM", "a.jsonl.gz", "a.py", "a", "Makefile", "a.unknown")] == [
        *("text", "markdown", "html", "jsonl", "code", "text", "code", "text")
    ]
    assert [programming_language(name) for name in ("x.py", "x.rs.gz", "Dockerfile", "x.txt", "CMakeLists.txt")] == [
        *("python", "rust", "dockerfile", "", "cmake")
    ]


def test_a_folder_is_read_in_sorted_order_with_title_uri_and_time(tmp_path):
    folder = tmp_path / "notes"
    (folder / "b").mkdir(parents=True)
    (folder / "b/two.md").write_text("---\n# The *second*\n\nText.\n")
    (folder / "a.rst").write_text("Title of it\n===========\n\nText.\n")
    (folder / "c#1.txt").write_text("First line\nand more\n")
    (folder / "d.py").write_text("# SPDX-License-Identifier: MIT\nprint('x')\n")
    for path in folder.rglob("*.*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    documents, drops = read(folder)
    assert not drops
    assert [(d.id, d.title, d.licence, d.language) for d in documents] == [
        ("notes/a.rst", "Title of it", "unknown", ""),
        ("notes/b/two.md", "The *second*", "unknown", ""),
        ("notes/c%231.txt", "First line", "unknown", ""),
        ("notes/d.py", "d.py", "MIT", "zxx"),
    ]
    assert documents[0].uri == (folder / "a.rst").as_uri()
    assert documents[0].fetched_at.isoformat() == "2023-11-14T22:13:20+00:00"
    assert documents[3].metadata["code"] == "python"


def test_the_time_can_be_fixed(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert read(tmp_path)[0][0].fetched_at.isoformat() == "1970-01-01T00:00:00+00:00"


def test_a_single_file_has_its_own_name(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    assert [document.id for document in read(tmp_path / "a.txt")[0]] == ["a.txt"]


def test_what_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        FileSource(tmp_path / "nothing", "nothing", LIMITS)


def test_character_sets_are_found(tmp_path):
    text = "Grüße aus Köln, schöne Grüße\n"
    for name, encoding in (("a.txt", "utf-8"), ("b.txt", "utf-16"), ("c.txt", "latin-1"), ("d.txt", "utf-8-sig")):
        (tmp_path / name).write_text(text, encoding=encoding)
    documents, _ = read(tmp_path)
    assert [document.text for document in documents] == [text] * 4
    assert [d.metadata["charset"] for d in documents] == ["utf-8", "utf-16", "windows-1252", "utf-8-sig"]


def test_long_prose_is_cut_and_code_is_not(tmp_path):
    (tmp_path / "long.txt").write_text((PARAGRAPH + "\n\n") * 100)
    (tmp_path / "long.py").write_text("x = 1\n" * 3000)
    documents, _ = read(tmp_path, Limits(200_000, 4000, "text"))
    assert [document.id for document in documents if document.title == "long.py"] == [f"{tmp_path.name}/long.py"]
    pieces = [document for document in documents if document.title != "long.py"]
    assert pieces[0].id.endswith("/long.txt:1")
    assert pieces[0].metadata["pieces"] == len(pieces) == 3
    assert "".join(piece.text for piece in pieces) == (PARAGRAPH + "\n\n") * 100


# --- pages, books, office files ---


def test_html_gives_its_main_content(tmp_path):
    link = "<a rel=license href='https://creativecommons.org/licenses/by/4.0/'>CC BY</a>"
    main = f"<main><h1>Foxes</h1><p>{PARAGRAPH * 3}</p>{link}</main>"
    (tmp_path / "page.html").write_text(
        f"<html lang=en><head><title>Foxes</title></head><body><nav>Home | About</nav>{main}</body></html>"
    )
    (document,), _ = read(tmp_path / "page.html")
    assert "quick brown fox" in document.text
    assert "Home | About" not in document.text
    assert (document.title, document.licence, document.language) == ("Foxes", "CC-BY-4.0", "en")


def test_hostile_html_is_a_document_or_a_drop(tmp_path):
    (tmp_path / "deep.html").write_text("<div>" * 30_000 + PARAGRAPH * 5)
    (tmp_path / "torn.html").write_bytes(b"<html><p>caf\xe9 \xff\xfe <b><table><tr><" + PARAGRAPH.encode())
    (tmp_path / "none.html").write_text("<html><body><nav>Home</nav></body></html>")
    (tmp_path / "entities.html").write_text("&#0;&#xD800;&#x110000;&bogus;" * 100)
    documents, drops = read(tmp_path)
    assert len(documents) + len(drops) == 4
    for document in documents:
        document.text.encode()


CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>"""
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>
<dc:title>The Book</dc:title><dc:language>en</dc:language><dc:rights>CC0-1.0</dc:rights>
<dc:creator>A. Writer</dc:creator>
</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"""


def epub(path, pages, opf=None, container=True):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        if container:
            archive.writestr("META-INF/container.xml", CONTAINER)
        items = "".join(f'<item id="p{n}" href="p{n}.xhtml"/>' for n in range(len(pages)))
        spine = "".join(f'<itemref idref="p{n}"/>' for n in reversed(range(len(pages))))
        archive.writestr("OEBPS/book.opf", opf or PACKAGE.format(items=items, spine=spine))
        for number, page in enumerate(pages):
            archive.writestr(zipfile.ZipInfo(f"OEBPS/p{number}.xhtml"), page, zipfile.ZIP_DEFLATED)
    return path


def page(words):
    return (
        f"<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>{words}</h1><p>{words} {PARAGRAPH * 4}</p></body></html>"
    )


def test_a_book_is_read_in_its_reading_order(tmp_path):
    (document,), _ = read(epub(tmp_path / "book.epub", [page("Chapter two"), page("Chapter one")]))
    assert document.text.index("Chapter one") < document.text.index("Chapter two")
    assert (document.title, document.licence, document.language) == ("The Book", "CC0-1.0", "en")
    assert document.metadata["author"] == "A. Writer"


def test_hostile_books_are_drops(tmp_path):
    entity = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><package>&b;</package>'
    assert only_drop(epub(tmp_path / "bomb.epub", ["x" * 5_000_000])).reason == "too large"
    assert only_drop(epub(tmp_path / "entities.epub", [], opf=entity)).reason == "entity expansion"
    assert only_drop(epub(tmp_path / "no.epub", [page("x")], container=False)).reason == "damaged file"
    assert only_drop(epub(tmp_path / "xml.epub", [page("x")], opf="<package><")).reason == "damaged file"
    (tmp_path / "torn.epub").write_bytes((tmp_path / "bomb.epub").read_bytes()[:700])
    assert only_drop(tmp_path / "torn.epub").reason == "damaged file"


def pdf(text):
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = io.BytesIO(b"%PDF-1.4\n"), []
    out.seek(0, 2)
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % at for at in offsets))
    out.write(b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def test_pdf(tmp_path):
    pytest.importorskip("pypdfium2")
    (tmp_path / "a.pdf").write_bytes(pdf("Hello from a page"))
    (document,), _ = read(tmp_path / "a.pdf")
    assert document.text == "Hello from a page"
    assert document.title == "a"
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 and nothing of the kind")
    assert only_drop(tmp_path / "b.pdf").reason == "damaged file"
    (tmp_path / "c.pdf").write_bytes(pdf(""))
    assert only_drop(tmp_path / "c.pdf").reason == "no text in the pages"


def test_docx(tmp_path):
    docx = pytest.importorskip("docx")
    document = docx.Document()
    document.core_properties.title = "The Title"
    document.add_paragraph("A paragraph.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "left", "right"
    document.save(str(tmp_path / "a.docx"))
    (found,), _ = read(tmp_path / "a.docx")
    assert found.text == "A paragraph.\n\nleft | right"
    assert found.title == "The Title"
    (tmp_path / "b.docx").write_bytes(b"PK\x03\x04 no zip")
    assert only_drop(tmp_path / "b.docx").reason == "damaged file"
    with zipfile.ZipFile(tmp_path / "c.docx", "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    assert only_drop(tmp_path / "c.docx").reason == "damaged file"


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def word_file(body, target="word/document.xml"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
        archive.writestr(
            "_rels/.rels", f'<Relationships><Relationship Type="{kind}" Target="{target}"/></Relationships>'
        )
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{WORD}" xmlns:mc="http://schemas.openxmlformats.org'
                         f'/markup-compatibility/2006"><w:body>{body}</w:body></w:document>')  # fmt: skip
    return buffer.getvalue()


def run_of(text):
    return f"<w:r><w:t>{text}</w:t></w:r>"


def test_docx_gives_what_a_reader_sees(tmp_path):
    boxed = f"<w:txbxContent><w:p>{run_of('boxed')}</w:p></w:txbxContent>"
    both = f"<mc:Choice>{boxed}</mc:Choice><mc:Fallback>{boxed}</mc:Fallback>"
    cells = "".join(f"<w:tc><w:p>{run_of(word)}</w:p></w:tc>" for word in ("inner", "cell"))
    nested = f"<w:tbl><w:tr><w:tc><w:p>{run_of('outer')}</w:p><w:tbl><w:tr>{cells}</w:tr></w:tbl></w:tc></w:tr></w:tbl>"
    body = (
        f"<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr>{run_of('One')}<w:r><w:tab/><w:t>tab</w:t><w:br/></w:r>{run_of('line')}"
        f"<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins>{run_of(' added')}</w:ins></w:p><w:p/>"
        f"<w:p><w:hyperlink>{run_of('link')}</w:hyperlink><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        f"<w:p><w:r><mc:AlternateContent>{both}</mc:AlternateContent></w:r></w:p>{nested}"
    )
    (tmp_path / "a.docx").write_bytes(word_file(body))
    (found,), drops = read(tmp_path / "a.docx")
    assert not drops
    assert found.text == "One\ttab\nline added\n\nlink\n\nboxed\n\nouter\ninner | cell"


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("<w:tr/>", "word/document.xml"),
        ("<w:p>" * 1000, "word/document.xml"),
        ("<w:p/>", "word/none.xml"),
        ("<w:p/>", "../../etc/passwd"),
    ],
)
def test_hostile_word_files_are_drops(tmp_path, body, target):
    (tmp_path / "a.docx").write_bytes(word_file(body, target))
    assert only_drop(tmp_path / "a.docx").reason == "damaged file"


def test_a_missing_extra_is_a_drop_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pypdfium2", None)
    (tmp_path / "a.pdf").write_bytes(b"anything")
    drop = only_drop(tmp_path / "a.pdf")
    assert drop.reason == "needs pip install 'gristlm[files]'"
    assert drop.fault
    assert drop.bytes == 8


# --- what is in the way ---


def test_empty_binary_and_huge_files_are_drops(tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "blank.md").write_bytes(b" \n\t\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "huge.txt").write_bytes(b"x" * 200_001)
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"x" * 10_000_000))
    (tmp_path / "torn.txt.gz").write_bytes(gzip.compress(PARAGRAPH.encode() * 50)[:-20])
    (tmp_path / "fake.txt.gz").write_bytes(b"no gzip")
    (tmp_path / "fake.txt.zst").write_bytes(b"no zstd")
    documents, drops = read(tmp_path)
    assert not documents
    assert {drop.uri.rpartition("/")[2]: (drop.reason, drop.fault) for drop in drops} == {
        "empty.txt": ("empty", False),
        "blank.md": ("empty", False),
        "image.png": ("binary file", True),
        "huge.txt": ("too large", True),
        "bomb.txt.gz": ("too large", True),
        "torn.txt.gz": ("damaged file", True),
        "fake.txt.gz": ("damaged file", True),
        "fake.txt.zst": ("damaged file", True),
    }


def test_links_are_followed_and_loops_are_not(tmp_path):
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/a.txt").write_text("text")
    (folder / "sub/up").symlink_to(folder)
    (folder / "sub/zelf").symlink_to(folder / "sub")
    (folder / "twice").symlink_to(folder / "sub")
    (folder / "dead").symlink_to(folder / "nothing")
    (folder / "round").symlink_to(folder / "round")
    documents, drops = read(folder)
    assert [document.id for document in documents] == ["root/sub/a.txt"]
    assert sorted((drop.uri.rpartition("/")[2], drop.reason) for drop in drops) == [
        ("dead", "unreadable file"),
        ("round", "symlink loop"),
        ("twice", "folder already read"),
        ("up", "symlink loop"),
        ("zelf", "symlink loop"),
    ]


def test_hidden_entries_are_left_out_but_counted(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("x")
    (tmp_path / ".env").write_text("secret")
    (tmp_path / "node_modules").mkdir()
    documents, drops = read(tmp_path)
    assert not documents
    assert {drop.reason for drop in drops} == {"hidden file or folder"}
    assert len(drops) == 3


def test_pipes_and_sockets_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.txt"))
        documents, drops = read(tmp_path)
    assert not documents
    assert [drop.reason for drop in drops] == ["not a regular file"] * 2


def test_what_may_not_be_read_is_a_drop(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed/b.txt").write_text("text")
    real_open, real_scandir = type(tmp_path).open, os.scandir

    def refuse(path, *arguments, **options):  # root may read everything, so permissions alone would not test it
        if path.name == "a.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *arguments, **options)

    def refuse_folder(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse_folder)
    documents, drops = read(tmp_path)
    assert not documents
    assert [drop.reason for drop in drops] == ["unreadable file", "unreadable folder"]
    assert "Permission denied" in drops[0].detail


def test_names_that_are_not_unicode_are_told_apart(tmp_path):
    for name in (b"\xff.txt", b"\xfe.txt"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:  # noqa: PTH118, PTH123  # bytes
            file.write(b"text")
    documents, _ = read(tmp_path)
    assert len({document.id for document in documents}) == 2
    for document in documents:
        (document.id + document.uri + document.title).encode()
