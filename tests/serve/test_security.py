"""Both servers refuse whoever they should."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from fastapi import FastAPI

from gristlm.serve.pages import add_page
from gristlm.serve.security import MAX_BODY_BYTES, Access, Guard
from gristlm.serve.sessions import FileSessions


@pytest.fixture(params=["label", "api"], scope="module")
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("shared_label" if request.param == "label" else "api")


def raw(server: Any, target: str) -> str:
    """Asks for a target as it is: clients tidy up paths."""
    host, port = server.url.removeprefix("http://").split(":")
    request = f"GET {target} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{request}Authorization: Bearer {server.access.token}\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(4096), b"")).decode().lower()


PATHS = {True: "/api/vote", False: "/v1/chat/completions"}


def changing(server: Any) -> str:
    health = server.client.get("/api/next", headers=server.owner()).status_code
    return PATHS[health == 200]


@pytest.mark.parametrize("path", ["/", "/v1/models", "/api/next", "/api/export", "/progress", "/chat.js", "/nowhere"])
def test_nothing_is_answered_without_a_token(server: Any, path: str) -> None:
    response = server.client.get(path)
    assert response.status_code == 401
    assert "token" in response.json()["error"]["message"]
    wrong = server.client.get(path, headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "a@localhost", "localhost/", "[", "192.168.1.5"],
)
def test_another_host_is_refused(server: Any, host: str) -> None:
    response = server.client.get("/health", headers={"Host": host, **server.owner()})
    assert response.status_code in (400, 403)  # 400: not even a host, by the HTTP parser
    assert server.client.get("/health", headers={"Host": "LOCALHOST:80"}).status_code == 200


def test_a_wildcard_address_may_be_asked_under_addresses_but_not_names() -> None:
    access = Access(hosts=("0.0.0.0", "Box.example"))
    assert access.allows_host("192.168.1.5")
    assert access.allows_host("fe80::1")
    assert access.allows_host("box.example")
    assert not access.allows_host("evil.example")


def test_the_link_opens_one_session_and_leaves_the_address(server: Any) -> None:
    server.access.token_used = False
    page = server.page()
    first = page.client.get(f"/?token={server.access.token}")
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert page.load().status_code == 200
    assert page.client.get(f"/?token={server.access.token}").status_code == 303  # the same browser, again
    assert server.page().client.get(f"/?token={server.access.token}").status_code == 401
    assert server.page().client.get("/?token=wrong").status_code == 401


def test_the_link_leads_nowhere_else(server: Any) -> None:
    server.access.token_used = False
    answer = raw(server, f"//evil.example/?token={server.access.token}")
    assert "location: /evil.example/" in answer


def test_a_cookie_alone_changes_nothing(server: Any) -> None:
    server.access.token_used = False
    page = server.page().enter()
    path = changing(server)
    for headers in (
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": "0" * 64},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ):
        assert page.post(path, headers=headers).status_code == 403, headers
    other = server.page()  # a token that belongs to another browser
    other.client.cookies.update({name: value for name, value in page.client.cookies.items() if "session" in name})
    other.load()
    assert other.csrf != page.csrf
    assert page.post(path, headers={"X-CSRF-Token": other.csrf}).status_code == 403
    assert page.post(path).status_code == 400  # let in, and found wanting


def test_long_bodies_are_refused_unread(server: Any) -> None:
    path, long = changing(server), b"x" * (MAX_BODY_BYTES + 1)
    assert server.client.post(path, content=long, headers=server.owner()).status_code == 413
    chunked = server.client.post(path, content=iter([b"{}"]), headers=server.owner())
    assert chunked.status_code == 411


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"pair": 1e999}', b"[" * 100_000])
def test_odd_bodies_are_a_400(server: Any, body: bytes) -> None:
    headers = server.owner() | {"Content-Type": "application/json"}
    response = server.client.post(changing(server), content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "/label.html", "/theme.css/../label.html", "//etc/passwd"],
)
def test_only_the_page_files_are_files(server: Any, path: str) -> None:
    assert raw(server, path).startswith("http/1.1 404 ")
    assert server.client.get("/theme.css", headers=server.owner()).status_code == 200


def test_every_answer_carries_the_headers(server: Any) -> None:
    for path in ("/", "/health", "/nowhere", "/theme.css"):
        for headers in ({}, server.owner()):
            answer = server.client.get(path, headers=headers).headers
            assert "script-src 'self'" in answer["content-security-policy"]
            assert "unsafe" not in answer["content-security-policy"]
            assert answer["x-content-type-options"] == "nosniff"


def test_the_pages_ask_for_nothing_from_elsewhere_and_never_write_html() -> None:
    from gristlm.serve.pages import FOLDER

    for file in FOLDER.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        assert "//" not in text.replace("// ", "").replace("//#", ""), file
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " on" + "click="):
            assert forbidden not in text, file


def test_cookies_carry_the_port(server: Any) -> None:
    server.access.token_used = False
    page = server.page().enter()
    port = server.url.rpartition(":")[2]
    assert set(page.client.cookies) == {f"gristlm_session_{port}", f"gristlm_browser_{port}"}


def test_guessing_tokens_is_slowed_down_and_the_right_one_still_opens(start_server: Any) -> None:
    from fastapi import FastAPI

    from gristlm.serve.security import WRONG_BURST, Guard

    access = Access()
    app = FastAPI()
    app.add_api_route("/", lambda: "x")
    server = start_server(Guard(app, access), access)
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [server.client.get("/", headers=wrong).status_code for _ in range(WRONG_BURST + 5)]
    assert statuses[:WRONG_BURST] == [401] * WRONG_BURST
    assert statuses[-1] == 429
    assert server.client.get("/?token=wrong").headers["retry-after"] == "60"
    assert server.client.get("/", headers=server.owner()).status_code == 200


def test_a_session_has_a_limit_of_its_own() -> None:
    from gristlm.serve.security import MAX_BUCKETS, RateLimit

    limit = RateLimit(3, 0.0)
    assert [limit.allows("a") for _ in range(4)] == [True] * 3 + [False]
    assert limit.allows("b")
    for number in range(2 * MAX_BUCKETS):
        limit.allows(str(number))
    assert len(limit._buckets) == MAX_BUCKETS


def _answer(url: str, *parts: bytes, wait: float = 15.0) -> bytes:
    """What a server says to a client that sends `parts` and then nothing."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        for part in parts:
            connection.sendall(part)
        said = b""
        while more := connection.recv(65536):
            said += more
        return said


