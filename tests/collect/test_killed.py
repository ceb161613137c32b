"""`kill -9` while each kind of source is read: the same call then ends with the same bytes, nothing twice or lost.

One child per kill, which kills itself at a stated write, so that no clock decides where.
"""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristlm.collect import CollectConfig, run
from gristlm.collect import batch as batches
from gristlm.runs import artifact

PLACES = "harbour market orchard chapel bridge lighthouse quarry library foundry meadow".split()  # noqa: SIM905
KILLS = ("part-00001.arrow", "part-00003.json", "train-00000.parquet")
KILLED = """
import os, signal, sys
from pathlib import Path
from gristlm.collect import CollectConfig, batch, gather, run, shards

batch.MAX_BATCH_ITEMS = 4
out, kills = Path(sys.argv[2]), sys.argv[3:]

def dies(function, kill):
    import contextlib
    @contextlib.contextmanager
    def atomic(path, *rest):
        with function(path, *rest) as temporary:
            yield temporary
            if path.name == kill:  # written, not yet renamed
                os.kill(os.getpid(), signal.SIGKILL)
    return atomic

def dies_after(function, kill):
    def write(path, value):
        function(path, value)
        if path.name == kill:
            os.kill(os.getpid(), signal.SIGKILL)
    return write

for kill in kills:
    child = os.fork()
    if not child:
        gather.atomic_path = shards.atomic_path = dies(shards.atomic_path, kill)
        gather.write_json = dies_after(gather.write_json, kill)
        run(CollectConfig(sources=[sys.argv[1]], num_threads=2), {}, out)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(kill, os.WTERMSIG(status) if os.WIFSIGNALED(status) else "ended", flush=True)
"""


def prose(number):
    place, other = PLACES[number % 10], PLACES[number // 10 % 10]
    return "".join(
        f"Line {number * 31 + line}: the keeper of the {place} walked {number + line} miles to the {other} at dawn.\n"
        for line in range(8)
    )


def members():
    return [(f"m{number:02d}.txt", prose(number).encode()) for number in range(24)]


def rows():
    return "".join(json.dumps({"text": prose(number)}) + "\n" for number in range(24)).encode() + b'{"broken\n'


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 1, 12, 0, 0)), content)
    return buffer.getvalue()


def tarred(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def warc():
    packed = b""
    for number in range(24):
        body = f"<html><body><main><h1>Page {number}</h1><p>{prose(number)}</p></main></body></html>".encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        head = (
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2024-05-01T12:00:00Z\r\n"
            f"WARC-Record-ID: <urn:uuid:{number:032d}>\r\nWARC-Target-URI: https://example.org/{number}\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
        )
        packed += gzip.compress(head.encode() + http + b"\r\n\r\n")
    return packed


def parquet():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [prose(number) for number in range(24)]}), buffer, row_group_size=5)
    return buffer.getvalue()


SOURCES = {
    "texts.tar.gz": lambda: tarred([*members(), ("inner.zip", zipped([("a.txt", prose(77).encode())]))]),
    "nested.zip": lambda: zipped([("a.tar.gz", tarred(members()[:12])), ("rows.jsonl", rows()), *members()[20:]]),
    "pages.warc.gz": warc,
    "rows.jsonl.gz": lambda: gzip.compress(rows()),
    "rows.parquet": parquet,
}


def content(path):
    changing = ("manifest.json", "metrics.jsonl", "started.json")
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name not in changing}


@pytest.mark.parametrize("name", SOURCES)
def test_killed_at_any_write_it_ends_with_the_same_bytes(tmp_path, name, monkeypatch):
    if name.endswith("warc.gz"):
        pytest.importorskip("fastwarc")
    source = tmp_path / name
    source.write_bytes(SOURCES[name]())
    os.utime(source, (1_700_000_000, 1_700_000_000))
    config = CollectConfig(sources=[str(source)], num_threads=2)
    run(config, {}, tmp_path / "whole")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(source), str(tmp_path / "cut"), *KILLS], capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:3] == [f"{kill} {int(signal.SIGKILL)}" for kill in KILLS], done.stderr
    assert not artifact.is_complete(tmp_path / "cut")
    monkeypatch.setattr(batches, "MAX_BATCH_ITEMS", 4)
    run(config, {}, tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    kept = [pq.read_table(file)["id"].to_pylist() for file in (tmp_path / "cut").glob("[th]*-0*.parquet")]
    ids = [each for part in kept for each in part]
    report = json.loads((tmp_path / "cut/report.json").read_text())["total"]
    assert len(ids) == len(set(ids)) == report["kept"]["documents"]
    dropped = sum(count["documents"] for count in report["dropped"].values())
    assert report["found"]["documents"] == len(ids) + dropped >= 16
