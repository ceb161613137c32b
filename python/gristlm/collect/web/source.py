"""Web sites as a source: one crawl over all start URLs, then its pages in the order of their URLs."""

from __future__ import annotations

import datetime
import functools
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gristlm import __version__
from gristlm.cleaning import extract_text
from gristlm.collect import licences
from gristlm.collect.charset import BinaryFileError, decode
from gristlm.collect.document import UNKNOWN_LICENCE, Document, Drop, Entry, Task, Unit
from gristlm.collect.web import urls
from gristlm.collect.web.addresses import is_private, is_public
from gristlm.collect.web.settings import PRODUCT, WebConfig
from gristlm.collect.web.store import Outcome, Page, Store
from gristlm.errors import InputError, missing_extra
from gristlm.runs import progress

_WANTED = frozenset(("", "redirect", "sitemap"))
_FAULTS = frozenset(("timed out", "host not found", "connection broken", "no connection"))


class WebSource:
    """The pages of web sites; one unit, because one crawl reads all of them."""

    name = "web"

    def __init__(self, start: Sequence[str], config: WebConfig, directory: Path, opt_out: Sequence[Path] = ()) -> None:
        """Crawls from `start`, with what it knows in `directory`.

        Raises:
            InputError: a URL is none that may be read, or nobody is named to contact.
            MissingExtraError: Scrapy is not installed.
        """
        if importlib.util.find_spec("scrapy") is None:
            raise missing_extra("scrapy", "web")
        self._start = [_start(url, config) for url in start]
        if not config.contact and not config.allow_private:
            raise InputError(
                f"source {start[0]!r}: a crawler says whom to write to; give an address or a page of yours "
                "as --collect.web.contact=ADDRESS"
            )
        self._config, self._directory, self._opt_out = config, directory, opt_out

    def units(self) -> Iterator[Unit]:
        """Yields the crawl."""
        yield Unit("web", self._read)

    def _read(self) -> Iterator[Entry]:
        store = self._open()
        if not store.about("finished"):
            store.close()
            self._crawl()
            store = self._open()
        try:
            for outcome in store.outcomes():
                if not outcome.reason:
                    yield Task(functools.partial(self._document, outcome), self._config.max_page_bytes // 8)
                elif outcome.reason not in _WANTED:
                    fault = outcome.reason in _FAULTS
                    yield Drop(outcome.site, outcome.url, outcome.reason, outcome.detail, fault=fault)
            if waiting := store.num_waiting():
                detail = f"{waiting:,} known URLs were not asked for (max_pages {self._config.max_pages:,})"
                yield Drop(self.name, self._start[0], "over max_pages", detail, fault=False)
        finally:
            store.close()

    def _open(self) -> Store:
        return Store(self._directory, Path(self._config.cache) if self._config.cache else None)

    def _crawl(self) -> None:
        job = {
            "start": self._start,
            "config": self._config.model_dump(),
            "directory": str(self._directory),
            "opt_out": [str(file) for file in self._opt_out],
            "agent": agent(self._config.contact),
        }
        command = [sys.executable, "-m", "gristlm.collect.web.fetch"]
        with (
            subprocess.Popen(  # noqa: S603  # our own module
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            ) as process,
            progress.bar("crawl", unit="pages") as bar,
        ):
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdin.write(json.dumps(job).encode() + b"\n")
            for line in process.stdout:
                told = json.loads(line)
                bar.update(told["fetched"], waiting=f"{told['waiting']:,}", mb=told["bytes"] / 1e6)
            said = process.stderr.read().decode("utf-8", "replace")
        store = self._open()
        try:
            if process.returncode or not store.about("finished"):
                raise InputError(
                    f"the crawl ended early (exit code {process.returncode}); the same command goes on where it was. "
                    + said.strip()[-2000:]
                )
        finally:
            store.close()

    def _document(self, outcome: Outcome) -> Iterator[Document | Drop]:
        store = self._open()
        try:
            page = store.page(outcome.url)
        finally:
            store.close()
        if page is None:
            yield Drop(outcome.site, outcome.url, "not in the cache any more", "delete the output to crawl again")
            return
        yield _document(outcome, page)


def agent(contact: str) -> str:
    """Returns the User-Agent header: what this is, that it is a robot, and whom to write to."""
    return f"{PRODUCT}/{__version__} (robot; collects text for language models; contact: {contact or 'none, a test'})"


def _start(url: str, config: WebConfig) -> str:
    found = urls.normal(url)
    if found is None:
        raise InputError(f"source {url!r} is no http or https URL without a user name")
    host = urls.host(found)
    if urls.is_address(host) and not is_public(host) and not (config.allow_private and is_private(host)):
        more = "it is never read" if config.allow_private else "--allow-private reads private ones, for tests"
        raise InputError(f"source {url!r} is not a public address; {more}")
    return found


def _document(outcome: Outcome, page: Page) -> Document | Drop:
    size = len(page.body)
    text, title, licence, language, about = "", "", page.licence, "", dict[str, object]()
    if page.type.startswith("text/") and not page.type.startswith("text/html"):
        try:
            text = decode(page.body).text
        except BinaryFileError as error:
            return Drop(outcome.site, outcome.url, "binary file", str(error), size)
    else:
        try:
            found = extract_text(_marked(page), outcome.url)
        except InputError as error:
            return Drop(outcome.site, outcome.url, "damaged file", str(error), size)
        if found is not None:
            text, title, language = found.text, found.title or "", found.language or ""
            licence = licence or found.licence or ""
            about = {"canonical": found.url, "author": found.author, "date": found.date}
    if not text.strip():
        return Drop(outcome.site, outcome.url, "no main content", "", size, fault=False)
    if about.get("canonical") == outcome.url:
        del about["canonical"]
    return Document(
        id=f"web/{outcome.url}".replace("#", "%23"),
        text=text,
        source=outcome.site,
        uri=outcome.url,
        title=title[:300],
        licence=licences.from_text(licence) if licence else UNKNOWN_LICENCE,
        language=language,
        fetched_at=datetime.datetime.fromtimestamp(page.at, tz=datetime.UTC),
        metadata={name: value for name, value in about.items() if value},
    )


def _marked(page: Page) -> str | bytes:
    """Returns a page's HTML, as text where the server named the character set (which beats the page's own word)."""
    named = page.charset
    if not named or page.body[:3] == b"\xef\xbb\xbf":
        return page.body
    try:
        return page.body.decode(named, "replace")
    except LookupError:
        return page.body
