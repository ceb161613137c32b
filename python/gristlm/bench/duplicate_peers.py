"""Peers that find near duplicates: each returns the numbers of the texts that it would drop.

All take 14 bands of 8 of 112 permutations of runs of five words. What they find are candidates: only we compare texts.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristlm.bench import duplicates

NUM_PERM, BANDS, ROWS = 112, 14, 8
Find = Callable[[Sequence[str]], set[int]]
Sign = Callable[[Sequence[str]], NDArray[Any]]


def _shingles(text: str) -> list[str]:
    return [" ".join(run) for run in duplicates.shingles(text)]


def datasketch_sign(module: Any, texts: Sequence[str]) -> list[Any]:
    """Returns the MinHashes, the runs made in Python."""
    return list(module.MinHash.bulk([[run.encode() for run in _shingles(text)] for text in texts], num_perm=NUM_PERM))


def _datasketch(module: Any, texts: Sequence[str]) -> set[int]:
    index = module.MinHashLSH(params=(BANDS, ROWS), num_perm=NUM_PERM)
    found = set()
    for at, signed in enumerate(datasketch_sign(module, texts)):
        if index.query(signed):
            found.add(at)
        index.insert(at, signed)
    return found


def rensa_sign(module: Any, texts: Sequence[str]) -> Any:
    """Returns the matrix of digests, the runs made in Python."""
    return module.RMinHash.digest_matrix_from_token_sets([_shingles(text) for text in texts], NUM_PERM, 1)


def _rensa(module: Any, texts: Sequence[str]) -> set[int]:
    index = module.RMinHashLSH(threshold=0.8, num_perm=NUM_PERM, num_bands=BANDS)
    flags = index.insert_matrix_and_query_duplicate_flags(rensa_sign(module, texts))
    return {at for at, flag in enumerate(flags) if flag}


def gaoya_index(module: Any) -> Any:
    """Returns an empty index that answers with all candidates."""
    return importlib.import_module(f"{module.__name__}.minhash").MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=0.0,
        num_bands=BANDS,
        band_size=ROWS,
        analyzer="word",
        ngram_range=(duplicates.NGRAM, duplicates.NGRAM),
        id_container="vec",
    )


def gaoya_sign(module: Any, texts: Sequence[str]) -> int:
    """Signs and indexes the texts, which it does in one; returns how many."""
    index = gaoya_index(module)
    for at, text in enumerate(texts):
        index.insert_document(at, text)
    return int(index.size())


def _gaoya(module: Any, texts: Sequence[str]) -> set[int]:
    index = gaoya_index(module)
    found = set()
    for at, text in enumerate(texts):
        if index.query(text):
            found.add(at)
        index.insert_document(at, text)
    return found


def _datatrove_config(minhash: Any) -> Any:
    """Returns our settings; its default hash takes no `str` from xxhash 4 on."""
    hashing = importlib.import_module("datatrove.utils.hashing").HashConfig(hash_fc="sha1")
    return minhash.MinhashConfig(
        n_grams=duplicates.NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS, hash_config=hashing
    )


def datatrove_signer() -> Any:
    """Returns datatrove's first step; its signatures are of words in lower case without punctuation."""
    dedup = importlib.import_module("datatrove.pipeline.dedup.minhash")
    config = _datatrove_config(dedup)
    return dedup.MinhashDedupSignature(tempfile.mkdtemp(prefix="gristlm-bench-"), config)


def datatrove_sign(signer: Any, texts: Sequence[str]) -> NDArray[Any]:
    """Returns [N, 112]; a text of fewer than five words has none."""
    shingled = (signer.get_shingles(text) for text in texts)
    empty = [np.zeros(NUM_PERM, np.uint64)]
    return np.stack([np.concatenate(signer.get_signature(runs) if runs.size else empty) for runs in shingled])


def _datatrove(module: Any, texts: Sequence[str]) -> set[int]:
    """Runs its four steps, from a file to a file."""
    del module
    minhash = importlib.import_module("datatrove.pipeline.dedup.minhash")
    executor = importlib.import_module("datatrove.executor").LocalPipelineExecutor
    readers = importlib.import_module("datatrove.pipeline.readers")
    writers = importlib.import_module("datatrove.pipeline.writers.jsonl")
    importlib.import_module("loguru").logger.remove()
    config = _datatrove_config(minhash)
    with tempfile.TemporaryDirectory(prefix="gristlm-bench-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        rows = (json.dumps({"text": text, "id": str(at)}) + "\n" for at, text in enumerate(texts))
        (folder / "in" / "texts.jsonl").write_text("".join(rows))
        read = readers.JsonlReader(str(folder / "in"))
        steps = [
            ([read, minhash.MinhashDedupSignature(f"{name}/sign", config)], 1),
            ([minhash.MinhashDedupBuckets(f"{name}/sign", f"{name}/buckets", config=config)], BANDS),
            ([minhash.MinhashDedupCluster(f"{name}/buckets", f"{name}/ids", config=config)], 1),
            (
                [
                    read,
                    minhash.MinhashDedupFilter(f"{name}/ids"),
                    writers.JsonlWriter(f"{name}/out", compression=None),
                ],
                1,
            ),
        ]
        with contextlib.redirect_stderr(io.StringIO()):
            for number, (pipeline, tasks) in enumerate(steps):
                executor(pipeline, tasks=tasks, workers=1, logging_dir=f"{name}/log{number}").run()
        kept = {int(json.loads(line)["id"]) for file in (folder / "out").glob("*.jsonl") for line in file.open()}
    return set(range(len(texts))) - kept


FINDERS: dict[str, Callable[[Any, Sequence[str]], set[int]]] = {
    "datasketch": _datasketch,
    "datatrove": _datatrove,
    "gaoya": _gaoya,
    "rensa": _rensa,
}


def finder(name: str, module: Any) -> Find:
    """Returns what finds near duplicates with the library `name`, imported as `module`."""
    return functools.partial(FINDERS[name], module)
