"""Agreement: published examples, and slow twins from the definitions."""

from __future__ import annotations

from itertools import permutations

import pytest

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

from gristlm.serve.label.agreement import cohen_kappa, judgements, krippendorff_alpha
from gristlm.serve.label.project import Vote


def test_kappa_of_fifty_grant_proposals() -> None:
    table = {}
    for count, first, second in ((20, "yes", "yes"), (5, "yes", "no"), (10, "no", "yes"), (15, "no", "no")):
        for _ in range(count):
            table[len(table)] = {"a": first, "b": second}
    assert cohen_kappa(table, "a", "b") == pytest.approx(0.4)


def test_alpha_of_krippendorffs_three_coders() -> None:
    coders = {  # nominal alpha 0.691: Krippendorff, Computing Krippendorff's alpha-reliability
        "A": "*****34121133*3",
        "B": "1*213343*******",
        "C": "**21344*21133*4",
    }
    table = {unit: {name: values[unit] for name, values in coders.items() if values[unit] != "*"} for unit in range(15)}
    assert krippendorff_alpha(table) == pytest.approx(0.691, abs=5e-4)


tables = st.lists(
    st.dictionaries(st.sampled_from("wxyz"), st.sampled_from(["a", "b", "tie"]), max_size=4), max_size=12
).map(lambda rows: dict(enumerate(rows)))


@given(tables)
def test_alpha_is_its_definition(table: dict[int, dict[str, str]]) -> None:
    # Pairs of values within units, each unit weighted by 1 / (size - 1), against all pairs of pairable values.
    pairable = [row for row in table.values() if len(row) > 1]
    values = [value for row in pairable for value in row.values()]
    observed = sum(sum(x != y for x, y in permutations(row.values(), 2)) / (len(row) - 1) for row in pairable)
    expected = sum(x != y for x, y in permutations(values, 2))
    if not expected:
        assert krippendorff_alpha(table) is None
    else:
        assert krippendorff_alpha(table) == pytest.approx(1 - observed / (expected / (len(values) - 1)))


@given(tables)
def test_kappa_is_its_definition(table: dict[int, dict[str, str]]) -> None:
    both = [(row["w"], row["x"]) for row in table.values() if {"w", "x"} <= set(row)]
    kappa = cohen_kappa(table, "w", "x")
    assert kappa == cohen_kappa(table, "x", "w")
    if not both or len({value for pair in both for value in pair}) == 1:
        assert kappa is None
        return
    observed = sum(a == b for a, b in both) / len(both)
    expected = sum(a == b for a, _ in both for _, b in both) / len(both) ** 2
    assert kappa == pytest.approx((observed - expected) / (1 - expected))
    if observed == 1:
        assert kappa == pytest.approx(1)


def test_skips_are_no_judgements() -> None:
    votes = [Vote(1, name, preferred, "a", None, "", 1.0, 0.0) for name, preferred in (("x", "a"), ("y", "skip"))]
    assert judgements(votes) == {(1, 0, 1): {"x": "a"}}
