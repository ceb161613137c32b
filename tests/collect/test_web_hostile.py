"""Whole crawls on an Internet of our own: names whose addresses change, redirects inwards, answers that never end.

Every process of the crawl is given a resolver that answers from a list and a `connect` that leads public addresses to
the loopback and writes down who was connected to; nothing leaves the machine.
"""

import gzip
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("scrapy")
import pyarrow.parquet as pq
from web_site import Site, html, serving

pytestmark = pytest.mark.extras
PUBLIC, OTHER = "93.184.216.34", "2606:2800:220:1::1"
INTERNET = """
import errno, json, os, socket
plan = json.loads(os.environ["TEST_INTERNET"])
given = {}

def log(*what):
    with open(plan["log"], "a") as file:
        file.write(json.dumps(what) + "\\n")

real_lookup, real_connect = socket.getaddrinfo, socket.socket.connect_ex

def getaddrinfo(host, port, *rest, **more):
    if host not in plan["names"]:
        log("lookup", host, [])
        return real_lookup(host, port, *rest, **more)
    answers = plan["names"][host]
    given[host] = given.get(host, -1) + 1
    answer = answers[min(given[host], len(answers) - 1)]
    log("lookup", host, answer)
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0)) if ":" in each
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
        for each in answer
    ]

def connect_ex(self, address):
    if self.family not in (socket.AF_INET, socket.AF_INET6):
        return real_connect(self, address)
    log("connect", address[0], address[1])
    if address[0] != plan["public"] or self.family != socket.AF_INET:
        return errno.ECONNREFUSED
    return real_connect(self, ("127.0.0.1", plan["port"]))

socket.getaddrinfo, socket.socket.connect_ex = getaddrinfo, connect_ex
"""


class Crawled:
    """What a crawl kept, dropped, looked up and connected to."""

    def __init__(self, output: Path, log: Path) -> None:
        self.kept = pq.read_table(output / "train-00000.parquet")["uri"].to_pylist()
        examples = json.loads((output / "report.json").read_text())["examples"]
        self.dropped = {reason: [each["uri"] for each in shown] for reason, shown in examples.items()}
        self.details = {each["uri"]: each["detail"] for shown in examples.values() for each in shown}
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.lookups = [tuple(rest) for what, *rest in lines if what == "lookup"]
        self.connects = [tuple(rest) for what, *rest in lines if what == "connect"]


