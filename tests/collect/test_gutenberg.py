"""Project Gutenberg's headers and footers as they have been written over the years: the book alone is left."""

from pathlib import Path

import pytest
from file_source import read

from gristlm.collect.files.gutenberg import book

BODY = "CHAPTER I\n\nIt was a quiet evening, and the mill stood still.\n\nThe end of it all is told elsewhere."
TODAY = """\ufeffThe Project Gutenberg eBook of A Small Book

This ebook is for the use of anyone anywhere in the United States and
most other parts of the world at no cost and with almost no restrictions
whatsoever. If you are not located in the United States, you
will have to check the laws of the country where you are located
before using this eBook.

Title: A Small Book

Author: Ann Writer

Illustrator: Ida Drawer

Translator: Tom Turner

Release date: June 1, 1998 [eBook #1342]
                Most recently updated: October 29, 2024

Language: French

Credits: Someone and the Online Distributed Proofreading Team

"""
# Where the book begins and ends, by year; each pair is as the library's own files have it.
NAME, PRINT = "PROJECT GUTENBERG", "THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*"
MARKS = {
    "2024": (f"*** START OF THE {NAME} EBOOK A SMALL BOOK ***", f"*** END OF THE {NAME} EBOOK A SMALL BOOK ***"),
    "2006": (
        f"*** START OF THIS {NAME} EBOOK A SMALL BOOK ***",
        "End of the Project Gutenberg EBook of A Small Book, by Ann Writer\n\n"
        f"*** END OF THIS {NAME} EBOOK A SMALL BOOK ***",
    ),
    "two lines": (
        f"*** START OF THIS {NAME} EBOOK A SMALL BOOK; OR,\nTHE MILL ***",
        "End of Project Gutenberg's A Small Book, by Ann Writer",
    ),
    "etext": (f"***START OF THE {NAME} ETEXT OF A SMALL BOOK***", "End of the Project Gutenberg Etext of A Small Book"),
    "joined": (f"***START OF THE {NAME} EBOOK A SMALL BOOK***", f"***END OF THE {NAME} EBOOK A SMALL BOOK***"),
    "1998": (
        f"*This is a Project Gutenberg etext*\n*END {PRINT}",
        "End of The Project Gutenberg Etext of A Small Book",
    ),
    "1993": (
        f"*BEFORE!* YOU READ THIS ETEXT of Project Gutenberg\n*END*{PRINT}",
        "End of this Project Gutenberg Etext",
    ),
}
FOOTER = "\n\nUpdated editions will replace the previous one.\n\nSection 1. General Terms of Use\n"


@pytest.mark.parametrize("year", MARKS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_header_and_footer_go_whatever_the_year(tmp_path: Path, year: str, line_end: str) -> None:
    start, end = MARKS[year]
    whole = f"{TODAY}{start}\n\n\n\n{BODY}\n\n\n{end}{FOOTER}"
    (tmp_path / "pg1342.txt").write_bytes(whole.replace("\n", line_end).encode())
    (document,), drops = read(tmp_path)
    assert not drops
    assert document.text.replace("\r\n", "\n").strip() == BODY
    assert (document.title, document.licence, document.language) == ("A Small Book", "public-domain", "fr")
    about = {"author": "Ann Writer", "illustrator": "Ida Drawer", "translator": "Tom Turner", "gutenberg": 1342}
    assert about.items() <= document.metadata.items()
    assert document.metadata["date"] == "June 1, 1998"


def test_what_only_speaks_of_the_library_is_no_book_of_it() -> None:
    assert book("I read it at Project Gutenberg, and liked it.\n") is None
    assert book("*** START OF THE LANTERN PARADE ***\n\nText.\n") is None
    cut = book(f"{TODAY}{MARKS['2024'][0]}\n\n{BODY}")  # without an end, all that is there
    assert cut is not None
    assert cut.text.strip() == BODY
