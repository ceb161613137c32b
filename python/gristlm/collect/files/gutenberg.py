"""Books of Project Gutenberg: what the library put around the book, taken off; what it says of the book, kept.

Its files begin with a header of `Title:`, `Author:` and the like, mark the book itself by lines that begin `*** START
OF` and `*** END OF` (since 1994; older ones say `*END*THE SMALL PRINT!`), and end with the library's licence.
"""

from __future__ import annotations

import dataclasses
import re

from gristlm.collect.licences import PROJECT_GUTENBERG

_NAME = r"(?:THE |THIS )?PROJECT GUTENBERG"
_START = re.compile(
    rf"(?im)^[ \t]*\*\*\* ?START OF {_NAME}[^\n]*(?:\n[^\n*]*\*\*\*[ \t]*$)?|^[^\n]*\*END[ *]*THE SMALL PRINT![^\n]*"
)
_END = re.compile(rf"(?im)^[ \t]*(?:\*\*\* ?)?END OF {_NAME}[^\n]*")
_FIELD = re.compile(
    r"(?m)^(Title|Author|Editor|Translator|Illustrator|Language|Release [Dd]ate): +(\S[^\n]*(?:\n {2,}\S[^\n]*)*)"
)
_NUMBER = re.compile(r"\[(?:e-?book|e-?text) ?#?(\d{1,7})\]", re.IGNORECASE)
_PRODUCED = re.compile(
    r"\A\s*(?:e-?text )?(?:produced|prepared|transcribed|credits:)[^\n]*(?:\n\S[^\n]*){0,6}\n", re.IGNORECASE
)
_COPYRIGHTED = re.compile(r"copyrighted project gutenberg|this is a \*?copyrighted\*?", re.IGNORECASE)
_HEADER_CHARACTERS = 30_000
_LANGUAGES = {
    "chinese": "zh", "danish": "da", "dutch": "nl", "english": "en", "esperanto": "eo", "finnish": "fi",
    "french": "fr", "german": "de", "greek": "el", "hungarian": "hu", "italian": "it", "japanese": "ja",
    "latin": "la", "norwegian": "no", "polish": "pl", "portuguese": "pt", "russian": "ru", "spanish": "es",
    "swedish": "sv", "tagalog": "tl", "welsh": "cy",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Book:
    """A book without its header and footer."""

    text: str
    title: str
    language: str
    """BCP 47; "" where the header names none, or one that is not in the short list here."""
    licence: str
    """"public-domain" (in the United States: such books carry no notice of a copyright), or the library's own."""
    metadata: dict[str, object]


def book(text: str) -> Book | None:
    """Returns the book that `text` holds, None where it is no file of Project Gutenberg."""
    start = _START.search(text, 0, _HEADER_CHARACTERS)
    if start is None or "gutenberg" not in text[: start.end()].lower():
        return None
    ends = list(_END.finditer(text, start.end()))
    header = text[: start.start()]
    body = text[start.end() : ends[0].start() if ends else len(text)].strip("\n *")
    body = _PRODUCED.sub("", body, count=1).strip("\n")
    fields = {name.lower(): " ".join(value.split()) for name, value in reversed(_FIELD.findall(header))}
    number = _NUMBER.search(header)
    about: dict[str, object] = {
        key: fields[key] for key in ("author", "editor", "translator", "illustrator") if key in fields
    }
    if number:
        about["gutenberg"] = int(number[1])
    released = re.sub(r"\s*\[.*", "", fields.get("release date", ""))
    if released:
        about["date"] = released
    licence = PROJECT_GUTENBERG if _COPYRIGHTED.search(header + body[:2000]) else "public-domain"
    language = _LANGUAGES.get(fields.get("language", "").lower(), "")
    return Book(body + "\n", fields.get("title", ""), language, licence, about)
