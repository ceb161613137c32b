"""Throughput on your machine and your files, beside whatever peers are installed.

Each area is a module with a function `rows(texts, peers)`; `frame.py` does the timing for all of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from gristlm.bench.corpus import read_texts
from gristlm.bench.frame import BenchTable, Row
from gristlm.errors import InputError

__all__ = ["AREAS", "BenchTable", "Row", "run_bench"]

AREAS = {"data": "gristlm.bench.data", "tokenizer": "gristlm.bench.tokenizer"}
"""The areas that have rows, and the module of each."""


def run_bench(area: str, *, files: Sequence[Path] = (), peers: Sequence[str] | None = None) -> BenchTable:
    """Measures one area and returns its table.

    Args:
        area: see `AREAS`.
        files: text to measure on: files or folders; none means the standard library's source and documentation. A
            `.tiktoken` file or a
            `tokenizer.json` among them is the vocabulary.
        peers: only these; None means all that are installed.

    Raises:
        InputError: the area has no rows, or a peer is unknown or not installed; names those that exist.
        MissingArtifactError: a file is not there.
    """
    if area not in AREAS:
        raise InputError(f"bench has no area {area!r} yet; there is {', '.join(AREAS)}")
    module = importlib.import_module(AREAS[area])
    texts, vocabulary, described = read_texts(files)
    table = BenchTable.begin(area, described)
    module.measure(table, texts, vocabulary, peers)
    return table
