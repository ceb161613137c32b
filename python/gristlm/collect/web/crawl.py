"""The crawl: which URL of which host is asked for next, and what its answer means.

Pure asyncio over a function that fetches; Scrapy's downloader is behind it (`fetch.py`), a plain function in tests.
Hosts are read side by side, each no faster than its delay and with few requests at a time; of one host the least deep
URL comes first.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from urllib.parse import urlsplit

from gristlm.collect.optout import OptOut
from gristlm.collect.web import links, robots, urls
from gristlm.collect.web.settings import PRODUCT, WebConfig
from gristlm.collect.web.store import Page, Store, Visit

MAX_ROBOTS_REDIRECTS = 5  # RFC 9309, 2.3.1.2: at least five
MAX_RETRY_SECONDS = 60.0
_KEPT_TYPES = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown")
_LATER = (429, 503)
TOO_LARGE = "too large"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a request gave; `error` (a reason for dropping) where it gave no answer."""

    status: int = 0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By lower-case name; several of one name are joined by line ends."""
    body: bytes = b""
    error: str = ""
    detail: str = ""


Fetch = Callable[[str, Mapping[str, str]], Awaitable[Answer]]


@dataclasses.dataclass
class _Host:
    waiting: int = 0
    active: int = 0
    ready_at: float = 0.0
    delay: float = 0.0
    concurrency: int = 1
    refused: str = ""


class Crawl:
    """One crawl over one store."""

    def __init__(self, store: Store, config: WebConfig, scope: urls.Scope, opt_out: OptOut, fetch: Fetch) -> None:
        """Goes on from what the store holds; `fetch` never raises for what an answer is."""
        self._store, self._config, self._scope, self._opt_out, self._fetch = store, config, scope, opt_out, fetch
        self._hosts: dict[str, _Host] = {}
        self._robots: dict[str, tuple[float, asyncio.Future[robots.Robots]]] = {}
        self._unreachable: dict[str, Answer] = {}
        self._left = config.max_pages - store.num_fetched()
        self._clock: Callable[[], float] = time.monotonic
        self.num_bytes = 0

    async def run(self) -> None:
        """Visits URLs until none is left or `max_pages` were asked for; time is that of the running loop."""
        self._clock = asyncio.get_running_loop().time
        for authority, count in self._store.resume().items():
            self._host(authority).waiting = count
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                while len(running) < self._config.concurrency and (visit := self._next()):
                    running.add(asyncio.create_task(self._visit(visit)))
                wait = self._soonest()
                if running:
                    timeout = wait if len(running) < self._config.concurrency else None
                    done, running = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                elif wait is None:
                    return
                else:
                    await asyncio.sleep(wait)
        finally:
            for task in running:
                task.cancel()

    def _host(self, authority: str) -> _Host:
        config = self._config
        return self._hosts.setdefault(
            authority, _Host(delay=config.delay_seconds, concurrency=config.concurrency_per_host)
        )

    def _ready(self) -> Iterator[tuple[str, _Host]]:
        return ((name, host) for name, host in self._hosts.items() if host.waiting and host.active < host.concurrency)

    def _next(self) -> Visit | None:
        if self._left <= 0:
            return None
        now = self._clock()
        for name, host in self._ready():
            if host.ready_at <= now:
                visit = self._store.take(name)
                if visit is None:
                    host.waiting = 0
                    continue
                # A host that was just read goes to the end of the row.
                self._hosts[name] = self._hosts.pop(name)
                host.waiting, host.active = host.waiting - 1, host.active + 1
                host.ready_at = now + host.delay
                self._left -= 1
                return visit
        return None

    def _soonest(self) -> float | None:
        """Seconds until a host may be asked; None where none waits."""
        if self._left <= 0:
            return None
        now = self._clock()
        return min((max(0.005, host.ready_at - now) for _, host in self._ready()), default=None)

    async def _visit(self, visit: Visit) -> None:
        host = self._host(visit.authority)
        try:
            if refused := self._refused(visit.url):
                self._end(visit, refused, fetched=False)
                return
            rules = await self._rules(urls.origin(visit.url), host)
            if failed := self._unreachable.get(urls.origin(visit.url)):
                self._end(visit, failed.error, failed.detail, fetched=False)
            elif host.refused:
                self._end(visit, "crawl delay too long", host.refused, fetched=False)
            elif not rules.allows(visit.url):
                self._end(visit, "robots.txt disallows", fetched=False)
            else:
                await self._get(visit, host)
        finally:
            host.active -= 1

    def _refused(self, url: str) -> str:
        if self._opt_out.covers_url(url):
            return "opted out"
        return "endless path" if urls.is_trap(url) else ""

    async def _get(self, visit: Visit, host: _Host) -> None:
        known = self._store.page(visit.url)
        if known and known.crawl == self._store.crawl:
            self._read(visit, known)
            return
        headers = {}
        if known and known.etag:
            headers["If-None-Match"] = known.etag
        if known and known.modified:
            headers["If-Modified-Since"] = known.modified
        answer = await self._fetch(visit.url, headers)
        self.num_bytes += len(answer.body)
        if answer.status == 304 and known:
            page = dataclasses.replace(known, at=_now())
            self._store.save(page)
            self._read(visit, page)
        elif answer.error:
            self._end(visit, answer.error, answer.detail)
        elif answer.status in _LATER and visit.attempts <= self._config.retries:
            host.ready_at = self._clock() + _retry_seconds(answer.headers.get("retry-after", ""), visit.attempts)
            self._store.put_back(visit)
            host.waiting, self._left = host.waiting + 1, self._left + 1
        elif 300 <= answer.status < 400 and answer.headers.get("location"):
            self._redirect(visit, answer.headers["location"])
        elif answer.status != 200:
            self._end(visit, f"http {answer.status}")
        else:
            self._keep(visit, answer)

    def _redirect(self, visit: Visit, location: str) -> None:
        target = urls.normal(location, visit.url)
        if target is None:
            self._end(visit, "redirect to no web address", location)
        elif not self._scope.covers(target):
            self._end(visit, "redirect to another site", target)
        elif visit.redirects >= self._config.max_redirects or target == visit.url:
            self._end(visit, "too many redirects", target)
        else:
            to = dataclasses.replace(
                visit, url=target, authority=urls.authority(target), redirects=visit.redirects + 1, attempts=0
            )
            self._end(visit, "redirect", target, found=[to])

    def _keep(self, visit: Visit, answer: Answer) -> None:
        headers = answer.headers
        page = Page(
            visit.url, _now(), headers.get("content-type", ""), headers.get("etag", ""),
            headers.get("last-modified", ""), _licence(headers.get("link", "")), headers.get("x-robots-tag", ""),
            answer.body,
        )  # fmt: skip
        if links.is_sitemap(visit.url, answer.body):
            self._read(visit, page)
            return
        kind = page.type.partition(";")[0].strip().lower()
        if kind not in _KEPT_TYPES and kind:
            self._end(visit, "not a page of text", kind)
        else:
            self._store.save(page)
            self._read(visit, page)

    def _read(self, visit: Visit, page: Page) -> None:
        """Ends the visit of a page that came, with what it leads to."""
        if links.is_sitemap(page.url, page.body):
            listed = (urls.normal(location, page.url) for location in links.sitemap(page.body))
            self._end(visit, "sitemap", found=self._new(visit, (url for url in listed if url)))
            return
        said = links.header_words(page.robots)
        found: list[Visit] = []
        if not page.type.startswith("text/") or page.type.startswith("text/html"):
            read = links.read(page.url, page.body, page.charset)
            said |= read.words
            if not said.nofollow and visit.depth < self._config.max_depth:
                found = self._new(visit, iter(read.links))
        self._end(visit, "noindex" if said.noindex else "", found=found)

    def _new(self, visit: Visit, targets: Iterator[str]) -> list[Visit]:
        covered = (target for target in targets if self._scope.covers(target))
        return [Visit(url, urls.authority(url), visit.site, visit.depth + 1, 0, 0) for url in covered]

    def _end(
        self, visit: Visit, reason: str, detail: str = "", *, found: list[Visit] | None = None, fetched: bool = True
    ) -> None:
        if not fetched:
            self._left += 1
        for new in self._store.finish(visit, found or (), fetched=fetched, reason=reason, detail=detail):
            self._host(new.authority).waiting += 1

    async def _rules(self, origin: str, host: _Host) -> robots.Robots:
        """Returns the rules of an origin, fetched once a day; its delay and its sitemaps take effect on the way."""
        at, future = self._robots.get(origin, (0.0, None))
        if future is None or (future.done() and self._clock() - at > robots.MAX_AGE_SECONDS):
            future = asyncio.get_running_loop().create_future()
            self._robots[origin] = (self._clock(), future)
            try:
                rules = await self._robots_of(origin)
                self._obey(rules, origin, host)
                future.set_result(rules)
            except BaseException as error:
                future.set_exception(error)
                raise
        return await future

    async def _robots_of(self, origin: str) -> robots.Robots:
        stored = self._store.robots(origin, robots.MAX_AGE_SECONDS)
        if stored is None:
            url: str | None = f"{origin}/robots.txt"
            answer = Answer()
            for _ in range(MAX_ROBOTS_REDIRECTS + 1):
                answer = await self._fetch(url or "", {})
                if not 300 <= answer.status < 400 or not answer.headers.get("location"):
                    break
                url = urls.normal(answer.headers["location"], url or "")
                if url is None:
                    break
            if answer.error and answer.error != TOO_LARGE:
                self._unreachable[origin] = answer
                return robots.NOTHING_ALLOWED
            stored = (answer.status, answer.body[: robots.MAX_BYTES])
            self._store.save_robots(origin, *stored)
        return robots.from_answer(*stored, PRODUCT)

    def _obey(self, rules: robots.Robots, origin: str, host: _Host) -> None:
        if rules.delay_seconds > self._config.max_crawl_delay_seconds:
            host.refused = f"{rules.delay_seconds:g} s; at most {self._config.max_crawl_delay_seconds:g} s"
        elif rules.delay_seconds > host.delay:
            host.delay, host.concurrency = rules.delay_seconds, 1
            host.ready_at = self._clock() + host.delay
        if self._config.sitemaps:
            named = [urls.normal(each, origin) for each in rules.sitemaps]
            site = urlsplit(origin).netloc
            maps = [Visit(url, urls.authority(url), site, 0, 0, 0) for url in named if url and self._scope.covers(url)]
            for each in self._store.start(maps):
                self._host(each.authority).waiting += 1


def _now() -> int:
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(fixed) if fixed.isdecimal() else int(time.time())


def _retry_seconds(value: str, attempts: int) -> float:
    return min(float(value) if value.isdecimal() else 2.0**attempts, MAX_RETRY_SECONDS)


def _licence(link: str) -> str:
    """Returns the target of a `Link: <…>; rel=license` header."""
    for part in link.replace("\n", ",").split(","):
        target, _, parameters = part.strip().partition(">")
        if target.startswith("<") and "license" in parameters.replace('"', " ").replace("=", " ").split():
            return target[1:]
    return ""
