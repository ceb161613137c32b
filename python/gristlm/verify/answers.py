"""Whether an answer is the reference: as text, as a number, as mathematics."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from gristlm.errors import missing_extra
from gristlm.verify.bounded import Bounded, Exceeded

_NUMBER = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{1,4})?")
_MAX_CHARACTERS = 20_000
_equivalent = Bounded("gristlm.verify.mathematics:same", cpu_seconds=3)


def normal(text: str) -> str:
    """Returns a text without what does not matter: case, runs of white space, a final full stop."""
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()


def number(text: str) -> Decimal | None:
    """Returns a text's last number, or the last after `####` where that stands; thousands may have commas (GSM8K).

    None where there is none, or one with more digits than `Decimal` takes.
    """
    found = _NUMBER.findall(text.rpartition("####")[2][-_MAX_CHARACTERS:])
    try:
        return Decimal(found[-1].replace(",", "")) if found else None
    except InvalidOperation:
        return None


def same_mathematics(response: str, reference: str) -> bool:
    r"""Returns whether the last expression of `response` equals that of `reference`, by `math-verify`.

    "0.5", "1/2" and "\\frac{1}{2}" are equal, so are equal sets, intervals and equations. What takes more than three
    CPU seconds or two GiB, such as `9^{9^{9^9}}`, is not.

    Raises:
        MissingExtraError: `math-verify` is not installed (extra `verify`).
    """
    try:
        return bool(_equivalent(response[-_MAX_CHARACTERS:], reference))
    except Exceeded:
        return False


def require_mathematics() -> None:
    """Raises MissingExtraError where `math-verify` is not installed, without starting anything."""
    import importlib.util

    if importlib.util.find_spec("math_verify") is None:
        raise missing_extra("math-verify", "verify")
