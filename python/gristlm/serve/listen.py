"""Runs an application until Ctrl-C, on a socket whose address is known before it is announced."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys
from collections.abc import Callable

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gristlm.errors import StorageError

HEAD_SECONDS = 20.0
"""How long a connection may take until a request's head is there; then it is closed."""
SWITCH_SECONDS = 0.0005
"""How long the event loop may keep Python from the threads that make answers; the default of 5 ms is a whole token."""
MAX_CONNECTIONS = 1000
"""Connections at once; further ones are answered 503."""
GOODBYE_SECONDS = 3
"""How long open streams may take to end when the server stops."""


class PatientProtocol(H11Protocol):
    """HTTP as uvicorn speaks it, for clients that send their requests within bounded time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expects the first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Takes what came; expects the rest of a head that is not whole yet."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_timer.cancel()
        elif self._head_timer.cancelled() and self.conn.trailing_data[0]:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expects nothing more."""
        self._head_timer.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


def configure(app: ASGIApp) -> uvicorn.Config:
    """Returns how `app` is served."""
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_level="warning",
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
        server_header=False,
        lifespan="off",
    )


def listen(app: ASGIApp, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves `app` until it is interrupted.

    Args:
        app: what to serve.
        host: the address to listen on, IPv4, IPv6 or a name.
        port: 0 takes a free one.
        announce: called once with the URL (without a path), when connections are accepted.

    Raises:
        StorageError: the address cannot be taken.
    """
    try:
        bound = _bind(host, port)
    except OSError as error:
        raise StorageError(
            error.errno, f"cannot listen on {host} port {port}: {error.strerror or error}; give another --port"
        ) from error
    sys.setswitchinterval(SWITCH_SECONDS)
    with bound, contextlib.suppress(KeyboardInterrupt):  # how a server is meant to end
        announce(f"http://{_shown(host)}:{bound.getsockname()[1]}")
        uvicorn.Server(configure(app)).run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(2048)
    except OSError:
        bound.close()
        raise
    return bound


def _shown(host: str) -> str:
    """Returns the host for a URL that this machine's browser can open."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{host}]" if address.version == 6 else host
