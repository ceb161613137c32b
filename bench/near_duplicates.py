"""Near duplicates among millions of documents: time, peak memory, disk, recall, and the same result with any memory.

`python bench/near_duplicates.py --documents 10_000_000 --memory 2GB 200MB`: makes documents of 83 random words (498
bytes each), every tenth a copy of an earlier one with a run of `r` words replaced, so that its Jaccard similarity of
word 5-grams is known: (75 - r) / (83 + r). Each memory and number of threads is a process of its own, whose anonymous
memory is looked at fifty times a second (the text is a mapped file; its pages are the system's), and which is given a
quarter of the memory for `dedup.minhash`, as `gristlm collect` does. What is dropped is checked against what is known
before a figure is printed; the results of all processes must be equal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristlm import dedup
from gristlm.collect import mapped
from gristlm.collect.config import size_in_bytes

WORDS, LETTERS = 83, 5
CHUNK = 100_000
REPLACED = (1, 2, 3, 4, 5, 7, 9)  # words; Jaccard 0.881, 0.859, 0.837, 0.815, 0.795, 0.756, 0.717
THRESHOLD = 0.8
BANDS, ROWS = 14, 8


def similarity(replaced: int) -> float:
    """Returns the similarity of a copy with so many words in a row replaced, none of them at an end."""
    return (75 - replaced) / (83 + replaced)


def write(path: Path, documents: int) -> npt.NDArray[np.int8]:
    """Writes the documents as one Arrow file; returns int8[documents]: words replaced, 0 for one that is no copy."""
    rng = np.random.default_rng(0)
    replaced = np.zeros(documents, dtype=np.int8)
    schema = pa.schema({"text": pa.large_string()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, documents, CHUNK):
            count = min(CHUNK, documents - start)
            letters = rng.integers(ord("a"), ord("z") + 1, (count, WORDS, LETTERS + 1), dtype=np.uint8)
            letters[:, :, LETTERS] = ord(" ")
            copies = np.arange(9, count, 10)
            for at, copy in enumerate(copies):
                run = REPLACED[at % len(REPLACED)]
                first = int(rng.integers(5, WORDS - run - 5))
                new = letters[copy, first : first + run].copy()
                letters[copy] = letters[copy - 1 - at % 8]
                letters[copy, first : first + run] = new
                replaced[start + copy] = run
            size = WORDS * (LETTERS + 1)
            offsets = pa.py_buffer(np.arange(count + 1, dtype=np.int64) * size)
            texts = pa.LargeStringArray.from_buffers(count, offsets, pa.py_buffer(letters))
            writer.write_batch(pa.record_batch([texts], schema=schema))
    return replaced


def anonymous_bytes() -> int:
    """Returns the memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


class Watch:
    """The peaks of memory and of a folder's size."""

    def __init__(self, folder: Path) -> None:
        """Looks until `stop`."""
        self.memory = self.disk = 0
        self._folder, self._done = folder, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        looks = 0
        while not self._done.wait(0.02):
            self.memory = max(self.memory, anonymous_bytes())
            if looks % 50 == 0:
                self.disk = max(self.disk, sum(file.stat().st_size for file in list(self._folder.glob("*.bin"))))
            looks += 1

    def stop(self) -> None:
        """Ends it."""
        self._done.set()
        self._thread.join()


def measure(path: Path, memory: int, threads: int, result: Path) -> None:
    """Runs one setting in this process; writes the twins and prints the figures as JSON."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, mapped.tables([path]) as [table]:
        watch = Watch(Path(folder))
        wall, cpu = time.perf_counter(), time.process_time()
        found = dedup.minhash(
            table["text"], threshold=THRESHOLD, num_threads=threads, memory=memory // 4, folder=folder
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        watch.stop()
    np.save(result, found.twin)
    digest = hashlib.sha256(found.twin.tobytes() + found.similarity.tobytes()).hexdigest()
    figures = {"wall": wall, "cpu": cpu, "memory": watch.memory, "disk": watch.disk, "digest": digest}
    print(json.dumps(figures))


def check(twin: npt.NDArray[np.int64], replaced: npt.NDArray[np.int8]) -> list[str]:
    """Returns a line on each similarity: found and expected share.

    Raises:
        AssertionError: something else than a copy above the threshold was dropped, or far fewer were than theory says.
    """
    dropped = twin >= 0
    assert not dropped[replaced == 0].any(), "a document that is no copy was dropped"
    lines = []
    for run in REPLACED:
        these = dropped[replaced == run]
        expected = 1 - (1 - similarity(run) ** ROWS) ** BANDS if similarity(run) >= THRESHOLD else 0.0
        assert abs(these.mean() - expected) <= 5 * (expected * (1 - expected) / len(these)) ** 0.5 + 1e-9, (
            run,
            these.mean(),
        )
        shares = f"{these.mean():.4f} found, {expected:.4f} expected"
        lines.append(f"  {run} words replaced, similarity {similarity(run):.3f}: {shares}")
    return lines


def main() -> None:
    """Runs every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--memory", nargs="+", default=["2GB"], help="limits, such as 200MB 2GB")
    parser.add_argument("--threads", nargs="+", type=int, default=[os.cpu_count() or 1])
    parser.add_argument(
        "--folder", type=Path, help="where the documents and the spilled files lie (default: temporary)"
    )
    parser.add_argument(
        "--one", nargs=4, help=argparse.SUPPRESS
    )  # path, memory, threads, result: in a process of its own
    given = parser.parse_args()
    if given.one:
        path, memory, threads, result = given.one
        return measure(Path(path), int(memory), int(threads), Path(result))
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path, result = Path(folder, "documents.arrow"), Path(folder, "twin.npy")
        replaced = write(path, given.documents)
        size = given.documents * WORDS * (LETTERS + 1)
        print(f"{given.documents:,} documents, {size / 1e9:.2f} GB, {(replaced > 0).sum():,} of them copies")
        digests = set()
        for memory in given.memory:
            for threads in given.threads:
                command = [
                    sys.executable,
                    __file__,
                    "--one",
                    str(path),
                    str(size_in_bytes(memory)),
                    str(threads),
                    str(result),
                ]
                figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                lines = check(np.load(result), replaced)
                digests.add(figures["digest"])
                print(
                    f"memory {memory}, {threads} threads: {figures['wall']:.1f} s, {figures['cpu']:.1f} CPU s,"
                    f" {size / 1e6 / figures['cpu']:.0f} MB per CPU second; peak {figures['memory'] / 1e6:,.0f} MB,"
                    f" disk {figures['disk'] / 1e9:.2f} GB"
                )
        print("\n".join(lines))
        assert len(digests) == 1, "the results differ"
        print("all results are equal")
    return None


if __name__ == "__main__":
    main()
