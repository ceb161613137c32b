"""Crawls of a loopback site with traps, through the whole stage."""

import contextlib
import fcntl
import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("scrapy")
import pyarrow.parquet as pq
from web_site import Site, html, serving

from gristlm.collect import CollectConfig, run
from gristlm.collect.web.settings import WebConfig
from gristlm.errors import InputError

pytestmark = pytest.mark.extras
FAST = {"allow_private": True, "delay_seconds": 0.0, "max_page_bytes": 1_000_000, "timeout_seconds": 1.0}


def crawl(site: Site, output: Path, *, start: str = "/", **settings: object) -> tuple[list[str], dict[str, list[str]]]:
    """The paths of the pages that are kept, and for each reason the paths that were dropped."""
    opt_out = settings.pop("opt_out", [])
    config = CollectConfig(
        sources=[site.url + start], web=WebConfig(**(FAST | settings)), heldout_fraction=0, opt_out=opt_out,
        near_duplicate_threshold=None,
    )  # fmt: skip
    run(config, {}, output)
    kept = [uri.removeprefix(site.url) for uri in pq.read_table(output / "train-00000.parquet")["uri"].to_pylist()]
    examples = json.loads((output / "report.json").read_text())["examples"]
    dropped = {reason: [each["uri"].removeprefix(site.url) for each in shown] for reason, shown in examples.items()}
    return kept, dropped


def test_traps_cost_their_page_and_nothing_more(tmp_path: Path) -> None:
    site = Site()
    with serving(site), serving(Site()) as other:
        site.pages["/robots.txt"] = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private\n")
        targets = ["/a", "/loop1", "/big", "/slow", "/private/x", "/noindex", "/header", "/rel",
                   "/inside", "/metadata", "/other", "/calendar/0", "/picture", "/gone", "/a/a/a/a/a",
                   "mailto:x@example.org", "file:///etc/passwd"]  # fmt: skip
        site.page("/", html("Start", *targets))
        site.page("/a", html("Page A", "/b", "/#top"))
        site.page("/b", html("Page B"))
        site.page("/noindex", html("Hidden", "/c", head='<meta name="robots" content="noindex">'))
        site.page("/header", html("Hidden too", "/d"), X_Robots_Tag="noindex, nofollow")
        site.page("/rel", html("Rel", "/d").replace(b"<a href", b'<a rel="external nofollow" href'))
        site.page("/c", html("Page C", "/d", head='<meta name="robots" content="nofollow">'))
        site.redirect("/loop1", "/loop2")
        site.redirect("/loop2", "/loop1")
        site.redirect("/inside", f"{other.url}/secret")
        site.redirect("/metadata", "http://169.254.169.254/latest/meta-data/")
        site.redirect("/other", "http://example.org/")
        site.page("/big", b"<p>" + b"x" * 10_000_000)
        site.page("/picture", b"\x89PNG", Content_Type="image/png")
        site.slow["/slow"] = 3.0
        site.page("/slow", html("Slow"))
        kept, dropped = crawl(site, tmp_path / "out", max_depth=5)
        assert kept == ["/", "/a", "/b", "/c", *(f"/calendar/{day}" for day in range(5)), "/rel"]
        assert dropped["robots.txt disallows"] == ["/private/x"]
        assert dropped["too large"] == ["/big"]
        assert dropped["timed out"] == ["/slow"]
        assert sorted(dropped["noindex"]) == ["/header", "/noindex"]
        assert dropped["redirect to another site"] == ["/inside", "/metadata", "/other"]
        assert dropped["not a page of text"] == ["/picture"]
        assert dropped["http 404"] == ["/gone"]
        assert dropped["endless path"] == ["/a/a/a/a/a"]
        assert not other.asked
    assert max(site.counts().values()) == 1
    assert "/d" not in site.counts()
    assert not {"/private/x", "/a/a/a/a/a"} & set(site.counts())
    agents = {headers["User-Agent"] for _, headers, _ in site.asked}
    assert len(agents) == 1
    assert agents.pop().startswith("gristlm/")


def test_an_unreachable_robots_txt_forbids_all_and_a_missing_one_nothing(tmp_path: Path) -> None:
    sites = {404: Site(), 500: Site(), 429: Site()}
    with serving(sites[404]), serving(sites[500]), serving(sites[429]):
        for status, site in sites.items():
            site.page("/", html("Start"))
            site.page("/robots.txt", b"", status=status)
        config = CollectConfig(sources=[site.url for site in sites.values()], web=WebConfig(**FAST), heldout_fraction=0)
        run(config, {}, tmp_path / "out")
        kept = pq.read_table(tmp_path / "out/train-00000.parquet")["uri"].to_pylist()
        examples = json.loads((tmp_path / "out/report.json").read_text())["examples"]
    assert kept == [f"{sites[404].url}/"]
    refused = {each["uri"] for each in examples["robots.txt disallows"]}
    assert refused == {f"{sites[500].url}/", f"{sites[429].url}/"}
    assert not sites[500].counts()
    assert not sites[429].counts()


