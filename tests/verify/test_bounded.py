"""Regular expressions, mathematics and schemas on hostile texts: a verdict, in bounded time."""

from __future__ import annotations

import pytest

from gristlm.errors import InputError
from gristlm.verify import answers, patterns, structure
from gristlm.verify.bounded import Bounded, Exceeded


def test_a_pattern_is_found_or_not() -> None:
    assert patterns.search(r"^\d+$", "123") is True
    assert patterns.search(r"^\d+$", "12a") is False
    assert patterns.search(r"(?<=a)b\b(?!c)", "ab é\n\x00") is True


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_that_explodes_is_ended_and_the_next_call_works(pattern: str) -> None:
    assert patterns.search(pattern, "a" * 60 + "!") is None
    assert patterns.search("a", "a") is True


def test_a_wrong_pattern_is_named() -> None:
    with pytest.raises(InputError, match="not a regular expression"):
        patterns.search("(", "x")


def test_memory_is_bounded() -> None:
    hungry = Bounded("builtins:bytearray", cpu_seconds=2, memory_bytes=1 << 29)
    with pytest.raises(Exceeded):
        hungry(1 << 32)
    hungry.close()


@pytest.mark.parametrize(
    ("response", "reference", "same"),
    [
        ("So it is $\\frac{1}{2}$.", "0.5", True),
        ("The answer is 1/2", "\\frac{1}{2}", True),
        ("$\\boxed{x^2+2x+1}$", "(x+1)^2", True),
        ("$(1,2]$", "(1,2]", True),
        ("$3$", "4", False),
        ("no idea", "4", False),
        ("", "4", False),
    ],
)
def test_mathematics(response: str, reference: str, same: bool) -> None:
    pytest.importorskip("math_verify")
    assert answers.same_mathematics(response, reference) is same


def test_mathematics_that_cannot_be_computed_is_wrong_and_ends() -> None:
    pytest.importorskip("math_verify")
    assert answers.same_mathematics("$9^{9^{9^{9^9}}}$", "3") is False
    assert answers.same_mathematics("$3$", "3") is True
    with pytest.raises(InputError, match="no mathematics"):
        answers.same_mathematics("$3$", "")


SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("response", "fits"),
    [
        ('{"a": 1}', True),
        ('```json\n{"a": 1}\n```', True),
        ('{"a": "1"}', False),
        ('{"a": 1, "b": 2}', False),
        ('Sure: {"a": 1}', False),
        ('{"a": NaN}', False),
        ("[" * 50_000, False),
        ("", False),
    ],
)
def test_schema(response: str, fits: bool) -> None:
    pytest.importorskip("jsonschema")
    assert structure.matches_schema(response, SCHEMA) is fits


def test_schemas_that_are_wrong_or_hostile() -> None:
    pytest.importorskip("jsonschema")
    with pytest.raises(InputError, match="not a JSON schema"):
        structure.matches_schema("1", {"type": "nonsense"})
    with pytest.raises(InputError, match="cannot be used"):
        structure.matches_schema("1", {"$ref": "http://127.0.0.1:9/schema.json"})
    assert structure.matches_schema('"' + "a" * 60 + '!"', {"pattern": "(a+)+$"}) is False
    assert structure.matches_schema("{}", {"$ref": "#"}) is False  # it asks for itself, for ever
