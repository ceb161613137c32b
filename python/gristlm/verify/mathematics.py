"""Mathematical equivalence by `math-verify`; run it through `gristlm.verify.answers`, which bounds it."""

from __future__ import annotations

from gristlm.errors import InputError, missing_extra

try:
    from math_verify import parse, verify
except ModuleNotFoundError as error:
    raise missing_extra("math-verify", "verify") from error


def same(response: str, reference: str) -> bool:
    """Returns whether the two are equal; see `answers.same_mathematics`.

    Raises:
        InputError: the reference has no mathematics in it.
    """
    wanted = parse(f"${reference.strip().strip('$')}$", parsing_timeout=None) or parse(reference, parsing_timeout=None)
    if not wanted:
        raise InputError(f"no mathematics in the reference {reference!r:.100}")
    return bool(verify(wanted, parse(response, parsing_timeout=None), timeout_seconds=None))
