"""What a page says to crawlers: its links, and whether it may be kept and followed."""

from __future__ import annotations

import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Iterator

from lxml import etree, html

from gristlm.collect.web import urls
from gristlm.collect.web.settings import PRODUCT

MAX_LINKS = 10_000
MAX_SITEMAP_BYTES = 50_000_000  # https://www.sitemaps.org/protocol.html: 50 MB, 50,000 URLs
MAX_SITEMAP_URLS = 50_000
_NAMED = re.compile(r"[A-Za-z_-]+\s*:")


@dataclasses.dataclass(frozen=True)
class Words:
    """The directives for us (https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag)."""

    noindex: bool = False
    nofollow: bool = False

    def __or__(self, other: Words) -> Words:
        return Words(self.noindex or other.noindex, self.nofollow or other.nofollow)


def words(directives: str) -> Words:
    """Returns what a comma-separated list of directives says; `none` is both."""
    found = {part.strip().lower() for part in directives.split(",")}
    return Words(bool(found & {"noindex", "none"}), bool(found & {"nofollow", "none"}))


def header_words(values: str) -> Words:
    """Returns what the X-Robots-Tag headers (one a line) say to every crawler or, by name, to this one."""
    said = Words()
    for value in values.splitlines():
        name = _NAMED.match(value.strip())
        if not name:
            said |= words(value)
        elif name[0].rstrip(": ").lower() == PRODUCT:
            said |= words(value.partition(":")[2])
        elif name[0].rstrip(": ").lower() == "unavailable_after":
            continue
    return said


@dataclasses.dataclass(frozen=True)
class Read:
    """What was read from one page."""

    links: tuple[str, ...] = ()
    """Normal URLs, in the order of the page, each once; without those marked `rel=nofollow`."""
    words: Words = Words()


def read(url: str, body: bytes, charset: str | None) -> Read:
    """Returns the links and the directives of an HTML page at `url`; what cannot be parsed has none."""
    parser = html.HTMLParser(encoding=charset, recover=True, no_network=True, huge_tree=False)
    try:
        tree = html.document_fromstring(body, parser=parser)
    except (etree.LxmlError, ValueError, LookupError, AssertionError):
        if charset is not None:
            return read(url, body, None)
        return Read()
    said, base, found = Words(), url, dict[str, None]()
    for element in tree.iter("meta", "base", "a", "area"):
        if element.tag == "meta":
            if (element.get("name") or "").strip().lower() in ("robots", PRODUCT):
                said |= words(element.get("content") or "")
        elif element.tag == "base":
            base = urls.normal(element.get("href") or "", url) or base
        elif len(found) < MAX_LINKS and "nofollow" not in (element.get("rel") or "").lower().split():
            target = urls.normal(element.get("href") or "", base) if element.get("href") else None
            if target:
                found[target] = None
    return Read(tuple(found), said)


def sitemap(body: bytes) -> Iterator[str]:
    """Yields the locations of a sitemap or a sitemap index (XML, or text with a URL a line; plain or gzip).

    Entities are not expanded, nothing is loaded, and damage ends the list.
    """
    if body[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(body)) as packed:
                body = packed.read(MAX_SITEMAP_BYTES + 1)
        except (OSError, EOFError, zlib.error):
            return
    if len(body) > MAX_SITEMAP_BYTES:
        return
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield from (line.strip() for line in body.decode("utf-8", "replace").splitlines()[:MAX_SITEMAP_URLS])
        return
    count = 0
    events = etree.iterparse(
        io.BytesIO(body), events=("end",), resolve_entities=False, no_network=True, recover=True, huge_tree=False
    )
    try:
        for _, element in events:
            if isinstance(element.tag, str) and element.tag.rpartition("}")[2] == "loc" and count < MAX_SITEMAP_URLS:
                count += 1
                yield (element.text or "").strip()
            element.clear()
    except etree.LxmlError:
        return


def is_sitemap(url: str, body: bytes) -> bool:
    """Returns whether an answer is a sitemap: by its root element, or by a name that says so."""
    head = body[:1000]
    if b"<urlset" in head or b"<sitemapindex" in head:
        return True
    return bool(re.search(r"sitemap[^/]*\.(?:xml|txt)(?:\.gz)?$", url.partition("?")[0], re.IGNORECASE))