def test_sitemaps_opt_outs_and_the_limit_on_pages(tmp_path: Path) -> None:
    site = Site()
    with serving(site):
        listed = "".join(f"<url><loc>{site.url}/p{number}</loc></url>" for number in range(9))
        site.pages["/robots.txt"] = (200, {}, f"Sitemap: {site.url}/map.xml\n".encode())
        site.page("/map.xml", f"<urlset>{listed}</urlset>".encode(), Content_Type="application/xml")
        site.page("/", html("Start"))
        for number in range(9):
            site.page(f"/p{number}", html(f"Page {number}"))
        (tmp_path / "out.txt").write_text(f"# not these\n{site.url}/p3\n{site.url}/p4*\n")
        kept, _ = crawl(site, tmp_path / "out", opt_out=[str(tmp_path / "out.txt")])
        assert kept == ["/", "/p0", "/p1", "/p2", "/p5", "/p6", "/p7", "/p8"]
        assert not {"/p3", "/p4"} & set(site.counts())
        site.asked.clear()
        assert "over max_pages" in crawl(site, tmp_path / "few", max_pages=4)[1]
        assert site.counts().total() == 4


def test_a_later_crawl_asks_only_what_changed(tmp_path: Path) -> None:
    site = Site()
    with serving(site):
        site.page("/", html("Start", "/b"), ETag='"1"')
        site.page("/b", html("Page B"), Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT")
        first = crawl(site, tmp_path / "one", cache=str(tmp_path / "cache"))
        site.asked.clear()
        assert crawl(site, tmp_path / "two", cache=str(tmp_path / "cache")) == first
        sent = {path: headers for path, headers, _ in site.asked}
        assert sent["/"]["If-None-Match"] == '"1"'
        assert sent["/b"]["If-Modified-Since"] == "Mon, 01 Jan 2024 00:00:00 GMT"


def test_a_crawl_delay_is_kept(tmp_path: Path) -> None:
    site = Site()
    with serving(site):
        site.pages["/robots.txt"] = (200, {}, b"User-agent: gristlm\nCrawl-delay: 0.4\n")
        site.page("/", html("Start", "/b", "/c"))
        site.page("/b", html("Page B"))
        site.page("/c", html("Page C"))
        crawl(site, tmp_path / "out", concurrency_per_host=4)
    times = [at for path, _, at in site.asked]
    assert all(later - earlier > 0.35 for earlier, later in itertools.pairwise(times[1:]))


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_host_gets_so_many_requests_at_a_time_and_no_more(tmp_path: Path, concurrency: int) -> None:
    site = Site()
    with serving(site):
        site.seconds = 0.05
        site.page("/", html("Start", *(f"/p{number}" for number in range(12))))
        for number in range(12):
            site.page(f"/p{number}", html(f"Page {number}", town=f"town {number}"))
        crawl(site, tmp_path / "out", concurrency_per_host=concurrency)
    assert len(site.counts()) == 13
    assert 1 <= site.most_active <= concurrency
    assert concurrency == 1 or site.most_active > 1


def test_private_addresses_are_refused_unless_asked_for(tmp_path: Path) -> None:
    site = Site()
    with serving(site):
        site.page("/", html("Start"))
        with pytest.raises(InputError, match="not a public address"):
            crawl(site, tmp_path / "a", allow_private=False, contact="me@example.org")
        by_name = site.url.replace("127.0.0.1", "localhost")
        with pytest.raises(InputError, match="not a public address"):
            run(CollectConfig(sources=[by_name], web=WebConfig(contact="me@example.org")), {}, tmp_path / "b")
        with pytest.raises(InputError, match="contact"):
            run(CollectConfig(sources=["https://example.org"]), {}, tmp_path / "c")
        assert not site.asked


def known(work: Path) -> set[str]:
    """The paths of the URLs that a crawl has done with or has the page of, once its process has ended."""
    with (work / "lock").open("a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # which the crawling process holds until it ends
        with contextlib.closing(sqlite3.connect(work / "pages.sqlite")) as db:
            db.execute("ATTACH ? AS frontier", (str(work / "frontier.sqlite"),))
            found = db.execute("SELECT url FROM urls WHERE state = 2 UNION SELECT url FROM pages").fetchall()
    return {f"/{url.split('/', 3)[3]}" for (url,) in found}


def test_a_crawl_killed_at_random_moments_asks_for_nothing_again_that_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    chance, site, count = random.Random(7), Site(), 60
    with serving(site):
        for number in range(count):
            ahead = (f"/p{number * 3 + step}" for step in (1, 2, 3) if number * 3 + step < count)
            site.page(f"/p{number}", html(f"Page {number}", *ahead, town=f"town {number * 7}"))
        site.seconds = 0.02
        command = [
            sys.executable, "-m", "gristlm", "collect", f"{site.url}/p0", "--allow-private",
            "--collect.web.delay_seconds=0.0", "--collect.near_duplicate_threshold=1.0", "--output",
        ]  # fmt: skip
        assert not subprocess.run([*command, str(tmp_path / "whole")], capture_output=True).returncode
        assert set(site.counts().values()) == {1}
        site.asked.clear()
        done, mark, kills = set[str](), 0, 0
        while kills < 4:
            process = subprocess.Popen([*command, str(tmp_path / "out")], stderr=subprocess.DEVNULL)
            enough = len(site.asked) + chance.randint(2, 9)
            while len(site.asked) < enough and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert not done & {path for path, _, _ in site.asked[mark:]}
            done, mark, kills = known(tmp_path / "out/crawl"), len(site.asked), kills + 1
        last = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True)
        assert not last.returncode, last.stderr
        assert not done & {path for path, _, _ in site.asked[mark:]}
        counts = site.counts()
    assert set(counts) == {f"/p{number}" for number in range(count)}
    # What was on its way when the process was killed had not come: two URLs at most, for one host.
    assert counts.total() - count <= 2 * kills
    logs = ("manifest.json", "metrics.jsonl", "started.json")
    whole, cut = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir() if file.name not in logs}
        for name in ("whole", "out")
    )
    assert whole == cut
