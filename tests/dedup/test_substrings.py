"""Repeated substrings against brute force."""

import random
import re
from pathlib import Path

import numpy as np
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristlm import dedup
from gristlm.errors import InputError


def brute_force(texts: list[str], min_bytes: int) -> list[list[int]]:
    """Every window that stood before, united, drawn in to character boundaries."""
    seen: set[bytes] = set()
    spans = []
    for document, text in enumerate(texts):
        data = text.encode()
        marked = np.zeros(len(data) + 2, bool)
        for start in range(len(data) - min_bytes + 1):
            window = data[start : start + min_bytes]
            if window in seen:
                marked[start + 1 : start + 1 + min_bytes] = True
            seen.add(window)
        edges = np.flatnonzero(np.diff(marked))
        for start, end in edges.reshape(-1, 2).tolist():
            while start < end and data[start] & 0xC0 == 0x80:
                start += 1
            while end > start and end < len(data) and data[end] & 0xC0 == 0x80:
                end -= 1
            if start < end:
                spans.append([document, start, end])
    return spans


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(st.text("abé中😀", max_size=20), max_size=8), min_bytes=st.integers(1, 9))
def test_spans_equal_brute_force(texts: list[str], min_bytes: int) -> None:
    result = dedup.substrings(texts, min_bytes=min_bytes)
    assert result.spans.tolist() == brute_force(texts, min_bytes)
    assert result.spans.dtype == np.int64


def test_real_text_equals_brute_force_and_cutting_keeps_the_first_copy(development_data: Path) -> None:
    texts = polars.read_ndjson(development_data / "text" / "multilingual.jsonl")["text"].to_list()[:25]
    wanted = brute_force(texts, 100)
    assert wanted
    for column in (texts, pyarrow.array(texts), polars.Series(texts)):
        result = dedup.substrings(column, min_bytes=100, num_threads=2)
        assert result.spans.tolist() == wanted
    left = dedup.cut(texts, result)
    assert sum(map(len, left)) < sum(map(len, texts))
    assert left[0].startswith(texts[0][:200])


def test_a_copied_paragraph_is_cut_once() -> None:
    paragraph = "This paragraph was copied into several documents, word for word, as footers are."
    texts = [f"First. {paragraph} End.", f"Second: {paragraph}", paragraph]
    result = dedup.substrings(texts, min_bytes=40)
    assert result.spans.tolist() == [[1, 7, len(texts[1])], [2, 0, len(paragraph)]]
    assert dedup.cut(texts, result) == [texts[0], "Second:", ""]


def test_lengths_in_tokens_equal_brute_force() -> None:
    rng = random.Random(5)
    texts = [" ".join(rng.choice(["ab", "c", "dé", "中文"]) for _ in range(rng.randrange(12))) for _ in range(40)]
    for min_tokens in (1, 2, 4):
        seen: set[str] = set()
        wanted = []
        for document, text in enumerate(texts):
            tokens = [(match.start(), match.end()) for match in re.finditer(r"[a-zé]+|[中文]", text)]
            marked = np.zeros(len(text.encode()) + 2, bool)
            for run in (tokens[at : at + min_tokens] for at in range(len(tokens) - min_tokens + 1)):
                window = text[run[0][0] : run[-1][1]]
                start = len(text[: run[0][0]].encode())
                if window in seen:
                    marked[start + 1 : start + 1 + len(window.encode())] = True
                seen.add(window)
            edges = np.flatnonzero(np.diff(marked)).reshape(-1, 2)
            wanted += [[document, start, end] for start, end in edges.tolist()]
        assert wanted
        for memory in (None, 1_000_000):
            found = dedup.substrings(texts, min_tokens=min_tokens, memory=memory, num_threads=2)
            assert found.spans.tolist() == wanted
    with pytest.raises(InputError, match="min_tokens is 0; give 1 or more"):
        dedup.substrings(["a"], min_tokens=0)
    with pytest.raises(InputError, match="min_tokens is 70000; give at most 65536"):
        dedup.substrings(["a"], min_tokens=70_000)


def test_nothing_short_and_huge_repetition() -> None:
    assert dedup.substrings([], min_bytes=5).spans.shape == (0, 3)
    assert dedup.substrings(["", "abc", ""], min_bytes=5).spans.shape == (0, 3)
    assert dedup.substrings(["a" * 3_000_000], min_bytes=50).spans.tolist() == [[0, 1, 3_000_000]]
    copies = dedup.substrings(["same text here"] * 20_000, min_bytes=8)
    assert len(copies.spans) == 19_999


@pytest.mark.parametrize("min_bytes", [0, -1, 2.5, None])
def test_wrong_lengths_are_named(min_bytes: object) -> None:
    with pytest.raises(InputError, match="min_bytes is"):
        dedup.substrings(["a"], min_bytes=min_bytes)  # type: ignore[arg-type]
