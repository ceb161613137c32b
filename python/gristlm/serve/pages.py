"""The pages and their files: no template engine, no build step, nothing from elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse
from starlette.exceptions import HTTPException

from gristlm.errors import InputError
from gristlm.serve.security import Access, cookie_name, refusal, set_cookie

FOLDER = Path(__file__).parent / "page"
CSRF_PLACE = "{csrf_token}"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def add_page(app: FastAPI, access: Access, path: str, name: str, title: str, *, style: str) -> None:
    """Serves `page/NAME.html` with `page/NAME.js` and `page/style` at `path`.

    The browser's CSRF token stands in its `<meta name="csrf-token">`.
    """
    body = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
    text = (FOLDER / "frame.html").read_text(encoding="utf-8")
    for place, value in (("title", title), ("style", style), ("script", f"{name}.js"), ("body", body)):
        text = text.replace(f"{{{place}}}", value)

    async def page(request: Request) -> Response:
        browser = request.cookies.get(cookie_name("browser", request)) or secrets.token_urlsafe(24)
        response = HTMLResponse(text.replace(CSRF_PLACE, access.csrf_token(browser)))
        set_cookie(request, response, "browser", browser)
        return response

    app.add_api_route(path, page, methods=["GET"], response_model=None)


def add_files(app: FastAPI, *names: str) -> None:
    """Serves each of `names` from `page/`: these files and no others."""
    for name in names:
        app.add_api_route(f"/{name}", _file(name), methods=["GET"], response_model=None)


def _file(name: str) -> Callable[[], Response]:
    return lambda: FileResponse(FOLDER / name, media_type=_TYPES[Path(name).suffix])


def add_errors(app: FastAPI) -> None:
    """Turns every error into an answer in the shape that OpenAI's clients read."""

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return refusal(400, f"{where}: {first['msg']}" if where else str(first["msg"]))

    @app.exception_handler(HTTPException)
    async def _http_error(_: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, str(error.detail))

    @app.exception_handler(InputError)
    async def _input_error(_: Request, error: InputError) -> Response:
        return refusal(400, str(error), code=getattr(error, "code", None))

    @app.exception_handler(Exception)
    async def _failure(_: Request, error: Exception) -> Response:  # Starlette logs it and raises it again
        return refusal(500, f"the server failed: {type(error).__name__}", "server_error")
