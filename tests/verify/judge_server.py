"""A server with OpenAI's chat protocol on the loopback, which says what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[dict[str, object], int], "str | int | bytes"]


class Server:
    """Answers each request with what `reply(body, number)` says: a text, an HTTP status, or raw bytes."""

    def __init__(self, reply: Reply) -> None:
        self.asked: list[dict[str, object]] = []
        self.headers: list[str | None] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(body)
                    outer.headers.append(self.headers["Authorization"])
                    said = reply(body, len(outer.asked))
                status = said if isinstance(said, int) else 200
                data = b"busy" if isinstance(said, int) else said
                if isinstance(data, str):
                    message = {"choices": [{"message": {"content": data}}], "usage": {"total_tokens": 10}}
                    data = json.dumps(message).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
