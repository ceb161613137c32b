"""What `collect` spends outside extraction: a WARC of real pages, JSON Lines under Zstandard, Parquet; MB per second.

`python bench/collecting.py FOLDER`: a folder of `.html` files (any depth), of which a WARC is made; rows are made of
the texts of those pages. One core: pin the process (`taskset -c 0`).

* WARC: the processor time of the stage outside its own calls of `extract_text`; the first run imports libraries too.
  The same under gzip, a member for each record; and reading both into pages, without extraction, beside FastWARC alone.
* JSON Lines: rows into documents, against `json.loads` of each line alone. Parquet: against pyarrow alone, rows that
  are pages and rows that are lines.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastwarc.warc import ArchiveIterator, WarcRecordType

import gristlm
from gristlm.collect import CollectConfig, run
from gristlm.collect.document import Rows, Task
from gristlm.collect.files import warc
from gristlm.collect.reader import Place, Reader
from gristlm.collect.sources import from_config

_MB = 1e6


def pages_of(folder: Path, most: int) -> list[bytes]:
    """Returns pages of the folder, in the order of their names, up to `most` bytes."""
    pages, size = [], 0
    for path in sorted(each for each in folder.rglob("*.html") if each.is_file()):
        page = path.read_bytes()
        if size + len(page) > most:
            break
        pages.append(page)
        size += len(page)
    return pages


def write_warc(pages: list[bytes], path: Path) -> None:
    """Writes the pages as the responses of one WARC; beside it, ending in `.gz`, one with each record packed."""
    with path.open("wb") as plain, path.with_name(f"{path.name}.gz").open("wb") as packed:
        for number, page in enumerate(pages):
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
                f"WARC-Target-URI: https://pages.example.org/{number}.html\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
            )
            record = head.encode() + http + b"\r\n\r\n"
            plain.write(record)
            packed.write(gzip.compress(record))


def read_pages(path: Path) -> int:
    """Reads a web archive into pages that are not extracted yet; returns their number."""
    [source] = from_config(CollectConfig(sources=[str(path)]), path.parent / "none")
    return sum(isinstance(entry, Task) for unit in source.units() for entry in unit.read())


def fastwarc_pages(path: Path) -> int:
    """Does the same with FastWARC alone."""
    records = ArchiveIterator(str(path), record_types=WarcRecordType.response, parse_http=True)
    return sum(len(record.reader.read(record.content_length)) > 0 for record in records)


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Returns seconds of wall clock and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def outside_extraction(source: Path, out: Path) -> tuple[float, float]:
    """Collects a WARC; returns the processor time of all, and of what is not the extraction of its pages."""
    inside, extract = 0.0, warc.extract_text

    def timing(*arguments: Any) -> Any:
        nonlocal inside
        started = time.process_time()
        try:
            return extract(*arguments)
        finally:
            inside += time.process_time() - started

    warc.extract_text = timing
    try:
        _, cpu = timed(lambda: collect(source, out))
    finally:
        warc.extract_text = extract
    return cpu, cpu - inside


def collect(source: Path, out: Path) -> None:
    """Runs the stage on one thread, without the steps that other benchmarks time."""
    run(
        CollectConfig(
            sources=[str(source)], num_threads=1, rules=[], near_duplicate_threshold=None, heldout_fraction=0.0
        ),
        {},
        out,
    )


def show(name: str, size: float, seconds: float, note: str) -> None:
    """Prints one row."""
    print(f"{name:52}{size / _MB:10.0f} MB{seconds:9.2f} s{size / _MB / seconds:9.0f} MB/s  {note}", flush=True)


def rows_of(pages: list[bytes]) -> Iterator[dict[str, str]]:
    """Yields a row of each page that has a text."""
    for number, page in enumerate(pages):
        found = gristlm.extract_text(page)
        if found is not None:
            yield {"text": found.text, "url": f"https://pages.example.org/{number}.html"}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="a folder with .html files")
    parser.add_argument("--megabytes", type=int, default=137, help="of HTML in the WARC")
    arguments = parser.parse_args()
    pages = pages_of(arguments.folder, arguments.megabytes * 1_000_000)
    size = sum(map(len, pages))
    print(f"{len(pages):,} pages")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        write_warc(pages, root / "pages.warc")
        extracting, _ = timed(lambda: [gristlm.extract_text(page) for page in pages])
        show("extract_text alone", size, extracting, f"{len(pages) / extracting:.0f} pages/s")
        for name in ("pages.warc", "pages.warc.gz"):
            for round_ in range(4):
                cpu, outside = outside_extraction(root / name, root / f"{name}{round_}")
                show(f"collect, {name}", size, cpu, f"{outside / cpu:.1%} outside extraction")
            readers = {"read into pages": read_pages, "FastWARC alone": fastwarc_pages}
            best = dict.fromkeys(readers, float("inf"))
            for _ in range(5):
                assert {read_it(root / name) for read_it in readers.values()} == {len(pages)}
                for reader, read_it in readers.items():
                    best[reader] = min(best[reader], timed(functools.partial(read_it, root / name))[1])
            for reader, seconds in best.items():
                show(f"{name}, {reader}", size, seconds, "")

        rows = list(rows_of(pages))
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        text = "\n".join(lines).encode()
        with pa.CompressedOutputStream(str(root / "rows.jsonl.zst"), "zstd") as out:
            out.write(text)
        alone, _ = timed(lambda: [json.loads(line) for line in text.splitlines()])
        show("json.loads alone", len(text), alone, "")
        wall, cpu = timed(lambda: read(root / "rows.jsonl.zst"))
        show("JSONL.zst, read into documents", len(text), wall, f"{cpu:.1f} s of CPU")
        wall, cpu = timed(lambda: collect(root / "rows.jsonl.zst", root / "jsonl"))
        show("JSONL.zst, collect", len(text), wall, f"{cpu:.1f} s of CPU")
        parquet("pages", rows, root)
        lines = [line for row in rows for line in row["text"].splitlines() if len(line) > 20]
        parquet(
            "lines", [{"text": f"{n}. {line}", "url": f"https://example.org/{n}"} for n, line in enumerate(lines)], root
        )


def parquet(name: str, rows: list[dict[str, str]], root: Path) -> None:
    """Prints how fast a Parquet file of rows is read, beside pyarrow, the best of five in turns, and collected."""
    path, size = root / f"{name}.parquet", sum(len(value.encode()) for row in rows for value in row.values())
    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    works: dict[str, Callable[[], Any]] = {
        "pyarrow.parquet.read_table": lambda: pq.read_table(path, use_threads=False),
        "and its texts to_pylist": lambda: pq.read_table(path, use_threads=False)["text"].to_pylist(),
        "read into documents": lambda: read(path),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(5):
        for work in works:
            best[work] = min(best[work], timed(works[work])[0])
    for work, seconds in best.items():
        show(f"Parquet, {name}, {work}", size, seconds, f"{seconds / len(rows) * 1e6:.2f} us a row")
    _, cpu = timed(lambda: collect(path, root / name))
    show(f"Parquet, {name}, collect", size, cpu, f"{cpu / len(rows) * 1e6:.1f} us of CPU a row, {len(rows):,} rows")


def read(path: Path) -> int:
    """Reads a source to its end; returns its documents."""
    config = CollectConfig(sources=[str(path)])
    sources = from_config(config, path.parent / "none")
    reader = Reader(sources, Place(), limit=None, num_threads=1, max_bytes=config.batch_bytes)
    return sum(len(item.ids) if isinstance(item, Rows) else 1 for item in reader.items())


if __name__ == "__main__":
    main()
