"""Ray against one process, byte for byte, a killed worker included."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ray")
import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.collect import CollectConfig, run
from gristlm.errors import ConfigError

pytestmark = pytest.mark.extras
SCRIPT = """
import os, signal, sys
from pathlib import Path
from gristlm.collect import CollectConfig, run, signing, spread
spread.SPAN_UNITS, spread.SPAN_BYTES = 20, 1_000_000
output, killing_all = sys.argv[2:]


caller = os.getpid()


def dies_once(function):
    def work(job):
        if not os.path.exists(mark := f"{output}.{function.__name__}"):
            open(mark, "w").close()
            os.kill(caller if function.__name__ == killing_all else os.getpid(), signal.SIGKILL)
        return function(job)

    work.__name__ = function.__name__
    return work


signing._sign, signing._group = dies_once(signing._sign), dies_once(signing._group)
run(CollectConfig(sources=[sys.argv[1]], num_threads=2, heldout_fraction=0.1), {}, Path(output), ray="local")
"""


def content(path: Path) -> dict[str, bytes]:
    logs = ("manifest.json", "metrics.jsonl", "started.json")
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name not in logs}


def kill_a_worker(mark: str) -> bool:
    """Kills one worker of ours (told by its environment) that reads a span."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark.encode() in (process / "environ").read_bytes()
            if ours and (process / "cmdline").read_bytes().startswith(b"ray::Map"):
                os.kill(int(process.name), signal.SIGKILL)
                return True
        except OSError:
            continue
    return False


def ray(source: Path, output: Path, killing_all: str, mark: str) -> subprocess.Popen[bytes]:
    """Starts the script; the first job called `killing_all` kills the whole run, those of other names their worker."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(source), str(output), killing_all],
        env={**os.environ, "GRISTLM_MARK": mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts with copies and near copies, two of them large files of rows, and the result of one process in `one`."""
    folder = tmp_path_factory.mktemp("ray")
    source = folder / "in"
    source.mkdir()
    for number in range(100):
        lines = [f"Mill {number * 31 + line} grinds barley of {line * number % 97} farms." for line in range(2000)]
        (source / f"{number:03d}.txt").write_text("\n\n".join(lines))
    for number in range(0, 100, 3):
        text = (source / f"{number:03d}.txt").read_text()
        (source / f"near-{number}.txt").write_text(text.replace("Mill", "Windmill", 20))
        (source / f"same-{number}.txt").write_text(text)
    rows = [f"Row {number} tells of mill {number * 31} and its {number % 97} farms. " * 4 for number in range(12_000)]
    pq.write_table(pa.table({"text": rows}), source / "large.parquet", compression="none", use_dictionary=False)
    (source / "large.jsonl").write_text("".join(json.dumps({"text": f"A line. {row}"}) + "\n" for row in rows))
    (source / "bad.jsonl").write_text('{"text": "A row about wells."}\nno JSON\n')
    run(CollectConfig(sources=[str(source)], num_threads=2, heldout_fraction=0.1), {}, folder / "one")
    report = json.loads((folder / "one/report.json").read_bytes())
    assert report["total"]["dropped"]["near duplicate"]["documents"] >= 34
    return source


def test_a_cluster_that_loses_workers_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    mark = f"gristlm-{uuid.uuid4()}"
    process = ray(source, tmp_path / "ray", "", mark)
    killed = False
    while process.poll() is None and not killed:
        killed = kill_a_worker(mark)
        time.sleep(0.02)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()[-2000:]
    assert killed
    assert all((tmp_path / f"ray.{name}").exists() for name in ("_sign", "_group"))
    assert content(tmp_path / "ray") == content(source.parent / "one")


def test_a_run_that_was_killed_goes_on_from_what_was_signed(source: Path, tmp_path: Path) -> None:
    mark = f"gristlm-{uuid.uuid4()}"
    process = ray(source, tmp_path / "ray", "_group", mark)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    [signed] = tmp_path.glob("ray/fingerprints/bands-*.bin")
    plan = json.loads((tmp_path / "ray/spread/plan.json").read_text())
    assert sum(bool(part) for *_, part in plan) >= 5  # of both large files, each of which is one unit
    before = signed.stat().st_ino
    again = os.open(signed, os.O_RDONLY)  # its inode is not given to another file while it is open
    process = ray(source, tmp_path / "ray", "", mark)
    found = {before}
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):  # removed at the end
            found.add(signed.stat().st_ino)
        time.sleep(0.01)
    assert found == {before}
    os.close(again)
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()[-2000:]
    assert content(tmp_path / "ray") == content(source.parent / "one")


def test_what_needs_one_reader_is_refused(tmp_path: Path) -> None:
    config = CollectConfig(sources=[str(tmp_path)], max_bytes_per_source=10)
    with pytest.raises(ConfigError, match="one reader"):
        run(config, {}, tmp_path / "out", ray="local")
