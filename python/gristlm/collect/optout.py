"""Opt-out lists: domains, URLs and document ids that are never fetched and never kept.

One entry a line; what follows a `#` at the start of a line or after a space is a comment:

    example.org                     a domain, with everything below it
    https://example.com/private/*   a URL; a `*` at the end takes all that begin so (http and https alike)
    id:notes/a.txt                  a document's id; its parts (`notes/a.txt:2`, `notes/a.txt#code`) too
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gristlm.errors import InputError

REASON = "opted out"
_DOMAIN = re.compile(r"(?:\*\.)?([a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)+)\.?")
_PART = re.compile(r"[:#]")


@dataclasses.dataclass(frozen=True)
class OptOut:
    """What is not to be used."""

    domains: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()

    def covers_url(self, url: str) -> bool:
        """Returns whether a URL, or the domain that it lies in, is on the list."""
        if self.domains:
            try:
                labels = (urlsplit(url).hostname or "").rstrip(".").split(".")
            except ValueError:
                labels = []
            if any(".".join(labels[at:]) in self.domains for at in range(len(labels))):
                return True
        bare = _bare(url)
        return bare in self.urls or bare.startswith(self.prefixes)

    def __bool__(self) -> bool:
        """Whether there is anything on the list."""
        return bool(self.domains or self.urls or self.prefixes or self.ids)

    def covers(self, document_id: str, *uris: str) -> bool:
        """Returns whether a document is on the list, by its id or one of its addresses."""
        if self.ids and (document_id in self.ids or any(start in self.ids for start in _starts(document_id))):
            return True
        return any(self.covers_url(uri) for uri in uris)


def read(files: Sequence[Path]) -> OptOut:
    """Returns the list that several files make together.

    Raises:
        InputError: a file cannot be read, or a line is no entry; names file and line.
    """
    domains, whole, prefixes, ids = set[str](), set[str](), set[str](), set[str]()
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the opt-out list {file} cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            entry = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
            domain = _DOMAIN.fullmatch(entry.lower())
            if entry.startswith("id:"):
                ids.add(entry.removeprefix("id:").strip())
            elif "://" in entry:
                (prefixes if entry.endswith("*") else whole).add(_bare(entry.rstrip("*")))
            elif domain:
                domains.add(domain[1])
            elif entry:
                raise InputError(
                    f"{file}:{number}: {entry[:100]!r} is no entry of an opt-out list; "
                    "write a domain (example.org), a URL (https://example.org/page, or …/*), or id:DOCUMENT"
                )
    return OptOut(frozenset(domains), frozenset(whole), tuple(sorted(prefixes)), frozenset(ids))


def _bare(url: str) -> str:
    """Returns a URL without its fragment; http for https, and the host in lower case."""
    scheme, mark, rest = url.partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    scheme = "http" if scheme.lower() in ("http", "https") else scheme.lower()
    return f"{scheme}{mark}{host.lower()}{slash}{path}" if path else f"{scheme}{mark}{host.lower()}"


def _starts(document_id: str) -> Iterable[str]:
    return (document_id[: found.start()] for found in _PART.finditer(document_id))
