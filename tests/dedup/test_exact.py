"""Equal documents, paragraphs and lines: the first one stays."""

from pathlib import Path

import numpy as np
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristlm import dedup
from gristlm.errors import InputError

TEXTS = st.lists(st.text("ab\n ", max_size=8), max_size=12)


@given(TEXTS)
def test_documents_equal_a_dictionary(texts: list[str]) -> None:
    first: dict[str, int] = {}
    cluster = [first.setdefault(text, i) for i, text in enumerate(texts)]
    result = dedup.exact(texts)
    assert result.cluster.tolist() == cluster
    assert result.keep.tolist() == [i == first for i, first in enumerate(cluster)]
    assert (result.keep.dtype, result.cluster.dtype, result.spans.shape[1]) == (np.bool_, np.int64, 3)


@given(TEXTS)
def test_lines_equal_a_set(texts: list[str]) -> None:
    seen: set[str] = set()
    expected, keep = [], []
    for text in texts:
        lines = text.splitlines(keepends=True)
        left = [
            line for line in lines if not line.strip() or (line.rstrip() not in seen and not seen.add(line.rstrip()))
        ]
        expected.append("".join(left))
        keep.append(not any(line.strip() for line in lines) or any(line.strip() for line in left))
    result = dedup.exact(texts, unit="line")
    assert dedup.cut(texts, result) == expected
    assert result.keep.tolist() == keep


def test_paragraphs_go_with_the_blank_lines_after_them() -> None:
    texts = ["one\ntwo\n\n\nthree\n", "new\n\none\ntwo\n\nend", "three"]
    result = dedup.exact(texts, unit="paragraph")
    assert dedup.cut(texts, result) == ["one\ntwo\n\n\nthree\n", "new\n\nend", ""]
    assert result.keep.tolist() == [True, True, False]
    assert result.cluster.tolist() == [0, 1, 0]


@pytest.mark.parametrize("unit", ["document", "paragraph", "line"])
def test_the_result_does_not_depend_on_threads_or_container(unit: str, development_data: Path) -> None:
    texts = polars.read_ndjson(development_data / "text" / "english.jsonl")["text"].to_list()[:80]
    texts += texts[::3]
    wanted = dedup.exact(texts, unit=unit, num_threads=1)  # type: ignore[arg-type]
    assert not wanted.keep[80:].any()
    for column in (texts, pyarrow.array(texts), polars.Series(texts)):
        result = dedup.exact(column, unit=unit, num_threads=2)  # type: ignore[arg-type]
        assert (result.keep == wanted.keep).all()
        assert (result.spans == wanted.spans).all()


def test_a_million_equal_documents() -> None:
    result = dedup.exact(["the same"] * 1_000_000)
    assert result.keep.sum() == 1
    assert not result.cluster.any()


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match=r'unit is "word"; give "document", "paragraph" or "line"'):
        dedup.exact(["a"], unit="word")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="texts is one string"):
        dedup.exact("a")
    with pytest.raises(InputError, match="num_threads is 0"):
        dedup.exact(["a"], num_threads=0)
    for row in ([1, 0, 1], [0, 2, 1], [0, 0, 9], [0, 1, 2], [-1, 0, 1]):
        with pytest.raises(InputError, match=r"spans: row 0 is \("):
            dedup.cut(["é"], np.array([row]))


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text("ab\n", max_size=8), max_size=8), data=st.data())
def test_in_an_order_of_ones_own_it_equals_the_same_texts_laid_so(texts: list[str], data: st.DataObject) -> None:
    """Texts that the order leaves out stay as they are."""
    chosen = data.draw(st.permutations(range(len(texts))))[: data.draw(st.integers(0, len(texts)))]
    order = np.array(chosen, dtype=np.int64)
    for unit in ("document", "paragraph", "line"):
        laid = dedup.exact([texts[i] for i in order], unit=unit)
        found = dedup.exact(texts, unit=unit, order=order)
        assert found.keep[order].tolist() == laid.keep.tolist()
        assert found.cluster[order].tolist() == order[laid.cluster].tolist()
        spans = [[int(order[document]), start, end] for document, start, end in laid.spans.tolist()]
        assert found.spans.tolist() == sorted(spans)
        left = sorted(set(range(len(texts))) - set(chosen))
        assert found.keep[left].all()
        assert found.cluster[left].tolist() == left


def test_what_is_no_order_is_named() -> None:
    with pytest.raises(InputError, match="order: 0 in position 1"):
        dedup.exact(["a", "b"], order=[0, 0])
