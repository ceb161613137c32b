"""robots.txt as RFC 9309 has it: which rules are for us, and which of them decides about a path.

The parts of the RFC: groups and their merging (2.2.1), the longest match with Allow winning ties (2.2.2), `*` and `$`
(2.2.3), status codes and redirects (2.3.1), and the limit on size (2.5). Beyond it (ours, because many sites rely on
them): `Crawl-delay` in a group and `Sitemap` anywhere; and a missing colon or a typing error in a field makes that line
nothing, never the file.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import urlsplit

MAX_BYTES = 512 * 1024
"""How much of a robots.txt is read: the RFC asks for at least 500 KiB."""
MAX_AGE_SECONDS = 24 * 3600
"""How long a robots.txt is used before it is fetched again (RFC 9309, 2.4)."""
MAX_RULES = 20_000  # ours: 512 KiB of three-byte rules would make every look-up slow
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclasses.dataclass(frozen=True)
class Rule:
    """`Allow` or `Disallow` with its path pattern, percent-encoding made even."""

    allow: bool
    pattern: bytes

    def matches(self, path: bytes) -> bool:
        """Returns whether the pattern matches from the start of `path`; `*` is any run, a last `$` the end.

        Each literal piece is looked for at its leftmost place, which is right for every pattern of this kind and takes
        no backtracking: the time is that of a few searches, whatever the pattern is.
        """
        anchored = self.pattern.endswith(b"$")
        first, *pieces = (self.pattern[:-1] if anchored else self.pattern).split(b"*")
        if not path.startswith(first):
            return False
        at = len(first)
        if not pieces:
            return not anchored or at == len(path)
        *middle, last = pieces
        for piece in middle:
            found = path.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        if anchored:
            return len(path) - len(last) >= at and path.endswith(last)
        return path.find(last, at) >= 0


@dataclasses.dataclass(frozen=True)
class Robots:
    """The rules of one robots.txt for one crawler."""

    rules: tuple[Rule, ...] = ()
    delay_seconds: float = 0.0
    sitemaps: tuple[str, ...] = ()

    def allows(self, url: str) -> bool:
        """Returns whether `url` may be fetched: the longest matching rule decides, Allow wins ties, none allows."""
        parts = urlsplit(url)
        path = _even((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        if path == b"/robots.txt":
            return True
        matching = [(len(rule.pattern), rule.allow) for rule in self.rules if rule.matches(path)]
        return max(matching, default=(0, True))[1]


NOTHING_ALLOWED = Robots((Rule(False, b"/"),))


def from_answer(status: int, body: bytes, product: str) -> Robots:
    """Returns the rules that an answer to the request for robots.txt gives (RFC 9309, 2.3.1).

    Args:
        status: of HTTP, after redirects; 0 where there was no answer.
        body: the file; what is beyond `MAX_BYTES` is not looked at.
        product: the product token of the crawler, such as "gristlm".
    """
    if 200 <= status < 300:
        return parse(body, product)
    # "Unavailable" (400 to 499) allows everything, "unreachable" nothing; 429 is taken as the latter.
    if 300 <= status < 500 and status != 429:
        return Robots()
    return NOTHING_ALLOWED


def parse(body: bytes, product: str) -> Robots:
    """Returns the rules for `product`: of all groups that name it (any case), else of all groups for `*`."""
    text = body[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    groups: dict[str, _Group] = {}
    sitemaps: list[str] = []
    agents: list[str] = []
    named = False  # whether the line before was a user-agent line too
    for line in _LINE_END.split(text):
        field, colon, value = line.partition("#")[0].partition(":")
        field, value = field.strip().lower(), value.strip()
        if not colon:
            continue
        if field == "user-agent":
            agents = [*(agents if named else []), _product(value)]
            groups.setdefault(agents[-1], _Group())
            named = True
        elif field in ("allow", "disallow"):
            named = False
            if value:
                for agent in agents:
                    groups[agent].add(Rule(field == "allow", _even(value if value[0] in "/*" else f"/{value}")))
        elif field == "crawl-delay":
            named = False
            for agent in agents:
                groups[agent].delay(value)
        elif field == "sitemap" and len(sitemaps) < 1000:
            sitemaps.append(line.partition(":")[2].strip())
    group = groups.get(product.lower()) or groups.get("*") or _Group()
    return Robots(tuple(group.rules), group.delay_seconds, tuple(sitemaps))


class _Group:
    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.delay_seconds = 0.0

    def add(self, rule: Rule) -> None:
        if len(self.rules) < MAX_RULES:
            self.rules.append(rule)

    def delay(self, value: str) -> None:
        if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value):
            self.delay_seconds = max(self.delay_seconds, float(value))


def _product(value: str) -> str:
    """Returns the product token of a user-agent line: its letters, `_` and `-` at the start, in lower case."""
    if value.startswith("*"):
        return "*"
    found = re.match(r"[A-Za-z_-]*", value)
    return found[0].lower() if found else ""


def _even(path: str) -> bytes:
    """Returns a path or pattern with octets outside ASCII escaped and unreserved ones not (RFC 9309, 2.2.2)."""
    raw = _NOT_ASCII.sub(lambda found: b"%%%02X" % found[0][0], path.encode("utf-8", "replace"))

    def change(found: re.Match[bytes]) -> bytes:
        octet = int(found[1], 16)
        return bytes((octet,)) if octet in _UNRESERVED else found[0].upper()

    return _ESCAPE.sub(change, raw)
