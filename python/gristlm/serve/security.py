"""Who may ask: the token, the Host asked under, where a page's requests come from, how long a body may be.

1. Every request names an allowed Host (DNS rebinding).
2. A body states its length, and the length is bounded.
3. The token comes as `Authorization: Bearer`, or once as `?token=` on the page's URL, where it is swapped for an
   HttpOnly, SameSite=Strict cookie and leaves the address bar.
4. A request that carries only a cookie and changes something comes from our own Origin and with the CSRF token that
   our page holds. A browser always sends Origin with such a request, so one without it is no browser's.
5. A session that asks too often, and an address that brings many wrong tokens, are sent away for a while (429).
6. A body arrives within `BODY_SECONDS`, however slowly it is sent.
7. Every answer forbids foreign scripts, frames and content sniffing.

Cookies do not know ports, so their names carry the port: a chat and a labelling server run side by side.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gristlm.serve.sessions import MemorySessions, Sessions

MAX_BODY_BYTES = 1_000_000
BODY_SECONDS = 30.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MAX_BUCKETS = 10_000
SESSION_BURST, SESSION_PER_SECOND = 300, 30.0
"""Requests of one session: far beyond what people do."""
WRONG_BURST, WRONG_PER_SECOND = 50, 1.0
"""Requests of one address with a wrong token."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OWNER = ""
"""Whoever holds the token; an annotator is called by name."""
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?\Z")


