"""MediaWiki XML dumps (`…-pages-articles.xml.bz2`; export schema 0.10 and later): articles without markup.

The XML is read by expat as it comes, with every length bounded; wikitext becomes text through mwparserfromhell (the
extra `wiki`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from urllib.parse import quote
from xml.parsers import expat

from gristlm.collect import licences
from gristlm.collect.document import Document, Drop, Entry, Task
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, open_binary
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.wikitext import plain_text

_CHUNK = 1 << 18
_MAX_FIELD = 65_536
# The licence of the text on the Wikimedia Foundation's projects (https://foundation.wikimedia.org/wiki/Policy:Terms_of_Use,
# 7); Wikidata's main namespace, and Wikinews, say otherwise and are not named here.
_WIKIMEDIA = ("wikipedia", "wiktionary", "wikibooks", "wikiquote", "wikisource", "wikiversity", "wikivoyage")
_FIELDS = {
    ("page", "title"): "title",
    ("page", "ns"): "ns",
    ("page", "id"): "page",
    ("revision", "id"): "revision",
    ("revision", "timestamp"): "timestamp",
    ("revision", "model"): "model",
    ("revision", "text"): "text",
    ("siteinfo", "base"): "base",
    ("siteinfo", "dbname"): "dbname",
}


def read(file: File) -> Iterator[Entry]:
    """Yields the articles of a dump: namespace 0, the last revision of each page, no redirects."""
    pages: list[dict[str, str]] = []
    parser = _Dump(file.limits.max_document_bytes * 3, pages.append)
    found = 0
    with open_binary(file) as opened:
        while True:
            content = opened.read(_CHUNK)
            try:
                parser.feed(content)
            except expat.ExpatError as error:
                raise Refusal("damaged file", f"{file.where}: after {found:,} pages: {error}") from error
            for page in pages:
                found += 1
                yield _entry(file, page, parser)
            pages.clear()
            if not content:
                break
    if not found:
        raise Refusal("no pages", f"{file.where} holds no page of a MediaWiki dump", fault=False)


def _entry(file: File, page: dict[str, str], parser: _Dump) -> Entry:
    title = page.get("title", "")
    uri = _address(parser.site, title) or f"{file.uri}#page={page.get('page', '')}"
    text = page.get("text", "")
    if page.get("ns", "0") != "0":
        return Drop(file.source, uri, "other namespace", page["ns"], fault=False)
    if "redirect" in page:
        return Drop(file.source, uri, "redirect", page["redirect"], fault=False)
    if page.get("model", "wikitext") != "wikitext":
        return Drop(file.source, uri, "no wikitext", page["model"], fault=False)
    if "too long" in page:
        return Drop(file.source, uri, "too large", f"more than {parser.max_text:,} characters of wikitext")
    about = {"page": page.get("page", ""), "revision": page.get("revision", "")}
    language, licence = _language(parser.site), _licence(parser.site)

    def task() -> Iterator[Document | Drop]:
        plain = plain_text(text)
        if not plain:
            yield Drop(file.source, uri, "no main content", bytes=len(text), fault=False)
            return
        yield from in_pieces(
            file, plain, title=title, part=f"page={about['page']}", uri=uri, licence=licence, language=language,
            fetched_at=_time(page.get("timestamp", "")), metadata=about,
        )  # fmt: skip

    return Task(task, len(text) + 1)


class _Dump:
    """Pages from the events of the parser. Of each, the last revision counts (dumps give them in order)."""

    def __init__(self, max_text: int, found: Callable[[dict[str, str]], None]) -> None:
        self.site: dict[str, str] = {}
        self.max_text = max_text
        self._found = found
        self._path: list[str] = []
        self._depth = 0
        self._page: dict[str, str] = {}
        self._pieces: list[str] | None = None
        self._length = 0
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity
        self._parser = parser

    def feed(self, content: bytes) -> None:
        """Parses some more; nothing is the end."""
        self._parser.Parse(content, not content)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > 16:
            raise Refusal("damaged file", "elements nested deeper than a dump has them")
        parent = self._path[-1] if self._path else ""
        self._path.append(name)
        if name == "page":
            self._page = {}
        elif name == "revision":
            self._page.pop("too long", None)
        elif name == "redirect" and parent == "page":
            self._page["redirect"] = attributes.get("title", "")[:_MAX_FIELD]
        if (parent, name) in _FIELDS:
            self._pieces, self._length = [], 0

    def _text(self, text: str) -> None:
        if self._pieces is None:
            return
        self._length += len(text)
        if self._length <= (self.max_text if self._path[-1] == "text" else _MAX_FIELD):
            self._pieces.append(text)
        elif self._path[-1] == "text":
            self._page["too long"] = ""
            self._pieces.clear()

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._path.pop()
        field = _FIELDS.get((self._path[-1] if self._path else "", name))
        if field is not None and self._pieces is not None:
            into = self.site if self._path[-1] == "siteinfo" else self._page
            into[field] = "".join(self._pieces)
            self._pieces = None
        if name == "page":
            self._found(self._page)

    def _entity(self, name: str, *_: object) -> None:
        raise Refusal("entity expansion", f"it defines the entity {name!r}")


def _address(site: dict[str, str], title: str) -> str:
    base = site.get("base", "").rpartition("/")[0]
    return f"{base}/{quote(title.replace(' ', '_'), safe='/:(),')}" if base.startswith(("http://", "https://")) else ""


def _host(site: dict[str, str]) -> list[str]:
    return site.get("base", "").partition("://")[2].partition("/")[0].lower().split(".")


def _language(site: dict[str, str]) -> str:
    host = _host(site)
    return host[0] if len(host) == 3 and host[1] in _WIKIMEDIA and host[0] != "simple" else ""


def _licence(site: dict[str, str]) -> str:
    host = _host(site)
    return licences.from_text("CC-BY-SA-4.0") if len(host) == 3 and host[1:] in [[n, "org"] for n in _WIKIMEDIA] else ""


def _time(stamp: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return None
