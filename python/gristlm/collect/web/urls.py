"""URLs: one spelling for each, and which of them belong to a crawl."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

MAX_CHARACTERS = 2000
MAX_REPEATS = 3  # of one segment in a path: /a/b/a/b/a/b/… is a trap
MAX_SEGMENTS = 40
_PORTS = {"http": 80, "https": 443}
_CONTROLS = re.compile(r"[\x00-\x20\x7f]")


def normal(url: str, base: str = "") -> str | None:
    """Returns the one spelling of an http or https URL: absolute, host in lower case, no default port, no fragment.

    None where it is none, carries a user name, or is longer than `MAX_CHARACTERS`. The order of a query's parts stays.
    """
    try:
        parts = urlsplit(urljoin(base, _CONTROLS.sub("", url.strip())) if base else url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
        if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
            return None
        if not host.isascii():
            host = host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return None
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _PORTS[parts.scheme]:
        host = f"{host}:{port}"
    path = quote(_dotless(parts.path) or "/", safe="/:@!$&'()*+,;=~-._%")
    whole = urlunsplit((parts.scheme, host, path, quote(parts.query, safe="/?:@!$&'()*+,;=~-._%[]"), ""))
    return whole if len(whole) <= MAX_CHARACTERS else None


def _dotless(path: str) -> str:
    """Returns a path without `.` and `..` (RFC 3986, 5.2.4)."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if segments[-1] in (".", "..") and kept and kept[-1] else "")


def authority(url: str) -> str:
    """Returns the host of a normal URL, with its port where that is not the scheme's own."""
    return urlsplit(url).netloc


def origin(url: str) -> str:
    """Returns scheme and authority of a normal URL: what a robots.txt is for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def is_trap(url: str) -> bool:
    """Returns whether the path goes round in circles: one segment too often, or too many of them (ours)."""
    segments = [segment for segment in urlsplit(url).path.split("/") if segment]
    return len(segments) > MAX_SEGMENTS or max(Counter(segments).values(), default=0) > MAX_REPEATS


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a crawl may fetch: the authorities of its start, and domains with everything below them."""

    authorities: frozenset[str]
    domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, start: Sequence[str], domains: Sequence[str]) -> Scope:
        """Returns the scope of start URLs (normal ones) and the allowed domains, if any are named."""
        return cls(frozenset(map(authority, start)), tuple(domain.lower().strip(".") for domain in domains))

    def covers(self, url: str) -> bool:
        """Returns whether `url` (a normal one) is of this crawl; `example.org` covers `www.example.org` on any port."""
        if authority(url) in self.authorities:
            return True
        host = urlsplit(url).hostname or ""
        return any(host == domain or host.endswith(f".{domain}") for domain in self.domains)


def host(url: str) -> str:
    """Returns the host of a normal URL, without brackets and port."""
    return urlsplit(url).hostname or ""


def is_address(host: str) -> bool:
    """Returns whether a host is written as an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
