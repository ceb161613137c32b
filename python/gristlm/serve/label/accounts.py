"""Annotators, their passwords and their sessions.

Passwords are kept as scrypt hashes (RFC 7914) with OWASP's parameters for 32 MiB. Of a session only the SHA-256 of its
secret is kept, so a copy of the database opens nothing.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import secrets
import threading
import time
from typing import Literal

from gristlm.errors import ConfigError
from gristlm.serve.label.schema import Database

SESSION_SECONDS = 30 * 86_400.0
MIN_PASSWORD = 8
MAX_PASSWORD = 1000
FAILURES_ALLOWED = 5
FAILURES_SECONDS = 60.0
"""So many wrong passwords for a name are allowed in so many seconds."""
Role = Literal["annotator", "manager"]
_COST = (15, 8, 3)
"""log2 N, r and p."""
_NAME = re.compile(r"[\w.@+-]{1,64}\Z")


class TooManyAttemptsError(Exception):
    """A name had too many wrong passwords lately."""


def hash_password(password: str, cost: tuple[int, int, int] = _COST) -> str:
    """Returns `scrypt$log2N$r$p$salt$hash` with a new salt."""
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", *map(str, cost), salt.hex(), _scrypt(password, salt, cost).hex()])


@functools.cache
def _nobody() -> str:
    """Returns the hash of a password that nobody has."""
    return hash_password(secrets.token_hex(32))


def check_password(password: str, stored: str) -> bool:
    """Returns whether `stored` is a hash of `password`."""
    _, log_n, r, p, salt, expected = stored.split("$")
    given = _scrypt(password, bytes.fromhex(salt), (int(log_n), int(r), int(p)))
    return hmac.compare_digest(given.hex(), expected)


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    log_n, r, p = cost
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=2**log_n, r=r, p=p, maxmem=2**log_n * r * 128 * 2, dklen=32)


class Accounts:
    """The people of a project; also where their sessions are kept (`gristlm.serve.security.Sessions`)."""

    def __init__(self, database: Database) -> None:
        """Uses the tables of `database`."""
        self._database = database
        self._failures: dict[str, list[float]] = {}
        self._one_at_a_time = threading.Lock()

    def add(self, name: str, password: str, role: Role = "annotator") -> None:
        """Adds an annotator or a manager, or changes password and role of one and ends their sessions.

        Raises:
            ConfigError: the name or the password will not do; says why.
        """
        if not _NAME.match(name):
            raise ConfigError(f"the name {name!r:.80} will not do: 1 to 64 letters, digits and any of . _ @ + -")
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise ConfigError(f"the password has {len(password)} characters; it needs {MIN_PASSWORD} to {MAX_PASSWORD}")
        hashed = hash_password(password)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO annotators (name, password, created_at, role) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET password = excluded.password, role = excluded.role",
                (name, hashed, time.time(), role),
            )
            connection.execute("DELETE FROM sessions WHERE who = ?", (name,))

    def is_manager(self, name: str) -> bool:
        """Returns whether somebody may see and export what everybody judged."""
        rows = self._database.rows("SELECT role FROM annotators WHERE name = ?", name)
        return bool(rows) and rows[0]["role"] == "manager"

    def any(self) -> bool:
        """Returns whether the project has annotators; without them it belongs to whoever holds the token."""
        return bool(self._database.rows("SELECT 1 FROM annotators LIMIT 1"))

    def check(self, name: str, password: str) -> bool:
        """Returns whether the password is right; takes as long for a name that does not exist.

        Raises:
            TooManyAttemptsError: there were too many wrong ones.
        """
        with self._one_at_a_time:  # 32 MiB each
            now = time.monotonic()
            self._failures = {
                who: recent
                for who, times in self._failures.items()
                if (recent := [at for at in times if now - at < FAILURES_SECONDS])
            }
            if len(self._failures.get(name, ())) >= FAILURES_ALLOWED:
                raise TooManyAttemptsError
            rows = self._database.rows("SELECT password FROM annotators WHERE name = ?", name)
            right = check_password(password, rows[0]["password"] if rows else _nobody()) and bool(rows)
            if not right:
                self._failures.setdefault(name, []).append(now)
            return right

    def open(self, who: str) -> str:
        """Returns the secret of a new session of `who`."""
        secret = secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at < ?", (time.time(),))
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?)", (_digest(secret), who, time.time() + SESSION_SECONDS)
            )
        return secret

    def find(self, secret: str) -> str | None:
        """Returns whose session `secret` opens, None where it opens none."""
        rows = self._database.rows(
            "SELECT who FROM sessions WHERE digest = ? AND expires_at > ?", _digest(secret), time.time()
        )
        return rows[0]["who"] if rows else None

    def close(self, secret: str) -> None:
        """Ends a session."""
        if secret:
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM sessions WHERE digest = ?", (_digest(secret),))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
