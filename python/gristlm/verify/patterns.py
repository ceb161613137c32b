"""Regular expressions on texts of strangers, in bounded time."""

from __future__ import annotations

import re

from gristlm.errors import InputError
from gristlm.verify.bounded import Bounded, Exceeded

_MAX_CHARACTERS = 1_000_000
_search = Bounded("gristlm.verify.patterns:found", cpu_seconds=1, memory_bytes=1 << 30)


def compiled(pattern: str) -> re.Pattern[str]:
    """Returns the pattern compiled.

    Raises:
        InputError: it does not compile.
    """
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{pattern!r:.200} is not a regular expression: {error}") from None


def found(pattern: str, text: str) -> bool:
    """Returns whether the pattern is found, however long that takes; `search` is bounded."""
    return compiled(pattern).search(text) is not None


def search(pattern: str, text: str) -> bool | None:
    """Returns whether `pattern` is found in the first million characters of `text`; None if a CPU second is too little.

    Python's `re` backtracks, so a pattern such as `(a+)+$` needs exponential time on some texts; here it is ended.

    Raises:
        InputError: the pattern does not compile.
    """
    try:
        return bool(_search(pattern, text[:_MAX_CHARACTERS]))
    except Exceeded:
        return None
