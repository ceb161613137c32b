"""A full disk: the error says so, what was complete stays, and the same call then ends as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from gristlm.collect import CollectConfig, run

SCRIPT = """
import resource, signal, sys
from pathlib import Path
from gristlm.collect import CollectConfig, run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
run(CollectConfig(sources=[sys.argv[1]], memory="64MB"), {}, Path(sys.argv[2]))
"""


def test_a_disk_that_fills_up_is_named_and_the_call_goes_on_later(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    rows = [f"Row {number}: " + " ".join(str(number * at) for at in range(200)) for number in range(3000)]
    source.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    run(CollectConfig(sources=[str(source)], memory="64MB"), {}, tmp_path / "whole")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "StorageError" in done.stderr
    assert "cannot write" in done.stderr
    assert not (tmp_path / "out/manifest.json").exists()
    run(CollectConfig(sources=[str(source)], memory="64MB"), {}, tmp_path / "out")
    logs = ("manifest.json", "metrics.jsonl", "started.json")
    one, other = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir() if file.name not in logs}
        for name in ("whole", "out")
    )
    assert one == other
