"""Ways to write an address that is not public, and what robots.txt files say, as RFC 9309 and Google document it."""

import socket

import pytest

pytest.importorskip("lxml")
from gristlm.collect.web import links, robots, urls
from gristlm.collect.web.addresses import is_public

# First and last of each block of the IANA registries of special-purpose addresses, and the neighbours that are public.
CLOSED = [
    ("0.0.0.0", "0.255.255.255"), ("10.0.0.0", "10.255.255.255"), ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"), ("169.254.0.0", "169.254.255.255"), ("172.16.0.0", "172.31.255.255"),
    ("192.0.2.0", "192.0.2.255"), ("192.168.0.0", "192.168.255.255"), ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"), ("203.0.113.0", "203.0.113.255"), ("224.0.0.0", "239.255.255.255"),
    ("240.0.0.0", "255.255.255.255"), ("192.88.99.0", "192.88.99.255"),
]  # fmt: skip
OPEN = ["9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
        "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
        "223.255.255.255"]  # fmt: skip


def inside(address: str) -> list[str]:
    """IPv6 addresses that a gateway, a relay or a host takes for this IPv4 address."""
    raw = socket.inet_aton(address)
    high, low = int.from_bytes(raw[:2], "big"), int.from_bytes(raw[2:], "big")
    return [
        f"::ffff:{address}", f"::{high:x}:{low:x}", f"::ffff:0:{address}", f"64:ff9b::{high:x}:{low:x}",
        f"2002:{high:x}:{low:x}::1", f"2001:0:{high:x}:{low:x}::1", f"2a00::5efe:{high:x}:{low:x}",
    ]  # fmt: skip


@pytest.mark.parametrize("address", [each for block in CLOSED for each in block])
def test_no_address_of_a_closed_block_is_public_however_it_is_hidden(address: str) -> None:
    assert not is_public(address)
    assert not [hidden for hidden in inside(address) if is_public(hidden)]


@pytest.mark.parametrize("address", OPEN)
def test_the_neighbours_of_closed_blocks_are_public(address: str) -> None:
    assert is_public(address)
    assert is_public(f"::ffff:{address}")


@pytest.mark.parametrize("address", ["fc00::", "fdff::1", "fe80::1%1", "febf::1", "ff00::", "::", "::1", "100::1",
                                     "2001:db8::", "2001:10::1", "fec0::1"])  # fmt: skip
def test_closed_blocks_of_ipv6(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    ["http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://0x7f.0.0.1/",
     "http://127.0.0.1./", "http://0/", "http://\u2460\u2461\u2466.0.0.1/", "http://127\u3002" "0.0.1/",
     "http://[::ffff:7f00:1]/", "http://[::]/"],
)  # fmt: skip
def test_spellings_of_this_machine_are_refused_by_what_they_resolve_to(url: str) -> None:
    normal = urls.normal(url)
    if normal is None:
        return  # refused before any name is looked up
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(urls.host(normal), 80, type=socket.SOCK_STREAM)}
    assert found
    assert not any(map(is_public, found))


@pytest.mark.parametrize(
    "url",
    [
        "http://a@127.0.0.1/",
        "http://example.org@127.0.0.1/",
        "http://:x@e.org/",
        "http://e.org\\@127.0.0.1/",
        "file:///etc/passwd",
        "gopher://e.org/",
        "http:///x",
    ],
)
def test_urls_that_mean_another_host_than_they_show_are_none(url: str) -> None:
    assert urls.normal(url) is None


# The tables of https://developers.google.com/search/docs/crawling-indexing/robots/robots_txt, which RFC 9309 follows.
@pytest.mark.parametrize(
    ("rule", "matches", "differs"),
    [
        ("/", "/ /any /a/b?c", ""),
        ("/*", "/ /any", ""),
        ("/$", "/", "/any"),
        ("/fish", "/fish /fish.html /fish/salmon.html /fishheads /fishheads/yummy.html /fish.php?id=anything",
         "/Fish.asp /catfish /?id=fish /desert/fish"),
        ("/fish*", "/fish /fish.html /fish/salmon.html /fishheads /fish.php?id=any", "/Fish.asp /catfish /?id=fish"),
        ("/fish/", "/fish/ /fish/?id=anything /fish/salmon.htm", "/fish /fish.html /animals/fish/ /Fish/Salmon.asp"),
        ("/*.php", "/index.php /filename.php /folder/filename.php /folder/filename.php?parameters "
         "/folder/any.php.file.html /filename.php/", "/ /windows.PHP"),
        ("/*.php$", "/filename.php /folder/filename.php", "/filename.php?parameters /filename.php/ /filename.php5 "
         "/windows.PHP"),
        ("/fish*.php", "/fish.php /fishheads/catfish.php?parameters", "/Fish.PHP"),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-%2A.html", "/path/file-with-a-b.html"),
    ],
)  # fmt: skip
def test_paths_and_patterns_as_they_are_documented(rule: str, matches: str, differs: str) -> None:
    found = robots.parse(f"User-agent: *\nDisallow: {rule}".encode(), "gristlm")
    assert [path for path in matches.split() if found.allows(f"https://e.org{path}")] == []
    assert [path for path in differs.split() if not found.allows(f"https://e.org{path}")] == []


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("allow: /p\ndisallow: /", "/page", True),
        ("allow: /folder\ndisallow: /folder", "/folder/page", True),
        ("allow: /page\ndisallow: /*.htm", "/page.htm", False),
        ("allow: /page\ndisallow: /*.ph", "/page.php5", True),
        ("allow: /$\ndisallow: /", "/", True),
        ("allow: /$\ndisallow: /", "/page.htm", False),
        ("allow: /example/page/\ndisallow: /example/page/disallowed.gif", "/example/page/disallowed.gif", False),
    ],
)
def test_precedence_as_it_is_documented(rules: str, path: str, allowed: bool) -> None:
    assert robots.parse(f"user-agent: *\n{rules}".encode(), "gristlm").allows(f"https://e.org{path}") is allowed


@pytest.mark.parametrize(
    ("value", "noindex", "nofollow"),
    [
        ("noindex", True, False), ("NoIndex, NoFollow", True, True), ("none", True, True), ("all", False, False),
        ("gristlm: noindex", True, False), ("otherbot: noindex", False, False), ("otherbot: x\nnofollow", False, True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST", False, False), ("", False, False),
    ],
)  # fmt: skip
def test_x_robots_tag(value: str, noindex: bool, nofollow: bool) -> None:
    assert links.header_words(value) == links.Words(noindex, nofollow)
