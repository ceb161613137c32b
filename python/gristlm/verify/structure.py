"""Whether an answer is JSON, and of the form that a schema asks for."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping

from gristlm.errors import InputError, missing_extra
from gristlm.verify.bounded import Bounded, Exceeded

_FENCE = re.compile(r"\A\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL | re.IGNORECASE)
_MAX_CHARACTERS = 200_000
_validates = Bounded("gristlm.verify.structure:fits", cpu_seconds=2, memory_bytes=1 << 30)


def json_value(response: str) -> tuple[bool, object]:
    """Returns whether a text is one JSON value, alone or in one code fence, and the value."""
    fenced = _FENCE.match(response)
    text = (fenced[1] if fenced else response).strip()
    if len(text) > _MAX_CHARACTERS:
        return False, None
    try:
        return True, json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False, None


def matches_schema(response: str, schema: Mapping[str, object] | bool) -> bool:
    """Returns whether a text is JSON that `schema` (JSON Schema, draft 2020-12 unless it says another) accepts.

    Nothing is fetched: a `$ref` must point into the schema itself. Patterns and nesting are bounded by time.

    Raises:
        InputError: it is no valid schema.
        MissingExtraError: `jsonschema` is not installed (extra `verify`).
    """
    is_json, value = json_value(response)
    if not is_json:
        return False
    try:
        return bool(_validates(value, schema))
    except Exceeded:
        return False


def require_schema() -> None:
    """Raises MissingExtraError where `jsonschema` is not installed."""
    if importlib.util.find_spec("jsonschema") is None:
        raise missing_extra("jsonschema", "verify")


def fits(value: object, schema: Mapping[str, object] | bool) -> bool:
    """Returns whether the schema accepts a value, however long that takes; `matches_schema` is bounded."""
    require_schema()
    import jsonschema
    import referencing
    import referencing.exceptions

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        return bool(kind(schema, registry=referencing.Registry()).is_valid(value))
    except jsonschema.exceptions.SchemaError as error:
        raise InputError(f"not a JSON schema: {error.message[:200]}") from None
    except (referencing.exceptions.Unresolvable, re.error) as error:
        raise InputError(f"the JSON schema cannot be used: {error}"[:300]) from None


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