def crawl(tmp_path: Path, site: Site, names: dict[str, list[list[str]]], start: str, *options: str) -> Crawled:
    """Crawls `start`, with names that have these addresses, one list after the other (the last stays)."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/sitecustomize.py").write_text(INTERNET)
    log = tmp_path / "log"
    plan = {"names": names, "public": PUBLIC, "port": int(site.url.rpartition(":")[2]), "log": str(log)}
    paths = [str(tmp_path / "net"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [
            sys.executable, "-m", "gristlm", "collect", start, "--output", str(tmp_path / "out"),
            "--collect.web.contact=me@example.org", "--collect.web.delay_seconds=0",
            "--collect.web.concurrency_per_host=1", "--collect.heldout_fraction=0",
            "--collect.near_duplicate_threshold=1.0", *options,
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TEST_INTERNET": json.dumps(plan)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Crawled(tmp_path / "out", log)


def alone(site: Site, path: str, title: str, *links: str) -> None:
    """A page whose connection is closed after it, so that the next one begins with a look-up."""
    site.page(path, html(title, *links, town=title), Connection="close")


def test_a_name_that_moves_inwards_between_pages_is_never_connected_to(tmp_path: Path) -> None:
    inwards = [
        ["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"],
        ["100.64.0.1"], [OTHER, "fd00::1"],
    ]  # fmt: skip
    site = Site()
    with serving(site):
        site.pages["/robots.txt"] = (404, {"Connection": "close"}, b"")
        hidden = [f"/inside{number}" for number in range(len(inwards))]
        alone(site, "/", "Start", *hidden, "/after")
        for path in (*hidden, "/after"):
            alone(site, path, f"Page {path}")
        names = {"town.example": [[PUBLIC], [PUBLIC], *inwards, [PUBLIC]]}
        found = crawl(tmp_path, site, names, "http://town.example/")
    assert found.kept == ["http://town.example/", "http://town.example/after"]
    assert found.dropped == {"not a public address": [f"http://town.example{path}" for path in hidden]}
    assert "10.0.0.1" in found.details["http://town.example/inside1"]
    assert [path for path, _, _ in site.asked] == ["/robots.txt", "/", "/after"]
    # Each request looked the name up once and connected to what was judged, and to nothing else.
    assert [answer for _, answer in found.lookups] == names["town.example"]
    assert set(found.connects) == {(PUBLIC, 80)}
    assert {headers["User-Agent"] for _, headers, _ in site.asked} == {
        next(headers["User-Agent"] for _, headers, _ in site.asked)
    }
    assert "contact: me@example.org" in site.asked[0][1]["User-Agent"]


def test_redirects_inwards_are_refused_also_where_the_crawl_may_go_there(tmp_path: Path) -> None:
    targets = ["http://inside.example/", "http://127.0.0.1/", "http://169.254.169.254/latest/meta-data/",
               "http://[::1]/", "http://2130706433/", "http://0x7f.1/", "file:///etc/passwd"]  # fmt: skip
    site = Site()
    with serving(site):
        alone(site, "/", "Start", *(f"/{number}" for number in range(len(targets))), "/chain0")
        for number, target in enumerate(targets):
            site.redirect(f"/{number}", target)
        for number in range(9):
            site.redirect(f"/chain{number}", f"/chain{number + 1}")
        names = {"town.example": [[PUBLIC]], "inside.example": [["127.0.0.1"]]}
        domains = ["inside.example", "127.0.0.1", "169.254.169.254", "::1", "2130706433", "0x7f.1"]
        found = crawl(
            tmp_path, site, names, "http://town.example/", f"--collect.web.allowed_domains={json.dumps(domains)}"
        )
    assert found.kept == ["http://town.example/"]
    assert sorted(found.dropped["not a public address"]) == sorted(targets[:-1])
    assert found.dropped["redirect to no web address"] == ["http://town.example/6"]
    assert found.dropped["too many redirects"] == ["http://town.example/chain5"]
    assert {address for address, _ in found.connects} == {PUBLIC}


def test_domains_are_allowed_with_all_below_them_and_no_others(tmp_path: Path) -> None:
    site = Site()
    with serving(site):
        outside = [f"http://{name}/x" for name in ("www.mill.example", "windmill.example", "mill.example.org")]
        alone(site, "/", "Start", *outside, "http://deep.www.mill.example/x", "http://mill.example/x")
        alone(site, "/x", "Mill")
        names = {name: [[PUBLIC]] for name in ("town.example", *(url.split("/")[2] for url in outside))}
        names |= {"mill.example": [[PUBLIC]], "deep.www.mill.example": [[PUBLIC]]}
        found = crawl(tmp_path, site, names, "http://town.example/", '--collect.web.allowed_domains=["mill.example"]')
    inside = [f"http://{name}/x" for name in ("deep.www.mill.example", "mill.example", "www.mill.example")]
    hosts = {headers["Host"] for _, headers, _ in site.asked}
    assert hosts == {"town.example", "mill.example", "www.mill.example", "deep.www.mill.example"}
    # The three pages are one text: two are drops of duplicates, none is lost.
    copies = found.dropped["exact duplicate"]
    assert sorted([*found.kept, *copies]) == sorted(["http://town.example/", *inside])


def drops(seconds: float) -> Iterator[bytes]:
    for _ in range(200):
        yield b"<p>slow"
        time.sleep(seconds)


def test_answers_that_never_end_or_unpack_to_too_much_are_cut(tmp_path: Path) -> None:
    site = Site()
    with serving(site):
        bomb = gzip.compress(bytes(200 << 20))
        site.pages["/bomb"] = (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, bomb)
        site.streams["/endless"] = ({}, lambda: itertools.repeat(b"<p>more " * 8192))
        site.streams["/drip"] = ({}, lambda: drops(0.1))
        site.streams["/short"] = ({"Content-Length": "100000"}, lambda: [b"<p>cut off"])
        site.streams["/headers"] = ({f"X-{number}": "x" * 8000 for number in range(80)}, lambda: [b"<p>headers"])
        alone(site, "/", "Start", "/bomb", "/endless", "/drip", "/short", "/headers", "/after")
        alone(site, "/after", "After")
        options = ("--collect.web.timeout_seconds=2", "--collect.web.max_page_bytes=1000000")
        found = crawl(tmp_path, site, {"town.example": [[PUBLIC]]}, "http://town.example/", *options)
    assert found.kept == ["http://town.example/", "http://town.example/after"]
    named = {uri.rpartition("/")[2]: reason for reason, uris in found.dropped.items() for uri in uris}
    assert named == {
        "bomb": "too large", "endless": "too large", "headers": "too large", "drip": "timed out",
        "short": "connection broken",
    }  # fmt: skip
