"""Batches on one thread and on two.

Several libraries size their pool of threads once, by the environment, when they start: so each number of threads is a
process of its own, in which the libraries take turns.

    python -m gristlm.bench.two_threads TEXTS.json TOKENIZER.json VOCABULARY.tiktoken NAME THREADS PEER…
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gristlm.bench import tokenizer_peers
from gristlm.bench.frame import OURS, BenchTable, Row
from gristlm.bench.vocabulary import Vocabulary
from gristlm.tokenize import Tokenizer

TASK = "English, batch, 2 threads over 1"
ROUNDS = 5


def measure(table: BenchTable, texts: list[str], vocabulary: Vocabulary, peers: Sequence[str]) -> None:
    """Adds a row for each library: by the clock, how many times as fast two threads are as one, caches warm."""
    if table.cores < 2:
        table.skipped[TASK] = "this machine has one core"
        return
    with tempfile.TemporaryDirectory() as folder:
        file, definition = Path(folder, "texts.json"), Path(folder, "tokenizer.json")
        file.write_text(json.dumps(texts))
        vocabulary.tokenizer.save(definition)
        seconds = [_child(threads, file, definition, vocabulary, peers) for threads in (1, 2)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    times = {name: seconds[0][name] / seconds[1][name] for name in seconds[0] if name in seconds[1]}
    for name, faster in times.items():
        ratio = times[OURS] / faster
        note = f"{size / seconds[1][name]:,.0f} MB/s"
        table.rows.append(Row(TASK, name, size, faster, seconds[1][name], ratio, note, "x"))


def _child(
    threads: int, texts: Path, definition: Path, vocabulary: Vocabulary, peers: Sequence[str]
) -> dict[str, float]:
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, "-m", __spec__.name, str(texts), str(definition), str(vocabulary.tiktoken_file or "")]
    done = subprocess.run(  # noqa: S603
        [*command, vocabulary.name, str(threads), *peers], env=environment, capture_output=True, text=True, check=True
    )
    return {str(name): float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def main(arguments: Sequence[str]) -> None:
    """Prints the least seconds of each library as JSON."""
    texts_file, definition, packed, name, count, *names = arguments
    texts, threads = json.loads(Path(texts_file).read_text()), int(count)
    vocabulary = Vocabulary(name, Tokenizer.from_file(definition), Path(packed) if packed else None)
    others, _, _ = tokenizer_peers.load(names, vocabulary)
    ours = vocabulary.tokenizer
    runs = {OURS: functools.partial(ours.encode_batch, texts, num_threads=threads)}
    for peer in others:
        if peer.encode_threads is not None:
            runs[peer.name] = functools.partial(peer.encode_threads, peer.fresh(), texts, threads)
    best = dict.fromkeys(runs, float("inf"))
    for turn in range(ROUNDS + 1):
        for library, run in runs.items():
            began = time.perf_counter()
            run()
            if turn:  # the first fills the caches
                best[library] = min(best[library], time.perf_counter() - began)
    print(json.dumps(best))


if __name__ == "__main__":
    main(sys.argv[1:])
