"""A web site on the loopback with everything a crawler meets, and a record of who asked for what."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PROSE = (
    "The miller of this town grinds barley and rye, and every morning the carts leave for {0} with fresh flour. " * 4
)


def html(title: str, *links: str, head: str = "", town: str = "") -> bytes:
    anchors = "".join(f'<p>See <a href="{link}">this</a>.</p>' for link in links)
    return (
        f"<html lang=en><head><title>{title}</title>{head}</head><body><main><h1>{title}</h1>"
        f"<p>{PROSE.format(town or title)}</p>{anchors}</main></body></html>"
    ).encode()


class Site:
    """Paths to (status, headers, body); a path ending in `*` takes all below."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str], float]] = []
        self.seconds = 0.0
        self.slow: dict[str, float] = {}
        self.streams: dict[str, tuple[dict[str, str], Callable[[], Iterable[bytes]]]] = {}
        """Paths to headers and what is sent, piece by piece, until the client has enough."""
        self.active = self.most_active = 0
        self.lock = threading.Lock()
        self.url = ""

    def page(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.pages[path] = (status, {"Content-Type": "text/html; charset=utf-8", **_named(headers)}, body)

    def redirect(self, path: str, to: str) -> None:
        self.pages[path] = (302, {"Location": to}, b"")

    def counts(self) -> Counter[str]:
        return Counter(path for path, _, _ in self.asked if path != "/robots.txt")


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with site.lock:
                site.asked.append((self.path, dict(self.headers), time.monotonic()))
                site.active += 1
                site.most_active = max(site.most_active, site.active)
            try:
                self.answer()
            finally:
                with site.lock:
                    site.active -= 1

        def answer(self) -> None:
            time.sleep(site.slow.get(self.path, site.seconds))
            if self.path in site.streams:
                self.stream(*site.streams[self.path])
                return
            default = (404, {}, b"nothing here")
            if self.path.startswith("/calendar/"):
                day = int(self.path.rsplit("/", 1)[1])
                default = (200, {"Content-Type": "text/html"}, html(f"Day {day}", f"/calendar/{day + 1}"))
            status, headers, body = site.pages.get(self.path, default)
            if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
                status, body = 304, b""
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass

        def stream(self, headers: dict[str, str], pieces: Callable[[], Iterable[bytes]]) -> None:
            self.close_connection = True
            try:
                self.send_response(200)
                for name, value in {"Content-Type": "text/html", "Connection": "close", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in pieces():
                    self.wfile.write(piece)
            except OSError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
