"""Which reader a file's name asks for, and the languages of source code by name."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal

from gristlm.collect.files.unpack import COMPRESSED

Kind = Literal[
    "text", "markdown", "rst", "html", "code", "pdf", "epub", "docx",
    "jsonl", "parquet", "csv", "warc", "arc", "mediawiki", "tar", "zip",
]  # fmt: skip

_KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "rst",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pdf": "pdf",
    ".epub": "epub",
    ".docx": "docx",
    ".csv": "csv",
    ".tsv": "csv",
    ".warc": "warc",
    ".wet": "warc",
    ".arc": "arc",
    ".tar": "tar",
    ".tgz": "tar",
    ".tbz2": "tar",
    ".txz": "tar",
    ".zip": "zip",
}
_WIKI = re.compile(r".*-pages-(?:articles|meta)[^/]*\.xml[^/]*", re.IGNORECASE)
_LANGUAGES = {
    "ada": "adb ads",
    "assembly": "s asm",
    "c": "c h",
    "c#": "cs",
    "c++": "cc cpp cxx hh hpp hxx",
    "clojure": "clj cljs",
    "cmake": "cmake",
    "css": "css scss less",
    "cuda": "cu cuh",
    "dart": "dart",
    "elixir": "ex exs",
    "erlang": "erl hrl",
    "f#": "fs fsx",
    "fortran": "f f90 f95 f03",
    "go": "go",
    "haskell": "hs",
    "java": "java",
    "javascript": "js mjs cjs jsx",
    "json": "json",
    "julia": "jl",
    "kotlin": "kt kts",
    "lisp": "lisp el scm rkt",
    "lua": "lua",
    "nim": "nim",
    "objective-c": "m mm",
    "ocaml": "ml mli",
    "perl": "pl pm",
    "php": "php",
    "protobuf": "proto",
    "python": "py pyi pyx",
    "r": "r",
    "ruby": "rb",
    "rust": "rs",
    "scala": "scala",
    "shell": "sh bash zsh fish",
    "sql": "sql",
    "swift": "swift",
    "tex": "tex sty cls bib",
    "toml": "toml",
    "typescript": "ts tsx",
    "xml": "xml xsl xsd svg",
    "yaml": "yaml yml",
    "zig": "zig",
}
_BY_SUFFIX = {f".{suffix}": language for language, suffixes in _LANGUAGES.items() for suffix in suffixes.split()}
_BY_NAME = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "dockerfile",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
}


def kind(name: str) -> Kind:
    """Returns the reader for a file called `name`; plain text where the name says nothing (the content decides)."""
    path = _inner(name)
    if _WIKI.fullmatch(name) or path.name.lower().endswith(".mediawiki.xml"):
        return "mediawiki"
    return "code" if programming_language(name) else _KINDS.get(path.suffix.lower(), "text")


def programming_language(name: str) -> str:
    """Returns the programming language of a file called `name`, or ""."""
    path = _inner(name)
    return _BY_NAME.get(path.name.lower()) or _BY_SUFFIX.get(path.suffix.lower(), "")


def _inner(name: str) -> PurePath:
    path = PurePath(name)
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
