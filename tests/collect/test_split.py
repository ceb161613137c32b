import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gristlm.collect import split


def heldout(ids: list[str], fraction: float, parts: int = 1) -> np.ndarray:
    pieces = [ids[len(ids) * at // parts : len(ids) * (at + 1) // parts] for at in range(parts)]
    held = dict(split.heldout(pieces, fraction))  # what comes later counts
    return np.concatenate([held[at] for at in range(parts)])


def test_the_split_is_a_stable_function_of_the_id():
    assert split.position("python/textwrap") == 0.8971633465533968
    assert 0 <= split.position("") < 1


def test_about_the_asked_share_is_held_out_and_others_do_not_matter():
    ids = [f"document {number}" for number in range(4000)]
    held = heldout(ids, 0.05)
    assert 0.03 < held.mean() < 0.07
    assert np.array_equal(heldout(ids[1000:3000], 0.05), held[1000:3000])


def test_what_shares_a_group_is_held_out_together():
    held = heldout([f"python/{n % 50}#{kind}" for n in range(50) for kind in ("docstrings", "code")], 0.3)
    assert 0 < held.sum() < 100
    assert np.array_equal(held[::2], held[1::2])


@given(st.lists(st.text(), min_size=2, unique_by=split.group), st.floats(0.001, 0.999))
def test_neither_side_is_empty(ids, fraction):
    held = heldout(ids, fraction)
    assert 0 < held.sum() < len(ids)
    assert np.array_equal(heldout(ids, fraction, parts=3), held)


def test_no_share_holds_out_nothing():
    assert not heldout(["a", "b"], 0.0).any()
    assert not heldout(["a"], 0.5).sum() > 1
    assert len(heldout([], 0.5)) == 0
