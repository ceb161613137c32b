"""Near duplicates on Ray Data: workers sign the documents and find what shares a band, with the result of one machine.

No process holds all signatures: each shard's lie in a file of their own, parted by the first byte of the band's key,
and a worker reads one such part of all files at a time. Verifying the candidates stays with the caller, whose
`dedup.minhash` finds these files, checks that they are of its texts, and goes on from them.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristlm import dedup
from gristlm.collect import mapped
from gristlm.collect.cluster import Job, Workers
from gristlm.errors import GristlmError
from gristlm.runs.files import atomic_path

_POSITIONS = "positions.npy"
_PARTITIONS = 32  # that one job groups


def sign_on_ray(parts: Mapping[Path, int], positions: npt.NDArray[np.int64], folder: Path, workers: Workers) -> None:
    """Leaves in `folder` all that `dedup.minhash` lays there before it verifies.

    Args:
        parts: Arrow files with all N documents, and how many each has; in reach of all workers, as is `folder`.
        positions: int64[N]: of each document in the order of all, -1 for an exact copy.
        folder: where the files go.
        workers: of the cluster.

    Raises:
        InputError: a worker could not go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / _POSITIONS) as path, path.open("wb") as file:
        np.save(file, positions)
    shards = -(-len(positions) // dedup.SHARD_TEXTS)
    where = str(folder.absolute())
    names, starts = [str(part.absolute()) for part in parts], list(itertools.accumulate(parts.values(), initial=0))
    jobs: list[Job] = []
    for shard, first in enumerate(range(0, len(positions), dedup.SHARD_TEXTS)):
        here = bisect.bisect_right(starts, first) - 1
        end = bisect.bisect_left(starts, first + dedup.SHARD_TEXTS)
        jobs.append({"folder": where, "shard": shard, "parts": names[here:end], "start": starts[here]})
    workers.run("sign", _sign, jobs)
    firsts = range(0, dedup.PARTITIONS, _PARTITIONS) if shards else ()
    workers.run("group", _group, [{"folder": where, "shards": shards, "first": first} for first in firsts])


def _sign(job: Job) -> Job:
    """Signs one shard, on a worker."""
    folder, shard = Path(job["folder"]), int(job["shard"])
    start = shard * dedup.SHARD_TEXTS
    positions = np.load(folder / _POSITIONS, mmap_mode="r")[start : start + dedup.SHARD_TEXTS]
    try:
        with mapped.tables([Path(part) for part in job["parts"]]) as tables:
            texts = pa.concat_tables(tables).column("text").slice(start - int(job["start"]), len(positions))
            dedup.sign_shard(texts, np.array(positions), shard, folder, num_threads=1)
    except GristlmError as error:
        return {"error": str(error)}
    return {}


def _group(job: Job) -> Job:
    """Groups some partitions, on a worker."""
    first = int(job["first"])
    try:
        dedup.group_partitions(
            range(first, first + _PARTITIONS), int(job["shards"]), Path(job["folder"]), num_threads=1
        )
    except GristlmError as error:
        return {"error": str(error)}
    return {}
