"""Cases from the rows of a benchmark's file: checked, and the same choice for every checkpoint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gristlm.errors import FormatError
from gristlm.runs.rows import Row, read_rows

T = TypeVar("T")


def read(path: Path, make: Callable[[Row], T], *, most: int | None, seed: int) -> list[T]:
    """Returns `make` of the rows of a file; of more than `most`, those that hashing chooses, in the file's order.

    Args:
        path: what `gristlm.runs.rows.read_rows` takes.
        make: makes a row's case; raises ValueError or KeyError where it cannot.
        most: rows to take; None is all.
        seed: of the choice.

    Raises:
        FormatError: the file is not there, not text, has no rows, or a row is not as it should be; names file and row.
    """
    rows = read_rows(path)
    made = []
    for where, row in rows:
        try:
            made.append(make(row))
        except KeyError as error:
            has = ", ".join(map(str, row)) or "nothing"
            raise FormatError(f"{where}: {error} is missing; the row has {has}") from None
        except (ValueError, TypeError) as error:
            raise FormatError(f"{where}: {error}") from None
    if most is None or most >= len(made):
        return made
    order = sorted(range(len(made)), key=lambda i: hashlib.sha256(f"{seed}\0{rows[i][1]!r}".encode()).digest())
    return [made[i] for i in sorted(order[:most])]


def text(row: Row, key: str) -> str:
    """Returns a row's string that is not empty.

    Raises:
        KeyError, ValueError: it is not there or something else.
    """
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key!r} must be a text; given {value!r:.80}")
    return value


def texts(row: Row, key: str, least: int = 1) -> list[str]:
    """Returns a row's list of at least `least` strings.

    Raises:
        KeyError, ValueError: it is not there or something else.
    """
    value = row[key]
    if not isinstance(value, list) or len(value) < least or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key!r} must be a list of at least {least} texts; given {value!r:.80}")
    return value


def messages(row: Row, key: str = "prompt") -> list[dict[str, str]]:
    """Returns a row's prompt as messages; a text is one message of the user.

    Raises:
        KeyError, ValueError: it is not there or something else.
    """
    value = row[key]
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": value}]
    if isinstance(value, list) and value and all(_is_message(each) for each in value):
        return value
    raise ValueError(f"{key!r} must be a text or a list of messages; given {value!r:.80}")


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(part), str) for part in ("role", "content"))
