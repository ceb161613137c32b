"""The figures of the progress bar: documents and megabytes a second, dropped, and the time that is left."""

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from gristlm.collect import CollectConfig, run
from gristlm.collect.document import Drop
from gristlm.collect.pace import Pace
from gristlm.collect.report import Tally
from gristlm.runs import progress


class Reading:
    """A reader at 300 MB of 1.5 GB, of which 100 MB were read by an earlier call."""

    skipped_bytes = 100_000_000

    def size(self) -> int:
        return 1_500_000_000

    def position(self) -> int:
        return 300_000_000


def test_rates_are_of_this_call_and_the_end_is_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    before = Tally(0)
    before.count("a", "found", "", 60_000_000, 500)
    pace = Pace(Reading(), before)  # type: ignore[arg-type]
    now[0] += 20.0
    batch = Tally(0)
    batch.count("a", "found", "", 40_000_000, 1500)
    batch.drop_found(Drop("a", "uri", "empty"))
    assert (pace.total, pace.done) == (1500, 300)
    assert pace.figures(before, batch) == {
        "documents": "2,000", "documents/s": "75", "MB/s": "2.0", "dropped": "1", "ETA": "0:02:00",
    }  # fmt: skip
    assert pace.due()
    assert not pace.due()


def test_a_run_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [json.dumps({"text": f"Row {number} tells of mill {number * 7}. " * 40}) for number in range(3000)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\nno JSON\n")
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0.0)
    progress.enable()
    try:
        run(CollectConfig(sources=[str(tmp_path / "rows.jsonl")], memory="64MB"), {}, tmp_path / "out")
    finally:
        progress.enable(False)
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  collect: ")]
    for figure in ("MB of input", "documents ", "documents/s ", "MB/s ", "dropped ", "ETA "):
        assert all(figure in line for line in shown)
    assert "dropped 1 " in shown[-1]
