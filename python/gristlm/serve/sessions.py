"""Where the sessions of a server are kept: in memory, or in a file so that they outlive the server.

Of a session only the SHA-256 of its secret is kept in a file, so that a copy of it opens nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from gristlm.runs.files import atomic_path

SESSION_SECONDS = 30 * 86_400.0
MAX_SESSIONS = 1000


class Sessions(Protocol):
    """Where sessions are kept."""

    def open(self, who: str) -> str:
        """Returns the secret of a new session of `who`."""

    def find(self, secret: str) -> str | None:
        """Returns whose session `secret` opens, None where it opens none."""

    def close(self, secret: str) -> None:
        """Ends a session."""


class MemorySessions:
    """Sessions that end with the server."""

    def __init__(self) -> None:
        """Holds none."""
        self._open: dict[str, str] = {}

    def open(self, who: str) -> str:
        """Returns the secret of a new session of `who`."""
        secret = secrets.token_urlsafe(32)
        self._open[secret] = who
        return secret

    def find(self, secret: str) -> str | None:
        """Returns whose session `secret` opens, None where it opens none."""
        return self._open.get(secret)

    def close(self, secret: str) -> None:
        """Ends a session."""
        self._open.pop(secret, None)


class FileSessions:
    """Sessions in a file that its owner alone can read; the key of CSRF tokens is there too."""

    def __init__(self, file: Path) -> None:
        """Reads the sessions of `file`, which need not exist; one that is no such file starts anew."""
        self._file = file
        self._one_at_a_time = threading.Lock()
        self._open: dict[str, tuple[str, float]] = {}
        self.csrf_key = secrets.token_bytes(32)
        try:
            held = json.loads(file.read_bytes())
            self._open = {str(digest): (str(who), float(end)) for digest, (who, end) in held["sessions"].items()}
            self.csrf_key = bytes.fromhex(held["csrf_key"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def open(self, who: str) -> str:
        """Returns the secret of a new session of `who`.

        Raises:
            StorageError: the file cannot be written.
        """
        secret = secrets.token_urlsafe(32)
        with self._one_at_a_time:
            now = time.time()
            kept = [(digest, held) for digest, held in self._open.items() if held[1] > now]
            self._open = dict(kept[1 - MAX_SESSIONS :])
            self._open[_digest(secret)] = (who, now + SESSION_SECONDS)
            self._write()
        return secret

    def find(self, secret: str) -> str | None:
        """Returns whose session `secret` opens, None where it opens none."""
        who, end = self._open.get(_digest(secret), ("", 0.0))
        return who if end > time.time() else None

    def close(self, secret: str) -> None:
        """Ends a session."""
        with self._one_at_a_time:
            if self._open.pop(_digest(secret), None) is not None:
                self._write()

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_path(self._file) as temporary:
            temporary.touch(0o600)
            temporary.write_text(json.dumps({"csrf_key": self.csrf_key.hex(), "sessions": self._open}))


def session_file(verb: str, served: Iterable[Path]) -> Path:
    """Returns where the sessions of a server are kept, by what it serves: below XDG_STATE_HOME (~/.local/state)."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    name = hashlib.sha256("\0".join(str(path.resolve()) for path in served).encode("utf-8", "surrogateescape"))
    return Path(state) / "gristlm" / f"{verb}-{name.hexdigest()[:16]}.json"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
