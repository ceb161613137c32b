"""The report of a run in the browser, drawn anew while the run goes on; a step's documents on request."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from starlette.types import ASGIApp

from gristlm.errors import MissingArtifactError
from gristlm.runs.lineage import BatchAt, trace_step
from gristlm.runs.report.page import STYLE, live
from gristlm.runs.report.run_files import read_run
from gristlm.serve.pages import add_errors, add_files
from gristlm.serve.security import Access, Guard, refusal

if TYPE_CHECKING:
    from gristlm.serve.live_samples import Sample

Batches = Callable[[], tuple[BatchAt, int]]


Samples = Callable[[], "Sequence[Sample]"]


def create_app(run: Path, access: Access, batches: Batches, samples: Samples = tuple) -> ASGIApp:
    """Returns the application that shows `run`.

    Args:
        run: a run directory, finished or not.
        access: who may look.
        samples: gives what the newest checkpoints said.
        batches: gives what makes a pretraining step's batch again and the number of steps; asked at the first step.
    """
    app = FastAPI(title="gristlm report", docs_url=None, redoc_url=None, openapi_url=None)
    add_errors(app)
    add_files(app, "report.js", "page.js")
    one_at_a_time = threading.Lock()
    made: list[tuple[BatchAt, int]] = []

    @app.exception_handler(MissingArtifactError)
    async def _missing(_: Request, error: MissingArtifactError) -> Response:
        return refusal(404, str(error))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/", response_model=None)
    def page() -> Response:
        return HTMLResponse(live(read_run(run)).encode("utf-8", "replace"))

    @app.get("/report.css", response_model=None)
    def style() -> Response:
        return FileResponse(STYLE, media_type="text/css; charset=utf-8")

    @app.get("/api/version")
    def version() -> dict[str, str]:
        said = samples()
        return {"version": _version(run), "samples": f"{len(said)} {said[0].stage} {said[0].step}" if said else ""}

    @app.get("/api/samples")
    def said() -> dict[str, object]:
        return {"samples": [dataclasses.asdict(one) for one in samples()]}

    @app.get("/api/step/{step}", response_model=None)
    def documents(step: int) -> Response | dict[str, object]:
        with one_at_a_time:
            if not made:
                made.append(batches())
            batch_at, steps = made[0]
            if not 1 <= step <= steps:
                return refusal(404, f"step {step}: this run has {steps:,} pretraining steps, from 1")
            rows = trace_step(run, step, batch_at)
        return {"step": step, "documents": [dataclasses.asdict(row) for row in rows]}

    return Guard(app, access)


def _version(run: Path) -> str:
    """Returns what changes when a file that the report reads does."""
    files = [*run.glob("*/manifest.json"), *run.glob("*/metrics.jsonl"), *run.glob("evaluate/*.json")]
    newest = max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)
    return f"{len(files)}-{newest}"
