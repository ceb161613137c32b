"""Sentences with a known language: the translated messages of programs on this machine (gettext's `.mo`).

Nobody chose them for telling languages, they are short and full of names and commands, and a few of them were never
translated: hard, and the same for everybody.
"""

from __future__ import annotations

import gettext
import html
import re
import struct
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

MAX_PER_LANGUAGE = 300
MIN_LETTERS = 30
MIN_LETTERS_UNSPACED = 12
UNSPACED = ("zh", "ja", "th", "km", "lo", "my", "ko")
SAME = {"nb-no": "nb", "no": "nb", "iw": "he", "fil": "tl", "in": "id", "ji": "yi"}
"""What catalogues call a language, and its tag."""

_MARKUP = re.compile(r"<[^>]*>|%\([a-z_A-Z0-9]*\)\d*[a-z]|%[-+ #0-9.]*[a-z]|\{[^}]*\}|\$\{?\w+\}?|https?://\S+|[_&]")


def read(folders: Sequence[Path] = (), *, per_language: int = MAX_PER_LANGUAGE) -> dict[str, list[str]]:
    """Returns texts by language (BCP 47, without country or script), of languages that have at least 30.

    Args:
        folders: where to look; the packages of this Python and the system's `share/locale` when none is given.
        per_language: at most so many, spread over all that there are.
    """
    places = list(folders) or [Path(sysconfig.get_paths()["purelib"]), Path("/usr/share/locale")]
    found: dict[str, dict[str, None]] = {}
    for folder in places:
        for file in sorted(folder.rglob("LC_MESSAGES/*.mo")):
            if tag := _tag(file.parent.parent.name):
                found.setdefault(tag, {}).update(dict.fromkeys(_messages(file, tag)))
    texts = {tag: list(messages) for tag, messages in sorted(found.items()) if len(messages) >= 30}
    return {tag: _spread(messages, per_language) for tag, messages in texts.items()}


def _tag(locale: str) -> str | None:
    name = locale.replace("_", "-").lower()
    if "@" in name or "latn" in name or name.startswith("en"):  # other scripts; and English is what is translated
        return None
    return SAME.get(name) or SAME.get(name.partition("-")[0]) or name.partition("-")[0]


def _messages(file: Path, tag: str) -> Iterator[str]:
    try:
        with file.open("rb") as stream:
            catalogue = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]  # its only way to all messages
    except (OSError, UnicodeError, ValueError, LookupError, struct.error):
        return
    for source, translated in catalogue.items():
        original = source[0] if isinstance(source, tuple) else source
        if not original or not isinstance(translated, str) or translated == original:
            continue
        text = " ".join(html.unescape(_MARKUP.sub(" ", translated)).split())
        letters = sum(character.isalpha() for character in text)
        if letters >= (MIN_LETTERS_UNSPACED if tag in UNSPACED else MIN_LETTERS):
            yield text


def _spread(messages: list[str], count: int) -> list[str]:
    if len(messages) <= count:
        return messages
    return [messages[at * len(messages) // count] for at in range(count)]
