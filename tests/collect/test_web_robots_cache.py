"""How long a robots.txt is used: at most a day, also by a crawl that goes on later."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("lxml")

from gristlm.collect.optout import OptOut
from gristlm.collect.web import robots, urls
from gristlm.collect.web.crawl import Answer, Crawl
from gristlm.collect.web.settings import WebConfig
from gristlm.collect.web.store import Store, Visit

ORIGIN = "https://mill.example"


def crawl(store: Store, *paths: str) -> list[str]:
    """Crawls these paths; returns what was asked for."""
    asked: list[str] = []

    async def fetch(url: str, _: Mapping[str, str]) -> Answer:
        asked.append(url.removeprefix(ORIGIN))
        return Answer(200, {"content-type": "text/plain"}, b"User-agent: *\nDisallow: /private\n")

    store.start(Visit(f"{ORIGIN}{path}", "mill.example", "mill.example", 0, 0, 0) for path in paths)
    config = WebConfig(delay_seconds=0.0, concurrency_per_host=1)
    asyncio.run(Crawl(store, config, urls.Scope.of([ORIGIN], []), OptOut(), fetch).run())
    return asked


def test_a_robots_txt_is_asked_for_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    assert crawl(store, "/a", "/b", "/private/x") == ["/robots.txt", "/a", "/b"]
    assert crawl(store, "/c") == ["/c"]  # as after a kill: what the store holds is a moment old
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + robots.MAX_AGE_SECONDS - 60)
    assert crawl(store, "/d") == ["/d"]
    monkeypatch.setattr(time, "time", lambda: now + robots.MAX_AGE_SECONDS + 1)
    assert crawl(store, "/e", "/f") == ["/robots.txt", "/e", "/f"]
    assert robots.MAX_AGE_SECONDS <= 24 * 3600
    store.close()


def test_within_one_crawl_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "MAX_AGE_SECONDS", 0)
    store = Store(tmp_path)
    assert crawl(store, "/a", "/b") == ["/robots.txt", "/a", "/robots.txt", "/b"]
    store.close()


def test_a_redirect_of_robots_txt_is_followed_five_times(tmp_path: Path) -> None:
    def crawled(store: Store, hops: int) -> list[str]:
        asked: list[str] = []

        async def fetch(url: str, _: Mapping[str, str]) -> Answer:
            asked.append(url)
            if "robots" in url and len(asked) <= hops:
                return Answer(301, {"location": f"https://other{len(asked)}.example/robots.txt"})
            return Answer(200, {"content-type": "text/plain"}, b"User-agent: *\nDisallow: /\n")

        store.start([Visit(f"{ORIGIN}/a", "mill.example", "mill.example", 0, 0, 0)])
        asyncio.run(Crawl(store, WebConfig(), urls.Scope.of([ORIGIN], []), OptOut(), fetch).run())
        store.close()
        return asked

    assert len(crawled(Store(tmp_path / "five"), 5)) == 6  # the rules at the end forbid the page
    assert crawled(Store(tmp_path / "more"), 99)[-1] == f"{ORIGIN}/a"  # RFC 9309, 2.3.1.2: then it is unavailable
