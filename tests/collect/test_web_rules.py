"""Robots rules, addresses, URLs and opt-out lists, without a network."""

from pathlib import Path

import pytest

from gristlm.collect import optout
from gristlm.collect.web import robots, urls
from gristlm.collect.web.addresses import is_private, is_public
from gristlm.errors import InputError


def allows(rules: str, path: str) -> bool:
    return robots.parse(f"User-agent: *\n{rules}".encode(), "gristlm").allows(f"https://example.org{path}")


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Disallow: /", "/robots.txt", True),
        ("Disallow: /a\nAllow: /a", "/a", True),
        ("Allow: /a\nDisallow: /ab", "/abc", False),
        ("Disallow: /*.gif$", "/x/y.gif", False),
        ("Disallow: /*.gif$", "/x/y.gif?z", True),
        ("Disallow: /a*b*c", "/a--b--c--", False),
        ("Disallow: /a*b*c$", "/a-b-c-d-c", False),
        ("Disallow: /a*b$", "/a", True),
        ("Disallow: /*?", "/x?y", False),
        ("Disallow: /caf%C3%A9", "/caf\u00e9", False),
        ("Disallow: /a%2fb", "/a%2Fb", False),
        ("Disallow: /a%7Eb", "/a~b", False),
        ("Disallow:", "/x", True),
        ("Disallow: /x # why", "/x", False),
        ("disallow : /x", "/x/y", False),
        ("Disallow: x", "/x", False),
        ("garbage\nDisallow: /x", "/x", False),
    ],
)
def test_the_longest_match_decides(rules: str, path: str, allowed: bool) -> None:
    assert allows(rules, path) is allowed


def test_groups_that_name_us_are_merged_and_beat_the_star() -> None:
    body = b"\xef\xbb\xbfUser-agent: *\rDisallow: /\r\nUser-Agent: GristLM/2.0\nUser-agent: other\n"
    body += b"Disallow: /a\nCrawl-delay: 2\nSitemap: https://example.org/s.xml\n\nuser-agent: gristlm\nDisallow: /b\n"
    found = robots.parse(body, "gristlm")
    assert [found.allows(f"https://e.org{path}") for path in ("/a", "/b", "/c")] == [False, False, True]
    assert (found.delay_seconds, found.sitemaps) == (2.0, ("https://example.org/s.xml",))
    assert not robots.parse(body, "unnamed").allows("https://e.org/c")


def test_500_kib_are_read_and_a_hostile_pattern_takes_no_time() -> None:
    filler = b"# " + b"x" * 98 + b"\n"
    late = b"User-agent: *\n" + filler * 5150 + b"Disallow: /late\n"
    assert 500 * 1024 < len(late) < robots.MAX_BYTES + 100
    assert not robots.parse(late[: robots.MAX_BYTES], "gristlm").allows("https://e.org/late")
    assert not allows("Disallow: /" + "a*" * 400 + "b$", "/" + "a" * 900 + "b")
    assert allows("Disallow: /" + "a*" * 400 + "c$", "/" + "a" * 1900)


@pytest.mark.parametrize(
    ("status", "allowed"),
    [(200, False), (301, True), (404, True), (403, True), (429, False), (503, False), (0, False)],
)
def test_the_status_of_robots_txt(status: int, allowed: bool) -> None:
    found = robots.from_answer(status, b"User-agent: *\nDisallow: /", "gristlm")
    assert found.allows("https://e.org/x") is allowed


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "fec0::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",
        "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "::ffff:0:127.0.0.1", "2a00::5efe:7f00:1",
        "2001:db8::1",
        "2130706433", "localhost", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)
    assert not is_private(address)


def test_private_means_this_machine_and_private_networks_only() -> None:
    assert all(map(is_private, ("127.0.0.1", "10.0.0.1", "::1", "fd00::1", "::ffff:127.0.0.1")))
    assert not any(
        map(is_private, ("169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254", "x"))
    )


def test_answers_of_the_resolver_that_change_are_judged_each_time() -> None:
    pytest.importorskip("twisted")
    from twisted.internet.address import IPv4Address

    from gristlm.collect.web.resolver import Guard, GuardedResolver

    class Inner:
        def __init__(self) -> None:
            self.answers = [["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["1.1.1.1"]]

        def resolveHostName(self, receiver, *_):  # noqa: N802
            receiver.resolutionBegan(self)
            for address in self.answers.pop(0):
                receiver.addressResolved(IPv4Address("TCP", address, 80))
            receiver.resolutionComplete()

    class Receiver:
        def __init__(self) -> None:
            self.found: list[str] = []

        def resolutionBegan(self, _: object) -> None:  # noqa: N802
            pass

        def addressResolved(self, address: IPv4Address) -> None:  # noqa: N802
            self.found.append(address.host)

        def resolutionComplete(self) -> None:  # noqa: N802
            self.found.append("end")

    resolver, seen = GuardedResolver(Inner(), Guard()), []
    for _ in range(4):
        receiver = Receiver()
        resolver.resolveHostName(receiver, "rebinding.example")
        seen.append(receiver.found)
    assert seen == [["8.8.8.8", "end"], ["end"], ["end"], ["1.1.1.1", "end"]]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Example.ORG:80", "http://example.org/"),
        ("https://e.org/a/../b/./c#d", "https://e.org/b/c"),
        ("https://e.org/a b?q=\u00e9", "https://e.org/a%20b?q=%C3%A9"),
        ("https://b\u00fccher.example/", "https://xn--bcher-kva.example/"),
        ("https://user:pass@e.org/", None),
        ("ftp://e.org/", None),
        ("javascript:alert(1)", None),
        ("http://[::1/", None),
        ("http://e.org:99999/", None),
        ("https://e.org/" + "x" * 3000, None),
    ],
)
def test_one_spelling_for_each_url(url: str, expected: str | None) -> None:
    assert urls.normal(url) == expected


def test_opt_outs(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("example.org # all\nhttps://e.com/a\nhttps://e.com/b/*\nid:notes/x.txt\n")
    out = optout.read([file])
    assert all(map(out.covers_url, ("http://www.EXAMPLE.org/x", "http://e.com/a", "https://e.com/b/c")))
    assert not any(map(out.covers_url, ("https://notexample.org/", "https://e.com/ab", "file:///a")))
    assert out.covers("notes/x.txt:3")
    assert not out.covers("notes/x.txt2", "https://e.com/")
    file.write_text("what is this\n")
    with pytest.raises(InputError, match=":1: 'what is this'"):
        optout.read([file])
