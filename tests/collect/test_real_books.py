"""Real EPUBs and PDFs, where this machine has some: what the same book says as plain text is in what is read of it.

Debian's documentation has books in several formats side by side (the packages `debian-policy`, `developers-reference`,
`debmake-doc`, `debian-faq`): `policy.epub`, `policy.pdf.gz` and `policy.txt.gz`. They are looked for in the folders of
/usr/share/doc and anywhere under `GRISTLM_TEST_BOOKS`, a folder.
"""

import gzip
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from file_source import read

from gristlm.collect.files.reading import Limits

pytestmark = pytest.mark.extras
LIMITS = Limits(max_document_bytes=10_000_000, piece_bytes=None, text_column="text")
NAME = re.compile(r"(.*)\.(epub|pdf|pdf\.gz|txt\.gz)")


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def test_real_books_are_read_whole() -> None:
    pytest.importorskip("pypdfium2")
    files = [*Path("/usr/share/doc").glob("*/*.*")]
    if "GRISTLM_TEST_BOOKS" in os.environ:
        files += Path(os.environ["GRISTLM_TEST_BOOKS"]).rglob("*.*")
    named = {path.name: path for path in sorted(files) if NAME.fullmatch(path.name)}
    plain = {NAME.fullmatch(name)[1]: path for name, path in named.items() if name.endswith(".txt.gz")}
    books = [path for name, path in named.items() if not name.endswith(".txt.gz")]
    if not books:
        pytest.skip("no EPUB or PDF in /usr/share/doc/* or GRISTLM_TEST_BOOKS")
    compared = 0
    for book in books:
        documents, drops = read(book, LIMITS)
        if not documents:
            assert [drop.reason for drop in drops] == ["no text in the pages"], (book, drops)
            continue
        ((document,), stem) = documents, NAME.fullmatch(book.name)[1]
        assert not drops
        assert document.title, book
        assert document.metadata.get("author") or document.metadata.get("pages"), book
        if stem in plain:
            expected = words(gzip.decompress(plain[stem].read_bytes()).decode("utf-8", "replace"))
            assert (words(document.text) & expected).total() > 0.9 * expected.total(), book
            compared += 1
    print(f"{len(books)} books, {compared} of them compared with their plain text")
