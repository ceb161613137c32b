"""The crawling process: Scrapy's downloader under our crawl. `python -m gristlm.collect.web.fetch`, by `source.py`.

It is a process of its own because Twisted's reactor runs once in a process. It reads one line of JSON on standard
input, reports a line of JSON a second on standard output, and ends when standard input is closed: with its parent.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)
from scrapy.http import Request
from twisted.web._newclient import HTTPParser

from gristlm.collect import optout
from gristlm.collect.web import urls
from gristlm.collect.web.crawl import TOO_LARGE, Answer, Crawl
from gristlm.collect.web.resolver import Guard, GuardedResolver
from gristlm.collect.web.settings import WebConfig
from gristlm.collect.web.store import Store, Visit

_REPORT_SECONDS = 0.5
_GRACE_SECONDS = 5.0
NOT_PUBLIC = "not a public address"
MAX_HEADER_BYTES = 256 * 1024  # ours: what browsers take at most
_LONG_HEADERS = f"headers of more than {MAX_HEADER_BYTES:,} bytes"


class _Resolver:
    """What the setting DNS_RESOLVER names: it puts our guard around the reactor's resolver."""

    def __init__(self, reactor: Any, guard: Guard) -> None:  # Twisted's reactor has no one type
        self._reactor, self._guard = reactor, guard

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> _Resolver:
        return cls(reactor, crawler.settings["GRISTLM_GUARD"])

    def install_on_reactor(self) -> None:
        self._reactor.installNameResolver(GuardedResolver(self._reactor.nameResolver, self._guard))


class _Spider(scrapy.Spider):
    name = "gristlm"

    def __init__(self, job: Mapping[str, Any], guard: Guard) -> None:
        super().__init__()
        self._job, self._guard = job, guard
        self._config = WebConfig(**job["config"])

    async def start(self) -> AsyncIterator[Any]:
        job, config = self._job, self._config
        scope = urls.Scope.of(job["start"], config.allowed_domains)
        store = Store(Path(job["directory"]), Path(config.cache) if config.cache else None)
        opt_out = optout.read([Path(file) for file in job["opt_out"]])
        crawl = Crawl(store, config, scope, opt_out, self._fetch)
        store.start(Visit(url, urls.authority(url), urls.authority(url), 0, 0, 0) for url in job["start"])
        reports = asyncio.create_task(_report(store, crawl))
        try:
            await crawl.run()
            store.tell("finished", "yes")
        finally:
            reports.cancel()
            store.close()
        return
        yield

    async def _fetch(self, url: str, headers: Mapping[str, str]) -> Answer:
        request = Request(url, headers=dict(headers), dont_filter=True)
        host = urls.host(url)
        if urls.is_address(host) and not self._guard.allows(host, [host]):
            return Answer(error=NOT_PUBLIC, detail=self._guard.refused[host])
        try:
            response = await asyncio.wait_for(
                self.crawler.engine.download_async(request), self._config.timeout_seconds + _GRACE_SECONDS
            )
        except (DownloadTimeoutError, TimeoutError):
            return Answer(error="timed out", detail=f"after {self._config.timeout_seconds:g} s (timeout_seconds)")
        except CannotResolveHostError as error:
            if host in self._guard.refused:
                return Answer(error=NOT_PUBLIC, detail=self._guard.refused[host])
            return Answer(error="host not found", detail=str(error))
        except (DownloadCancelledError, IgnoreRequest):
            limit = f"more than {self._config.max_page_bytes:,} bytes (max_page_bytes)"
            return Answer(error=TOO_LARGE, detail=limit)
        except ResponseDataLossError:
            return Answer(error="connection broken", detail="the answer ended early")
        except Exception as error:  # whatever a server does to the client is a counted drop, never the end of the crawl
            if host in self._guard.refused:
                return Answer(error=NOT_PUBLIC, detail=self._guard.refused[host])
            if _LONG_HEADERS in str(error):
                return Answer(error=TOO_LARGE, detail=_LONG_HEADERS)
            return Answer(error="no connection", detail=f"{type(error).__name__}: {error}")
        found = {
            name.decode("latin-1").lower(): "\n".join(each.decode("latin-1") for each in values)
            for name, values in response.headers.items()
        }
        return Answer(response.status, found, response.body)


async def _report(store: Store, crawl: Crawl) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        told = {"fetched": store.num_fetched(), "waiting": store.num_waiting(), "bytes": crawl.num_bytes}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def _settings(config: WebConfig, agent: str, guard: Guard) -> dict[str, object]:
    # What could go around the guard or the frontier is off: proxies, redirects, retries, cookies, foreign schemes.
    return {
        "GRISTLM_GUARD": guard,
        "DNS_RESOLVER": _Resolver,
        "USER_AGENT": agent,
        "DOWNLOAD_TIMEOUT": config.timeout_seconds,
        "DOWNLOAD_MAXSIZE": config.max_page_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
        "CONCURRENT_REQUESTS": 2 * config.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 2 * config.concurrency,
        "COOKIES_ENABLED": False,
        "HTTPPROXY_ENABLED": False,
        "LOG_ENABLED": False,
        "METAREFRESH_ENABLED": False,
        "REDIRECT_ENABLED": False,
        "REFERER_ENABLED": False,
        "RETRY_ENABLED": False,
        "ROBOTSTXT_OBEY": False,
        "TELNETCONSOLE_ENABLED": False,
    }


def _bound_headers() -> None:
    """Makes Twisted, which holds as many headers as a server sends, give up an answer with too many."""
    parser_class: Any = HTTPParser  # Twisted's attributes have no types
    received = parser_class.dataReceived

    def data_received(parser: Any, data: bytes) -> None:
        if parser.line_mode:
            parser.header_bytes = getattr(parser, "header_bytes", 0) + len(data)
            if parser.header_bytes > MAX_HEADER_BYTES:
                raise ValueError(_LONG_HEADERS)
        received(parser, data)

    parser_class.dataReceived = data_received


def _private_hosts(job: Mapping[str, Any], config: WebConfig) -> set[str]:
    if not config.allow_private:
        return set()
    return {urls.host(url) for url in job["start"]} | set(config.allowed_domains)


def _end_with_parent() -> None:
    """Ends the process when standard input closes; the store needs no farewell."""
    while os.read(0, 4096):
        pass
    os._exit(3)


def main() -> None:
    """Runs the crawl that standard input describes."""
    job = json.loads(sys.stdin.buffer.raw.readline() if hasattr(sys.stdin.buffer, "raw") else sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    directory = Path(job["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # waits for a crawl whose parent was killed a moment ago
        config = WebConfig(**job["config"])
        guard = Guard(_private_hosts(job, config))
        _bound_headers()
        process = AsyncCrawlerProcess(_settings(config, job["agent"], guard), install_root_handler=False)
        process.crawl(_Spider, job=job, guard=guard)
        process.start()


if __name__ == "__main__":
    main()
