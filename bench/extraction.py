"""Main content beside its peers: pages whose source is known, F1 over runs of four words, and pages per CPU second.

`python bench/extraction.py FOLDER`: a folder of `NAME.html` and `NAME.rst` (or `NAME.txt`), the page and the text
that it was made from. The measure is that of the article extraction benchmark (Lopukhin and others): words in runs of
four, of which as many are right as both texts have. Every contender gets the same bytes, in turns, on one thread.
"""

from __future__ import annotations

import argparse
import importlib
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gristlm

ROUNDS = 3
RUN = 4
_WORD = re.compile(r"\w+")
_ROLE = re.compile(r":[\w:+.-]+:`(?:[^`<]*<)?[!~]?([^`>]*)>?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{1,2}")
_NOT_SHOWN = (
    "index|module|currentmodule|highlight|toctree|sectionauthor|moduleauthor|rubric|testsetup|testcleanup|only|include|"
    "literalinclude|tabularcolumns|_[^:]*"
)
_HIDDEN = re.compile(
    rf"^(?P<indent> *)\.\. (?:(?:{_NOT_SHOWN}):|[^:\n]*$).*\n(?:(?P=indent) +.*\n|\s*\n(?=(?P=indent) ))*", re.MULTILINE
)
_VERSIONS = {
    "versionadded": "New in version",
    "versionchanged": "Changed in version",
    "deprecated": "Deprecated since version",
}
_VERSION = re.compile(rf"^( *)\.\. ({'|'.join(_VERSIONS)})::", re.MULTILINE)
_DIRECTIVE = re.compile(r"^ *\.\. [\w:-]+::", re.MULTILINE)
_FIELD = re.compile(r"^\s*(?::(?!\w+:`)[\w -]+:(?!`).*|[=\-~^*\"#'+]{3,}[=\-~^*\"#'+ ]*)$", re.MULTILINE)


def ours(page: bytes) -> str:
    """Returns what `gristlm.extract_text` finds."""
    found = gristlm.extract_text(page)
    return "" if found is None else found.text


def trafilatura(module: Any) -> Callable[[bytes], str]:
    """Returns trafilatura as it is without options."""
    return lambda page: module.extract(page) or ""


def resiliparse(module: Any) -> Callable[[bytes], str]:
    """Returns resiliparse's main content."""
    return lambda page: module.extract_plain_text(page.decode("utf-8", "replace"), main_content=True)


def readability(module: Any) -> Callable[[bytes], str]:
    """Returns readability's summary, its tags taken away."""
    tags = re.compile(r"<[^>]+>")
    return lambda page: tags.sub(" ", module.Document(page.decode("utf-8", "replace")).summary())


PEERS = {
    "trafilatura": ("trafilatura", trafilatura),
    "resiliparse": ("resiliparse.extract.html2text", resiliparse),
    "readability-lxml": ("readability", readability),
}


def truth(source: str) -> str:
    """Returns the words of reStructuredText: without what is not shown, names of directives, fields and roles."""
    said = _VERSION.sub(lambda found: found[1] + _VERSIONS[found[2]], _HIDDEN.sub("", source))
    shown = _DIRECTIVE.sub("", said)
    return _FIELD.sub("", _LINK.sub(r"\1", _ROLE.sub(r"\1", shown)))


def runs(text: str) -> Counter[tuple[str, ...]]:
    """Returns the runs of four words of a text, or the text itself where it has fewer."""
    words = _WORD.findall(text)
    return Counter(tuple(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1)))


def score(found: str, wanted: Counter[tuple[str, ...]]) -> tuple[float, float]:
    """Returns precision and recall of one page."""
    given = runs(found)
    right = (given & wanted).total()
    return right / max(1, given.total()), right / max(1, wanted.total())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="NAME.html and NAME.rst or NAME.txt")
    folder: Path = parser.parse_args().folder
    pages, wanted = [], []
    for page in sorted(folder.glob("*.html")):
        for ending, make in ((".rst", truth), (".txt", str)):
            if (source := page.with_suffix(ending)).is_file():
                pages.append(page.read_bytes())
                wanted.append(runs(make(source.read_text(encoding="utf-8"))))
    contenders: dict[str, Callable[[bytes], str]] = {"gristlm": ours}
    for name, (module, make) in PEERS.items():
        try:
            contenders[name] = make(importlib.import_module(module))
        except ImportError:
            print(f"left out: {name} is not installed")
    spent = dict.fromkeys(contenders, float("inf"))
    found: dict[str, list[str]] = {}
    for _ in range(ROUNDS):
        for name, extract in contenders.items():
            begun = time.process_time()
            found[name] = [extract(page) for page in pages]
            spent[name] = min(spent[name], time.process_time() - begun)
    print(f"{len(pages)} pages, {sum(map(len, pages)) / 1e6:.1f} MB; runs of {RUN} words")
    print(f"{'':18}{'F1':>8}{'precision':>11}{'recall':>8}{'pages per CPU second':>22}")
    for name, texts in found.items():
        scores = [score(text, right) for text, right in zip(texts, wanted, strict=True)]
        precision, recall = (sum(each) / len(scores) for each in zip(*scores, strict=True))
        f1 = 2 * precision * recall / (precision + recall)
        print(f"{name:18}{f1:8.4f}{precision:11.4f}{recall:8.4f}{len(pages) / spent[name]:22.0f}")


if __name__ == "__main__":
    main()
