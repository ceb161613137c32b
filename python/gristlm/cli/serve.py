"""`gristlm serve`: an API that existing clients speak, and a chat page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gristlm.cli.verb import verb
from gristlm.errors import missing_extra
from gristlm.runs.layout import find_checkpoint


@verb
def serve(
    checkpoints: Annotated[list[Path], typer.Argument(metavar="CHECKPOINT...", help="Checkpoint or run directories.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A further name that it may be asked under; repeatable.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    feedback: Annotated[
        Path, typer.Option("--feedback", metavar="DIR", help="Folder for the judgements given on the chat page.")
    ] = Path("feedback"),
) -> None:
    """Serve checkpoints: an OpenAI-compatible API at /v1, and a page to chat on.

    Prints the page's URL with a one-time token; the same token is the API key.
    """
    try:
        from gristlm.serve.app import create_app
        from gristlm.serve.engine import Engine
        from gristlm.serve.feedback import Feedback
        from gristlm.serve.listen import listen
        from gristlm.serve.security import Access
        from gristlm.serve.sessions import FileSessions, session_file
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "fastapi", "serve") from error
    engines: dict[str, Engine] = {}
    for given in checkpoints:
        path = find_checkpoint(given)
        name = path.parent.resolve().name if path.name == "final" else path.resolve().name
        free, number = name, 2
        while free in engines:
            free, number = f"{name}-{number}", number + 1
        engines[free] = Engine(free, path)
    sessions = FileSessions(session_file("serve", checkpoints))
    access = Access(hosts=(host, *(allow_host or ())), sessions=sessions, csrf_key=sessions.csrf_key)

    def announce(url: str) -> None:
        print(f"serving {', '.join(engines)} at {url}/?token={access.token}", flush=True)

    try:
        listen(create_app(engines, access, Feedback(feedback)), host, port, announce)
    finally:
        for engine in engines.values():
            engine.close()
