"""`gristlm report`: the one-file report of a run, or a live one in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristlm.cli.verb import verb, wrote
from gristlm.errors import MissingArtifactError, missing_extra


@verb
def report(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, finished or not.")],
    serve: Annotated[bool, typer.Option("--serve", help="Show it live in the browser instead.")] = False,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A further name that it may be asked under; repeatable.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8002,
) -> None:
    """Write RUN/report.html: data card, curves, samples side by side, time and memory; one self-contained file.

    With --serve, print the URL of a live report with a one-time token instead; there, a step shows its documents.
    """
    if serve:
        _serve(path, host, tuple(allow_host or ()), port)
        return
    from gristlm.runs.report import write_report

    wrote(write_report(path))


def _serve(path: Path, host: str, allow_hosts: tuple[str, ...], port: int) -> None:
    from gristlm.cli.trace import batches

    try:
        import torch

        from gristlm.serve.listen import listen
        from gristlm.serve.live_samples import LiveSamples
        from gristlm.serve.report import create_app
        from gristlm.serve.security import Access
        from gristlm.serve.sessions import FileSessions, session_file
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "fastapi", "serve") from error
    if not path.is_dir():
        raise MissingArtifactError(f"{path} is not a directory; give the directory of a run")
    sessions = FileSessions(session_file("report", [path]))
    access = Access(hosts=(host, *allow_hosts), sessions=sessions, csrf_key=sessions.csrf_key)
    torch.set_num_threads(1)  # the run itself may be training beside us
    samples = LiveSamples(path)
    samples.start()
    try:
        listen(
            create_app(path, access, lambda: batches(path), samples.rows),
            host,
            port,
            lambda url: print(f"report of {path} at {url}/?token={access.token}", flush=True),
        )
    finally:
        samples.close()
