"""The database of a labelling project: one SQLite file in WAL mode, in which votes are only ever added.

`votes` holds what was decided, with the side that was shown; `withdrawals` holds what was undone. `active_votes` is the
difference. An assignment is a pair shown to an annotator: it fixes which answer stood on which side. A ranking keeps
its third and further answers in `more`, and the order they were shown in; a rating has one answer, and `b` is empty.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gristlm.errors import FormatError, StorageError
from gristlm.runs.files import atomic_path

VERSION = 3
FILE = "labels.sqlite3"
_VOTES = """
CREATE TABLE votes (
    id INTEGER PRIMARY KEY,
    pair INTEGER NOT NULL,
    annotator TEXT NOT NULL,
    left_answer TEXT NOT NULL CHECK (left_answer IN ('a', 'b')),
    choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie', 'both_bad', 'skip', 'ranked', 'rated')),
    strength INTEGER CHECK (strength BETWEEN 1 AND 5),
    reason TEXT NOT NULL,
    seconds REAL NOT NULL,
    voted_at REAL NOT NULL,
    aspects TEXT NOT NULL DEFAULT '{}',
    correction TEXT NOT NULL DEFAULT '',
    shown_order TEXT NOT NULL DEFAULT '[]',
    ranks TEXT NOT NULL DEFAULT '[]',
    rating INTEGER CHECK (rating BETWEEN 1 AND 5),
    FOREIGN KEY (pair, annotator) REFERENCES assignments(pair, annotator)
) STRICT;
CREATE INDEX votes_by_pair ON votes(pair, annotator);
CREATE INDEX votes_by_annotator ON votes(annotator);
CREATE TABLE withdrawals (vote INTEGER PRIMARY KEY REFERENCES votes(id), withdrawn_at REAL NOT NULL) STRICT;
CREATE TRIGGER votes_stay BEFORE UPDATE ON votes BEGIN SELECT RAISE(ABORT, 'votes are only added'); END;
CREATE TRIGGER votes_remain BEFORE DELETE ON votes BEGIN SELECT RAISE(ABORT, 'votes are only added'); END;
CREATE VIEW active_votes AS SELECT * FROM votes WHERE id NOT IN (SELECT vote FROM withdrawals);
"""
_TABLES = (
    """
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE pairs (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    prompt TEXT NOT NULL,
    a TEXT NOT NULL,
    b TEXT NOT NULL,
    model_a TEXT,
    model_b TEXT,
    gold TEXT CHECK (gold IN ('a', 'b', 'tie', 'both_bad')),
    priority REAL NOT NULL DEFAULT 0,
    kind TEXT NOT NULL DEFAULT 'pair' CHECK (kind IN ('pair', 'ranking', 'rating')),
    more TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE TABLE annotators (name TEXT PRIMARY KEY, password TEXT NOT NULL, created_at REAL NOT NULL,
    role TEXT NOT NULL DEFAULT 'annotator' CHECK (role IN ('annotator', 'manager'))) STRICT;
CREATE TABLE sessions (digest TEXT PRIMARY KEY, who TEXT NOT NULL, expires_at REAL NOT NULL) STRICT;
CREATE TABLE assignments (
    pair INTEGER NOT NULL REFERENCES pairs(id),
    annotator TEXT NOT NULL,
    left_answer TEXT NOT NULL CHECK (left_answer IN ('a', 'b')),
    shown_at REAL NOT NULL,
    shown_order TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (pair, annotator)
) STRICT;
"""
    + _VOTES
)

_HOLD = """
ALTER TABLE pairs ADD COLUMN kind TEXT NOT NULL DEFAULT 'pair' CHECK (kind IN ('pair', 'ranking', 'rating'));
ALTER TABLE pairs ADD COLUMN more TEXT NOT NULL DEFAULT '[]';
ALTER TABLE assignments ADD COLUMN shown_order TEXT NOT NULL DEFAULT '[]';
CREATE TABLE held_votes AS SELECT * FROM votes;
CREATE TABLE held_withdrawals AS SELECT * FROM withdrawals;
DROP VIEW active_votes;
DROP TABLE withdrawals;
DROP TABLE votes;
"""
_TAKE = """
INSERT INTO votes (id, pair, annotator, left_answer, choice, strength, reason, seconds, voted_at, aspects, correction)
    SELECT id, pair, annotator, left_answer, choice, strength, reason, seconds, voted_at, aspects, correction
    FROM held_votes;
INSERT INTO withdrawals SELECT vote, withdrawn_at FROM held_withdrawals;
DROP TABLE held_withdrawals;
DROP TABLE held_votes;
"""
_STEPS = {
    1: """
ALTER TABLE pairs ADD COLUMN gold TEXT CHECK (gold IN ('a', 'b', 'tie', 'both_bad'));
ALTER TABLE pairs ADD COLUMN priority REAL NOT NULL DEFAULT 0;
ALTER TABLE annotators ADD COLUMN role TEXT NOT NULL DEFAULT 'annotator' CHECK (role IN ('annotator', 'manager'));
ALTER TABLE votes ADD COLUMN aspects TEXT NOT NULL DEFAULT '{}';
ALTER TABLE votes ADD COLUMN correction TEXT NOT NULL DEFAULT '';
DROP VIEW active_votes;
CREATE VIEW active_votes AS SELECT * FROM votes WHERE id NOT IN (SELECT vote FROM withdrawals);
""",
    2: _HOLD + _VOTES + _TAKE,
}
"""What takes a database of each older version to the next."""


class Database:
    """One connection that writes and one that reads, so that readers never wait; each used by one thread at a time.

    Other processes may use the same file.
    """

    def __init__(self, project: Path, *, create: bool) -> None:
        """Opens the database in directory `project`.

        Raises:
            StorageError: it is not there and `create` is false, or cannot be opened.
            FormatError: the file is not a labelling database, or is from a newer gristlm.
        """
        file = project / FILE
        if not create and not file.is_file():
            raise StorageError(
                f"{project} is no labelling project; `gristlm label {project} --pairs FILE` makes it one"
            )
        self._writing, self._reading = threading.Lock(), threading.Lock()
        try:
            project.mkdir(parents=True, exist_ok=True)
            self._writer = _connect(file)
            file.chmod(0o600)  # sessions and passwords are for the project's owner alone
            self._back_up(file)
            with self.transaction() as connection:
                self._migrate(connection, file)
            self._reader = _connect(file)
        except OSError as error:
            raise StorageError(error.errno, f"cannot open {file}: {error.strerror or error}") from error
        except sqlite3.DatabaseError as error:
            raise FormatError(f"{file} cannot be used as a labelling database: {error}") from error

    def _back_up(self, file: Path) -> None:
        """Copies a database that is about to be migrated to `labels.sqlite3.vN`, whole or not at all."""
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        copy = file.with_name(f"{FILE}.v{version}")
        if not 0 < version < VERSION or copy.exists():
            return
        with atomic_path(copy) as temporary:
            target = sqlite3.connect(temporary)
            self._writer.backup(target)
            target.close()
            temporary.chmod(0o600)

    def _migrate(self, connection: sqlite3.Connection, file: Path) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise FormatError(f"{file} is from a newer gristlm (schema {version}, this one knows {VERSION}); update it")
        for step in range(version, VERSION) if version else ():
            for statement in _statements(_STEPS[step]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step + 1}")
        if version == 0:
            for statement in _statements(_TABLES):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("INSERT INTO settings VALUES ('csrf_key', ?)", (secrets.token_bytes(32),))
            connection.execute("INSERT INTO settings VALUES ('created_at', ?)", (str(time.time()).encode(),))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection inside a write transaction: all of it is stored on leaving, or nothing on an error."""
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Returns what a reading query finds."""
        with self._reading:
            return self._reader.execute(query, values).fetchall()

    def setting(self, name: str) -> bytes:
        """Returns a setting that every project has."""
        value: bytes = self.rows("SELECT value FROM settings WHERE name = ?", name)[0]["value"]
        return value

    def close(self) -> None:
        """Closes the file."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _statements(script: str) -> Iterator[str]:
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""
