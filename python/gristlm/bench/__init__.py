"""Throughput on your machine and your files, beside whatever peers are installed.

Each area is a module with a function `measure(table, texts, vocabulary, peers)`; `frame.py` does the timing for all.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from gristlm.bench.corpus import read_texts
from gristlm.bench.frame import BenchTable, Row
from gristlm.errors import InputError

__all__ = ["AREAS", "BenchTable", "Row", "run_bench"]

AREAS = {
    "data": "gristlm.bench.data",
    "generate": "gristlm.bench.generate",
    "packing": "gristlm.bench.packing",
    "tokenizer": "gristlm.bench.tokenizer",
    "train": "gristlm.bench.train",
}
"""The areas that have rows, and the module of each."""


def run_bench(
    area: str, *, files: Sequence[Path] = (), peers: Sequence[str] | None = None, large: bool = False
) -> BenchTable:
    """Measures one area and returns its table.

    Args:
        area: see `AREAS`.
        files: text to measure on: files or folders; none means text that is on every machine with Python. A
            `.tiktoken` file or a `tokenizer.json` among them is the vocabulary.
        peers: only these; None means all that are installed.
        large: also the rows that take minutes.

    Raises:
        InputError: the area has no rows, or a peer is unknown or not installed; names those that exist.
        MissingArtifactError: a file is not there.
    """
    if area not in AREAS:
        raise InputError(f"bench has no area {area!r} yet; there is {', '.join(AREAS)}")
    module = importlib.import_module(AREAS[area])
    table = BenchTable.begin(area)
    if area == "tokenizer":  # whose rows ask for English, multilingual text and code apart
        module.measure(table, files, peers, large=large)
        return table
    texts, vocabulary, table.text = read_texts(files)
    module.measure(table, texts, vocabulary, peers)
    return table
