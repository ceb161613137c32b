"""The sources that a list of names and paths asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from gristlm.collect import hub, python
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import Source
from gristlm.collect.files import FileSource
from gristlm.collect.files.reading import Limits
from gristlm.collect.files.remote import RemoteSource
from gristlm.collect.finished import FinishedSource, is_finished
from gristlm.collect.shard import Share
from gristlm.collect.shard import parse as parse_shard
from gristlm.collect.web.source import WebSource
from gristlm.errors import InputError

CRAWL = "crawl"
_SITE = re.compile(r"https?://", re.IGNORECASE)
# Files that are read as what they hold, not crawled; a packed sitemap is for the crawler.
_DATA = re.compile(
    r"\.(?:warc|wet|wat|arc|jsonl|ndjson|json|parquet|csv|tsv|zip|tar|tgz|bz2|zst)(?:\.(?:gz|zst|bz2))?$"
    r"|(?<!\.xml)(?<!\.txt)\.gz$",
    re.IGNORECASE,
)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def from_config(config: CollectConfig, work: Path, *, chats: bool = False) -> list[Source]:
    """Returns the sources of `config.sources`, in order; the Python on this machine where it names none.

    With `chats`, they are chat and preference data, and must be files, URLs of files or data sets of the hub.

    All web sites are one source, last of all; it keeps its state in a folder of `work`.

    Raises:
        InputError: one does not exist, or is of a kind that cannot be read.
    """
    limits = Limits(
        config.max_document_bytes,
        config.piece_bytes,
        config.text_column,
        {str(name): column for name, column in config.columns.items()},
        tuple(mime.lower() for mime in config.mimes),
        tuple(config.statuses),
        re.compile(config.url_pattern) if config.url_pattern else None,
        chats,
    )
    unfit = [name for name in config.sources or ["python:"] if name.startswith("python:") or _is_site(name)]
    if chats and unfit:
        raise InputError(
            f"source {unfit[0]!r} holds no chat data; give files of conversations or pairs, or hf-dataset:…"
        )
    found: list[Source] = []
    sites: list[str] = []
    for name in config.sources or ["python:"]:
        if name.startswith("python:"):
            found += python.sources(name.removeprefix("python:"))
        elif _is_site(name):
            sites.append(name)
        elif name.startswith(hub.PREFIX):
            spelling = name.removeprefix(hub.PREFIX)
            found.append(hub.HubSource(spelling, _unique(spelling, found), limits))
        elif _URL.match(name):
            last = name.rstrip("/").rpartition("/")[2].partition("?")[0]
            found.append(RemoteSource(name, _unique(last.replace("*", "all"), found), limits))
        elif is_finished(Path(name)):
            found.append(FinishedSource(Path(name), _unique(_name(Path(name)), found)))
        else:
            found.append(FileSource(Path(name), _unique(_name(Path(name)), found), limits))
    if sites:
        found.append(WebSource(sites, config.web, work / CRAWL, [Path(file) for file in config.opt_out]))
    if config.shard is not None:
        return [Share(source, *parse_shard(config.shard)) for source in found]
    return found


def _is_site(name: str) -> bool:
    return bool(_SITE.match(name)) and not _DATA.search(name.partition("?")[0])


def _name(path: Path) -> str:
    return path.resolve().name.encode("utf-8", "backslashreplace").decode() or "root"


def _unique(name: str, taken: Sequence[Source]) -> str:
    names = {source.name for source in taken}
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name}~{number}", number + 1
    return candidate