def test_a_head_that_never_ends_is_hung_up_on(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristlm.serve.listen.HEAD_SECONDS", 0.2)
    assert _answer(server.url) == b""
    assert _answer(server.url, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ") == b""
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    said = _answer(server.url, whole, b"GET /health HTTP/1.1\r\nX")  # a second one, on the same connection
    assert said.startswith(b"HTTP/1.1 200")
    assert server.client.get("/health").status_code == 200


def test_a_body_that_never_comes_is_not_waited_for(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristlm.serve.security.BODY_SECONDS", 0.2)
    head = f"POST {changing(server)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    head += b"Content-Type: application/json\r\n"
    key = b"Authorization: Bearer " + server.access.token.encode() + b"\r\nContent-Length: 100\r\n\r\n{"
    begun = time.monotonic()
    said = _answer(server.url, head + key)
    assert time.monotonic() - begun < 15  # the limit of the server itself is twice this
    assert said == b"" or b" 4" in said.split(b"\r\n", 1)[0] or b" 500" in said.split(b"\r\n", 1)[0]


def test_sessions_in_a_file_outlive_the_server(start_server: Any, tmp_path: Path) -> None:
    file = tmp_path / "state" / "serve.json"
    clients = []
    for _ in range(2):
        sessions = FileSessions(file)
        access = Access(sessions=sessions, csrf_key=sessions.csrf_key)
        app = Guard(add_page_to(FastAPI(), access), access)
        server = start_server(app, access)
        if not clients:
            page = server.page().enter()
            clients.append(page)
            (secret,) = [value for name, value in page.client.cookies.items() if "session" in name]
        else:
            port = server.url.rsplit(":", 1)[1]
            for sent, status in ((secret, 200), (f"{secret}x", 401)):
                cookie = {"Cookie": f"gristlm_session_{port}={sent}"}
                assert server.client.get("/", headers=cookie).status_code == status
    assert sessions.csrf_key == FileSessions(file).csrf_key
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret not in file.read_text()
    sessions.close(secret)
    assert FileSessions(file).find(secret) is None
    file.write_text("{")
    assert FileSessions(file).find(secret) is None


def add_page_to(app: FastAPI, access: Access) -> FastAPI:
    add_page(app, access, "/", "guidelines", "a page", style="label.css")
    return app