class RateLimit:
    """So many requests in a row, and then so many in a second, for each of many keys: a leaky bucket."""

    def __init__(self, burst: int, per_second: float) -> None:
        """Starts with every bucket empty."""
        self._burst, self._per_second = burst, per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, key: str, *, counts: bool = True) -> bool:
        """Returns whether `key` may go on; a refusal does not count, nor a question with `counts` false."""
        now = time.monotonic()
        level, then = self._buckets.pop(key, (0.0, now))
        level = max(0.0, level - (now - then) * self._per_second)
        allowed = level < self._burst
        self._buckets[key] = (level + (allowed and counts), now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return allowed


class Access:
    """What one server knows about who may use it."""

    def __init__(
        self,
        *,
        hosts: Collection[str] = (),
        sessions: Sessions | None = None,
        csrf_key: bytes | None = None,
        open_paths: Callable[[], Collection[str]] = lambda: ("/health",),
    ) -> None:
        """Makes a new token.

        Args:
            hosts: names and addresses it may be asked under beside the loopback ones; "0.0.0.0" or "::" allows every
                address, but no further name.
            sessions: where they are kept; in memory by default.
            csrf_key: what CSRF tokens are made with; a new one by default.
            open_paths: the paths that are answered without a token or a session.
        """
        self.token = secrets.token_urlsafe(24)
        self.token_used = False
        self.sessions = sessions or MemorySessions()
        self.open_paths = open_paths
        self.session_rate = RateLimit(SESSION_BURST, SESSION_PER_SECOND)
        self.wrong_rate = RateLimit(WRONG_BURST, WRONG_PER_SECOND)
        self._csrf_key = csrf_key or secrets.token_bytes(32)
        self._hosts = {*LOOPBACK, *(host.lower() for host in hosts)}
        self._any_address = bool({"0.0.0.0", "::"} & self._hosts)  # noqa: S104 - compared, not bound

    def allows_host(self, name: str) -> bool:
        """Returns whether requests may be addressed to host `name` (without port, in lower case)."""
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address

    def csrf_token(self, browser: str) -> str:
        """Returns the CSRF token of the browser that holds the cookie `browser`."""
        return hmac.new(self._csrf_key, browser.encode(), hashlib.sha256).hexdigest()

    def start_session(self, request: Request, response: Response, who: str) -> None:
        """Gives the browser a new session of `who`, in place of the one that it had."""
        self.sessions.close(request.cookies.get(cookie_name("session", request), ""))
        set_cookie(request, response, "session", self.sessions.open(who))


class Guard:
    """The outermost layer of a server: every request passes it, and every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """`app` is only asked what `access` allows."""
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, refuses or passes on one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        request = Request(scope, receive)
        answer = self._refuse(request) or self._limit(request) or self._swap_token(request) or self._authorise(request)
        await (answer or self._app)(scope, _timed(receive), send_safely)

    def _refuse(self, request: Request) -> Response | None:
        given = request.headers.get("host", "")
        host = _HOST.match(given)
        if host is None or not self._access.allows_host((host[1] or host[2]).lower()):
            return refusal(403, f"this server does not answer to the host {given[:200]!r}")
        request.scope["state"] = {**request.scope.get("state", {}), "port": host[3] or "", "who": None}
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not length.isdigit():
            return refusal(411, "a body needs a Content-Length")
        if len(length) > 12 or int(length) > MAX_BODY_BYTES:
            return refusal(413, f"a body may have {MAX_BODY_BYTES:,} bytes; given {length[:20]}")
        return None

    def _limit(self, request: Request) -> Response | None:
        """Sends away whoever asks too often: a session, or an address that guesses tokens."""
        secret = request.cookies.get(cookie_name("session", request), "")
        if secret and self._session(request) is not None and not self._access.session_rate.allows(secret):
            return _too_often("this session asks too often; wait a second", 1)
        given = request.query_params.get("token")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if given is None:
            given = key.strip() if scheme.lower() == "bearer" else None
        if given is None or _equal(given, self._access.token):
            return None
        address = request.client.host if request.client else ""
        if not self._access.wrong_rate.allows(address):
            return _too_often("too many wrong tokens from this address; wait a minute", 60)
        return None

    def _swap_token(self, request: Request) -> Response | None:
        """Opens a session for whoever brings the token, once, and takes it out of the address."""
        given = request.query_params.get("token")
        if given is None:
            return None
        page = RedirectResponse("/" + request.url.path.lstrip("/"), status_code=303)  # "//host" would leave us
        if request.method == "GET" and _equal(given, self._access.token):
            if not self._access.token_used:
                self._access.token_used = True
                self._access.start_session(request, page, OWNER)
                return page
            if self._session(request) is not None:
                return page
        return refusal(401, "this link was used already or is not this server's; start the server again for a new one")

    def _authorise(self, request: Request) -> Response | None:
        access = self._access
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(key.strip(), access.token):
            request.state.who = OWNER
            return None
        request.state.who = self._session(request)
        if request.state.who is None and request.url.path not in access.open_paths():
            return refusal(401, "give the token that the server printed, as Authorization: Bearer")
        if request.method in ("GET", "HEAD"):
            return None
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower():
            return refusal(403, "this request does not come from the server's own page")
        browser = request.cookies.get(cookie_name("browser", request), "")
        if not browser or not _equal(request.headers.get("x-csrf-token", ""), access.csrf_token(browser)):
            return refusal(403, "X-CSRF-Token must be the page's csrf-token; load the page again")
        return None

    def _session(self, request: Request) -> str | None:
        return self._access.sessions.find(request.cookies.get(cookie_name("session", request), ""))


def _timed(receive: Receive) -> Receive:
    """Returns `receive` as a client that is too slow with its body would leave: as one who is gone."""
    end = time.monotonic() + BODY_SECONDS
    whole = False

    async def timed() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
        except TimeoutError:
            return {"type": "http.disconnect"}
        whole = not message.get("more_body", False)
        return message

    return timed


def cookie_name(kind: str, request: Request) -> str:
    """Returns the name of this server's cookie: "session" (who is asking) or "browser" (what CSRF tokens belong to)."""
    return f"gristlm_{kind}_{request.state.port}"


def set_cookie(request: Request, response: Response, kind: str, value: str) -> None:
    """Sets a cookie that scripts cannot read and other sites cannot send."""
    response.set_cookie(
        cookie_name(kind, request), value, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )


def refusal(status: int, message: str, kind: str = "invalid_request_error", *, code: str | None = None) -> JSONResponse:
    """Returns an error in the shape that OpenAI's clients read."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


def _too_often(message: str, seconds: int) -> Response:
    response = refusal(429, message, "rate_limit_error")
    response.headers["Retry-After"] = str(seconds)
    return response


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
