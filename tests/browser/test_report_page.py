"""The live report in a real browser: it follows the run, and a step shows its documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pq = pytest.importorskip("pyarrow.parquet")

import pyarrow as pa  # noqa: E402

from gristlm.serve.live_samples import Sample  # noqa: E402
from gristlm.serve.report import create_app  # noqa: E402
from gristlm.serve.security import Access  # noqa: E402

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror='window.hacked = 1'>"


class Batch:
    cu_seqlens = np.array([0, 30, 40], np.int32)
    document_ids = (HOSTILE, "d2")


def log(run: Path, steps: int) -> None:
    rows = [{"step": step, "loss": 5 / step, "bits_per_byte": 3 / step} for step in range(1, steps + 1)]
    (run / "pretrain" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_it_follows_the_run_and_a_step_shows_its_documents(opened: Any, start_server: Any, tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "documents").mkdir()
    rows = [
        {"id": HOSTILE, "source": HOSTILE, "uri": "u", "licence": "CC-BY-4.0"},
        {"id": "d2", "source": "notes", "uri": "v", "licence": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "documents" / "train-00000.parquet")
    log(tmp_path, 3)
    access = Access()
    said: list[Sample] = []
    server = start_server(create_app(tmp_path, access, lambda: (lambda step: Batch(), 9), lambda: said), access)
    assert server.client.get("/api/step/1").status_code == 401
    with opened(expected=" 404 ") as page:
        page.goto(f"{server.url}/?token={access.token}")
        points = page.locator("#curves figure").first.locator("circle.hit")
        assert points.count() == 3
        page.get_by_text("Live: drawn anew").wait_for()
        log(tmp_path, 6)
        page.wait_for_function("() => document.querySelector('#curves figure').querySelectorAll('.hit').length === 6")
        assert page.locator("#live-samples").is_hidden()
        said.append(Sample("pretrain", 6, "The", HOSTILE))
        page.get_by_role("heading", name="pretrain, step 6: The").wait_for()
        assert page.locator("#live-sample-list pre").text_content() == HOSTILE
        points.nth(4).click()
        page.get_by_role("status").filter(has_text="Step 5: 2 documents, 40 tokens").wait_for()
        page.get_by_role("cell", name="CC-BY-4.0").wait_for()
        assert page.locator("#step-documents td").first.text_content() == HOSTILE
        page.get_by_label("Step", exact=True).fill("99")
        page.get_by_role("button", name="Show its documents").click()
        page.get_by_role("status").filter(has_text="this run has 9").wait_for()
        assert page.evaluate("window.hacked") is None
