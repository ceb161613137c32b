"""Main content beside its peers: pages whose source is known, F1 over runs of four words, and pages per CPU second.

`python bench/extraction.py FOLDER`, with a folder of one of these forms:

* `NAME.html` with `NAME.rst` or `NAME.txt`: the page and the text that it was made from;
* `NAME/source.html` and `NAME/expected.html`, as Readability's test pages are laid out: articles and what people
  agreed is their content. Those of fewer than 400 characters test one rule, and are left out;
* `ground-truth.json` and `html/ID.html.gz`, as in the article extraction benchmark.

The measure is that of the article extraction benchmark (Lopukhin and others): words in runs of four, of which as many
are right as both texts have; precision and recall averaged over pages. Every contender gets the same bytes, in turns,
on one thread. Where every page names the element of its content, that element taken whole is a contender too: no
extraction can have much more. `--half 0` or `--half 1` takes the pages whose name hashes to it: rules are made on one
half only.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gristlm

ROUNDS = 3
RUN = 4
_SHORTEST = 400
_SILENT = ("math", "script", "style", "svg")
_INLINE = (
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "mark", "q", "s", "samp",
    "small", "span", "strong", "sub", "sup", "tt", "u", "var",
)  # fmt: skip
_WORD = re.compile(r"\w+")
_ROLE = re.compile(r":[\w:+.-]+:`(?:[^`<]*<)?[!~]?([^`>]*)>?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{1,2}")
_NOT_SHOWN = (
    "index|module|currentmodule|highlight|toctree|sectionauthor|moduleauthor|rubric|testsetup|testcleanup|only|include|"
    "literalinclude|tabularcolumns|_[^:]*"
)
_HIDDEN = re.compile(
    rf"^(?P<indent> *)\.\. (?!\[)(?:(?:{_NOT_SHOWN}):|[^:\n]*$).*\n(?:(?P=indent) +.*\n|\s*\n(?=(?P=indent) ))*",
    re.MULTILINE,
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


def shown(page: bytes) -> str:
    """Returns the text of an expected page."""
    from lxml import html

    return _spaced(html.document_fromstring(page.decode("utf-8")))


def content_element(page: bytes) -> str:
    """Returns the text of `role=main` without tables of contents and marks: what a documentation page shows."""
    from lxml import html

    found = html.document_fromstring(page.decode("utf-8", "replace")).find(".//*[@role='main']")
    if found is None:
        return ""
    for beside in ("toctree-wrapper", "contents", "headerlink"):
        for element in found.find_class(beside):
            element.drop_tree()
    return _spaced(found)


def _spaced(tree: Any) -> str:
    """Returns the text below an element, with a space around every element that is no part of a line."""
    from lxml import etree

    etree.strip_elements(tree, *_SILENT, with_tail=False)
    for element in tree.iter():
        if isinstance(element.tag, str) and element.tag not in _INLINE:
            element.text, element.tail = f" {element.text or ''}", f" {element.tail or ''}"
    return " ".join(str(tree.text_content()).split())


def cases(folder: Path) -> Iterator[tuple[str, bytes, str]]:
    """Yields name, page and true text of each page of the folder."""
    if (truths := folder / "ground-truth.json").is_file():
        for name, told in sorted(json.loads(truths.read_bytes()).items()):
            yield name, gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()), told["articleBody"]
    for page in sorted(folder.glob("*/source.html")):
        text = shown((page.parent / "expected.html").read_bytes())
        if len(text) >= _SHORTEST:
            yield page.parent.name, page.read_bytes(), text
    for page in sorted(folder.glob("*.html")):
        for ending, make in ((".rst", truth), (".txt", str)):
            if (source := page.with_suffix(ending)).is_file():
                yield page.stem, page.read_bytes(), make(source.read_text(encoding="utf-8"))


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
    parser.add_argument("folder", type=Path, help="pages with the text they should give")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only the pages whose name hashes to this half")
    arguments = parser.parse_args()
    pages, wanted = [], []
    for name, page, text in cases(arguments.folder):
        if arguments.half in (None, hashlib.sha256(name.encode()).digest()[0] & 1):
            pages.append(page)
            wanted.append(runs(text))
    if not pages:
        parser.error(f"{arguments.folder} has no pages with their text beside them")
    contenders: dict[str, Callable[[bytes], str]] = {"gristlm": ours}
    for name, (module, make) in PEERS.items():
        try:
            contenders[name] = make(importlib.import_module(module))
        except ImportError:
            print(f"left out: {name} is not installed")
    if all(content_element(page) for page in pages):
        contenders["content element"] = content_element
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
