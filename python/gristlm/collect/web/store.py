"""What a crawl knows, in SQLite: the URLs to fetch and fetched, the pages, and each site's robots.txt.

Two files, so that pages can outlive a crawl: `frontier.sqlite` belongs to one crawl; `pages.sqlite` may lie in a cache
that later crawls ask again with conditional requests. A page is committed before its URL is: a crawl that was killed
between the two finds the page, marked with its own name, and does not fetch it again.
"""

from __future__ import annotations

import dataclasses
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

FRONTIER, PAGES = "frontier.sqlite", "pages.sqlite"
_QUEUED, _TAKEN, _DONE = 0, 1, 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS frontier.about(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frontier.urls(
    number INTEGER PRIMARY KEY, url TEXT UNIQUE, authority TEXT, site TEXT, depth INTEGER, redirects INTEGER,
    attempts INTEGER DEFAULT 0, state INTEGER DEFAULT 0, fetched INTEGER DEFAULT 0, reason TEXT DEFAULT '',
    detail TEXT DEFAULT '');
CREATE INDEX IF NOT EXISTS frontier.waiting ON urls(state, authority, depth, number);
CREATE TABLE IF NOT EXISTS frontier.robots(origin TEXT PRIMARY KEY, at REAL, status INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS pages(
    url TEXT PRIMARY KEY, crawl TEXT, at INTEGER, type TEXT, etag TEXT, modified TEXT, licence TEXT, robots TEXT,
    body BLOB);
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Visit:
    """A URL to fetch."""

    url: str
    authority: str
    site: str
    """The authority of the start URL that led here: the name of the document's source."""
    depth: int
    """Links from the start; a redirect counts none."""
    redirects: int
    attempts: int


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """An answer with a body that is kept."""

    url: str
    at: int
    """When it was fetched (or found unchanged), in seconds since 1970."""
    type: str
    """The Content-Type header."""
    etag: str
    modified: str
    """The Last-Modified header, as it came."""
    licence: str
    """A licence link that the HTTP headers name, or ""."""
    robots: str
    """The X-Robots-Tag headers."""
    body: bytes
    crawl: str = ""

    @property
    def charset(self) -> str | None:
        """The character set that the Content-Type names."""
        _, found, name = self.type.lower().partition("charset=")
        return name.split(";")[0].strip(" \"'") or None if found else None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one URL: `reason` is "" for a page that is kept."""

    url: str
    site: str
    reason: str
    detail: str


class Store:
    """The files of one crawl; one process at a time writes them."""

    def __init__(self, directory: Path, cache: Path | None = None) -> None:
        """Opens or makes the store in `directory`, its pages in `cache` where that is given."""
        pages = cache or directory
        for each in (directory, pages):
            each.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(pages / PAGES, timeout=60, isolation_level=None, check_same_thread=False)
        self._db.execute("ATTACH ? AS frontier", (str(directory / FRONTIER),))
        for schema in ("main", "frontier"):
            # Without a sync at each commit, a kill costs nothing and a power cut the last pages.
            self._db.execute(f"PRAGMA {schema}.journal_mode=WAL")
            self._db.execute(f"PRAGMA {schema}.synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self.crawl = self.about("crawl") or secrets.token_hex(8)
        self.tell("crawl", self.crawl)

    def close(self) -> None:
        """Closes the files."""
        self._db.close()

    def about(self, name: str) -> str:
        """Returns a fact about the crawl, "" where it was not told."""
        row = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def tell(self, name: str, value: str) -> None:
        """Notes a fact about the crawl."""
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def resume(self) -> dict[str, int]:
        """Puts back what was being fetched when the crawl was cut off; returns how many URLs wait, per authority."""
        self._db.execute("UPDATE urls SET state = ? WHERE state = ?", (_QUEUED, _TAKEN))
        rows = self._db.execute(
            "SELECT authority, count(*) FROM urls WHERE state = ? GROUP BY 1 ORDER BY 1", (_QUEUED,)
        )
        return {str(authority): int(count) for authority, count in rows}

    def num_fetched(self) -> int:
        """Returns how many URLs were asked for."""
        return int(self._db.execute("SELECT count(*) FROM urls WHERE fetched").fetchone()[0])

    def num_waiting(self) -> int:
        """Returns how many URLs are known and not done."""
        return int(self._db.execute("SELECT count(*) FROM urls WHERE state != ?", (_DONE,)).fetchone()[0])

    def take(self, authority: str) -> Visit | None:
        """Returns the URL of `authority` to fetch next: the least deep, of these the one found first."""
        row = self._db.execute(
            "UPDATE urls SET state = ?, attempts = attempts + 1 WHERE number = (SELECT number FROM urls "
            "WHERE state = ? AND authority = ? ORDER BY depth, number LIMIT 1) "
            "RETURNING url, authority, site, depth, redirects, attempts",
            (_TAKEN, _QUEUED, authority),
        ).fetchone()
        return Visit(*row) if row else None

    def put_back(self, visit: Visit) -> None:
        """Makes a URL wait again, to be tried later."""
        self._db.execute("UPDATE urls SET state = ? WHERE url = ?", (_QUEUED, visit.url))

    def save(self, page: Page) -> None:
        """Keeps a page, as one of this crawl."""
        self._db.execute(
            "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                page.url, self.crawl, page.at, page.type, page.etag, page.modified, page.licence, page.robots,
                zlib.compress(page.body, 1),
            ),
        )  # fmt: skip

    def finish(
        self, visit: Visit, found: Iterable[Visit], *, fetched: bool, reason: str = "", detail: str = ""
    ) -> list[Visit]:
        """Ends the visit of a URL and queues what it led to, at once; returns those that are new."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            new = self.start(found)
            self._db.execute(
                "UPDATE urls SET state = ?, fetched = ?, reason = ?, detail = ? WHERE url = ?",
                (_DONE, fetched, reason, detail[:500], visit.url),
            )
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return new

    def start(self, visits: Iterable[Visit]) -> list[Visit]:
        """Queues URLs; returns those that were not known."""
        return [each for each in visits if self._queue(each)]

    def _queue(self, visit: Visit) -> bool:
        made = self._db.execute(
            "INSERT OR IGNORE INTO urls(url, authority, site, depth, redirects) VALUES (?, ?, ?, ?, ?)",
            (visit.url, visit.authority, visit.site, visit.depth, visit.redirects),
        )
        return made.rowcount > 0

    def page(self, url: str) -> Page | None:
        """Returns a page that was kept, by this crawl or (its `crawl` says so) an earlier one."""
        row = self._db.execute(
            "SELECT url, at, type, etag, modified, licence, robots, body, crawl FROM pages WHERE url = ?", (url,)
        ).fetchone()
        return Page(*[*row[:7], zlib.decompress(row[7]), row[8]]) if row else None

    def robots(self, origin: str, max_age_seconds: float) -> tuple[int, bytes] | None:
        """Returns status and body of a robots.txt that is not too old."""
        row = self._db.execute("SELECT status, body, at FROM robots WHERE origin = ?", (origin,)).fetchone()
        return (int(row[0]), bytes(row[1])) if row and 0 <= time.time() - row[2] < max_age_seconds else None

    def save_robots(self, origin: str, status: int, body: bytes) -> None:
        """Keeps the answer to a request for robots.txt."""
        self._db.execute("INSERT OR REPLACE INTO robots VALUES (?, ?, ?, ?)", (origin, time.time(), status, body))

    def outcomes(self) -> Iterator[Outcome]:
        """Yields what became of every URL that was visited, by site and URL."""
        rows = self._db.execute(
            "SELECT url, site, reason, detail FROM urls WHERE state = ? ORDER BY site, url", (_DONE,)
        )
        for row in rows:
            yield Outcome(*row)
