"""The gate of instruction counts: no case takes 5 % more than the count that is kept in `instructions.json`."""

import json

import pytest

import instructions


@pytest.fixture(scope="module")
def kept() -> dict[str, int]:
    if why := instructions.missing():
        pytest.skip(why)
    instructions.build()
    return json.loads(instructions.KEPT.read_text())


@pytest.mark.parametrize("case", instructions.CASES)
def test_no_more_instructions_than_before(kept: dict[str, int], case: str) -> None:
    failure = instructions.compare(case, instructions.count(case), kept)
    assert failure is None, failure


def test_what_the_gate_says() -> None:
    assert instructions.compare("a", 104, {"a": 100}) is None
    assert instructions.compare("a", 50, {"a": 100}) is None
    assert "+6.0%" in str(instructions.compare("a", 106, {"a": 100}))
    assert "--update" in str(instructions.compare("b", 1, {"a": 100}))
