"""The labelling application: a page to judge pairs on, a page of progress, and their JSON."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from gristlm.serve.label import export
from gristlm.serve.label.accounts import MAX_PASSWORD, Accounts, TooManyAttemptsError
from gristlm.serve.label.figures import figures
from gristlm.serve.label.pairs import MAX_ANSWERS
from gristlm.serve.label.project import Aspect, Choice, NotShownError, Project, Side
from gristlm.serve.pages import add_errors, add_files, add_page
from gristlm.serve.security import OWNER, Access, Guard, cookie_name, refusal

SINGLE_ANNOTATOR = "owner"
"""Whose votes they are while the project has no annotators."""
FILES = ("guidelines.js", "label.js", "markdown.js", "page.js", "progress.js", "ranking.js", "label.css", "theme.css")
OPEN_PATHS = ("/health",)
LOGIN_PATHS = (*OPEN_PATHS, "/", "/api/login", *(f"/{name}" for name in FILES))
Making = Callable[[], bool]


class Login(BaseModel):
    """The body of /api/login."""

    name: str = Field(max_length=64)
    password: str = Field(max_length=MAX_PASSWORD)


class VoteBody(BaseModel):
    """The body of /api/vote; `pair` is the number that /api/next gave."""

    model_config = ConfigDict(extra="forbid")
    pair: int = Field(ge=0, lt=2**63)
    choice: Choice
    strength: int | None = Field(default=None, ge=1, le=5)
    reason: str = Field(default="", max_length=10_000)
    aspects: dict[Aspect, Side] = {}
    correction: str = Field(default="", max_length=100_000)
    ranks: list[int] = Field(default=[], max_length=MAX_ANSWERS)
    rating: int | None = Field(default=None, ge=1, le=5)


def access_for(accounts: Accounts, csrf_key: bytes, hosts: tuple[str, ...] = ()) -> Access:
    """Returns who may use a project: whoever holds the token, and its annotators with their passwords."""
    return Access(
        hosts=hosts,
        sessions=accounts,
        csrf_key=csrf_key,
        open_paths=lambda: LOGIN_PATHS if accounts.any() else OPEN_PATHS,
    )


def create_app(project: Project, accounts: Accounts, access: Access, making: Making = lambda: False) -> ASGIApp:
    """Returns the application for `project`; `making` says whether more pairs are on their way."""
    app = FastAPI(title="gristlm label", docs_url=None, redoc_url=None, openapi_url=None)
    add_errors(app)
    add_page(app, access, "/", "label", "gristlm label", style="label.css")
    add_page(app, access, "/progress", "progress", "gristlm label: progress", style="label.css")
    add_page(app, access, "/guidelines", "guidelines", "gristlm label: guidelines", style="label.css")
    add_files(app, *FILES)

    def _sees_all(request: Request) -> bool:
        who: str | None = request.state.who
        return who == OWNER or (who is not None and accounts.is_manager(who))

    def annotator(request: Request) -> str:
        who: str | None = request.state.who
        if not accounts.any():
            return SINGLE_ANNOTATOR
        if not who:
            raise HTTPException(401, "sign in as an annotator")
        return who

    @app.exception_handler(NotShownError)
    async def _not_shown(_: Request, error: NotShownError) -> Response:
        return refusal(409, str(error))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/api/login", response_model=None)
    def login(body: Login, request: Request) -> Response:
        try:
            right = accounts.check(body.name, body.password)
        except TooManyAttemptsError:
            response = refusal(429, "too many wrong passwords; try again in a minute", "rate_limit_error")
            response.headers["Retry-After"] = "60"
            return response
        if not right:
            return refusal(401, "the name or the password is wrong")
        signed_in = JSONResponse({"name": body.name})
        access.start_session(request, signed_in, body.name)
        return signed_in

    @app.post("/api/logout", response_model=None)
    def logout(request: Request) -> Response:
        name = cookie_name("session", request)
        accounts.close(request.cookies.get(name, ""))
        response = JSONResponse({"name": None})
        response.delete_cookie(name)
        return response

    @app.get("/api/next")
    def next_pair(request: Request) -> dict[str, object]:
        who = annotator(request)
        shown = project.next(who)
        return {
            "pair": None if shown is None else shown.body(),
            "making": making(),
            "annotator": who if accounts.any() else None,
            "progress": project.progress(who),
        }

    @app.post("/api/vote")
    def vote(body: VoteBody, request: Request) -> dict[str, object]:
        who = annotator(request)
        number = project.vote(
            who,
            body.pair,
            body.choice,
            body.strength,
            body.reason,
            aspects=body.aspects,
            correction=body.correction,
            ranks=body.ranks,
            rating=body.rating,
        )
        return {"vote": number, "progress": project.progress(who)}

    @app.post("/api/undo")
    def undo(request: Request) -> dict[str, object]:
        who = annotator(request)
        return {"undone": project.undo(who), "progress": project.progress(who)}

    @app.get("/api/progress")
    def progress(request: Request) -> dict[str, object]:
        who = request.state.who or (OWNER if accounts.any() else SINGLE_ANNOTATOR)
        every = figures(project, models=_sees_all(request))
        return {"progress": project.progress(who), "overlap": project.overlap, **every}

    @app.get("/api/guidelines")
    def guidelines() -> dict[str, str]:
        return {"guidelines": project.guidelines()}

    @app.get("/api/export", response_model=None)
    def download(request: Request, kind: export.Kind = "preferences") -> Response:
        only = None if _sees_all(request) else annotator(request)  # an annotator has their own votes only
        rows = export.ROWS[kind](project, only)
        return PlainTextResponse(
            export.to_jsonl(rows),
            media_type="application/x-ndjson; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{kind}.jsonl"'},
        )

    return Guard(app, access)
