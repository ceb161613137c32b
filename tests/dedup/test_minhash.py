"""Near duplicates: every one verified against a kept text, found as often as theory says, the same on any threads."""

import random
from pathlib import Path

import numpy as np
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristlm import dedup
from gristlm.errors import InputError


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    tokens = text.split()
    if not tokens:
        return set()
    return {tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))}


def jaccard(a: str, b: str, n: int) -> float:
    left, right = shingles(a, n), shingles(b, n)
    return len(left & right) / len(left | right) if left | right else 1.0


def check(texts: list[str], result: dedup.MinHashResult, n: int, threshold: float) -> None:
    """Each drop is as similar as it says to a kept text before it; the rest is its own cluster."""
    for i, (keep, cluster, twin, similarity) in enumerate(
        zip(result.keep, result.cluster, result.twin, result.similarity, strict=True)
    ):
        if keep:
            assert (cluster, twin, similarity) == (i, -1, 0)
        else:
            assert twin == cluster < i
            assert result.keep[twin]
            true = jaccard(texts[i], texts[twin], n)
            assert similarity == pytest.approx(true, abs=1e-6)
            assert true >= threshold


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(st.text("ab c\n", max_size=14), max_size=10),
    n=st.integers(1, 3),
    threshold=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_with_one_row_per_band_it_equals_the_definition(texts: list[str], n: int, threshold: float) -> None:
    """256 bands of one number miss a pair of similarity 0.3 once in 10^39: what is left is the slow definition."""
    result = dedup.minhash(texts, num_perm=256, bands=256, rows=1, ngram=n, threshold=threshold)
    kept: list[int] = []
    twins = []
    for i, text in enumerate(texts):
        twin = next((k for k in kept if jaccard(text, texts[k], n) >= threshold), -1)
        twins.append(twin)
        if twin < 0:
            kept.append(i)
    assert result.twin.tolist() == twins
    check(texts, result, n, threshold)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text("ab c\n", max_size=14), max_size=10), data=st.data())
def test_in_an_order_of_ones_own_it_equals_the_same_texts_laid_so(texts: list[str], data: st.DataObject) -> None:
    """Whatever order the texts lie in, `order` says which of them stays."""
    order = np.array(data.draw(st.permutations(range(len(texts)))), dtype=np.int64)
    options = {"num_perm": 64, "bands": 64, "rows": 1, "ngram": 2, "threshold": 0.5}
    laid = dedup.minhash([texts[i] for i in order], **options)  # type: ignore[arg-type]
    found = dedup.minhash(texts, order=order, **options)  # type: ignore[arg-type]
    assert found.keep[order].tolist() == laid.keep.tolist()
    assert found.similarity[order].tolist() == laid.similarity.tolist()
    assert found.cluster[order].tolist() == order[laid.cluster].tolist()
    assert found.twin[order].tolist() == [-1 if twin < 0 else order[twin] for twin in laid.twin]
    assert dedup.minhash(texts, order=order, memory=1_000_000, num_threads=2, **options).twin.tolist() == (  # type: ignore[arg-type]
        found.twin.tolist()
    )


@pytest.mark.parametrize("order", [[0], [0, 0], [0, 2], [-1, 0], [0, 1, 2], [0.5, 1.5], [[0, 1]]])
def test_what_is_no_order_is_named(order: list[object]) -> None:
    with pytest.raises(InputError, match="order"):
        dedup.minhash(["a", "b"], order=order)  # type: ignore[arg-type]


def with_known_similarity(rng: random.Random, vocabulary: list[str], similarity: float) -> tuple[str, str]:
    """A text of 300 words and a copy with words replaced until their similarity is just below `similarity` + 1 %."""
    words = rng.choices(vocabulary, k=300)
    copy = list(words)
    while jaccard(" ".join(words), " ".join(copy), 5) > similarity + 0.01:
        copy[rng.randrange(300)] = rng.choice(vocabulary)
    return " ".join(words), " ".join(copy)


def test_recall_is_that_of_the_bands_and_precision_is_one() -> None:
    rng = random.Random(1)
    vocabulary = [f"w{i}" for i in range(3000)]
    for similarity in (0.7, 0.75, 0.8, 0.85):
        pairs = [with_known_similarity(rng, vocabulary, similarity) for _ in range(250)]
        texts = [text for pair in pairs for text in pair]
        result = dedup.minhash(texts, threshold=0.6, seed=3)
        check(texts, result, 5, 0.6)
        true = np.array([jaccard(a, b, 5) for a, b in pairs])
        expected = (1 - (1 - true**8) ** 14).sum()
        found = (~result.keep).sum()
        # Four standard deviations of a sum of independent trials.
        assert abs(found - expected) < 4 * (expected * (1 - expected / 250)) ** 0.5 + 1


def test_real_text_is_the_same_on_any_threads_and_container(development_data: Path) -> None:
    texts = polars.read_ndjson(development_data / "text" / "english.jsonl")["text"].to_list()[:60]
    rng = random.Random(2)
    for text in texts[:30]:
        words = text.split(" ")
        for _ in range(len(words) // 100):
            words[rng.randrange(len(words))] = "changed"
        texts.append(" ".join(words))
    wanted = dedup.minhash(texts, num_threads=1)
    check(texts, wanted, 5, 0.8)
    assert (~wanted.keep).sum() >= 25
    for column in (texts, pyarrow.array(texts), polars.Series(texts)):
        result = dedup.minhash(column, num_threads=2)
        assert (result.twin == wanted.twin).all()
        assert (result.similarity == wanted.similarity).all()


def test_a_chain_is_not_dropped_through_its_links() -> None:
    """Each text resembles the next, the first and the last share nothing: only what resembles a kept text goes."""
    words = [f"w{i}" for i in range(400)]
    texts = [" ".join(words[start : start + 200]) for start in range(0, 200, 10)]
    result = dedup.minhash(texts, num_perm=512, bands=128, rows=4, threshold=0.8, seed=5)
    check(texts, result, 5, 0.8)
    assert result.keep.sum() > 5


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    rng = random.Random(0)
    for first, last in (("\u4e00", "\u9fa5"), ("\u0e01", "\u0e2e"), ("\u3041", "\u3096")):
        text = "".join(chr(rng.randint(ord(first), ord(last))) for _ in range(400))
        other = "".join(chr(rng.randint(ord(first), ord(last))) for _ in range(400))
        result = dedup.minhash([text, text[:200] + "x" + text[200:], other])
        assert result.keep.tolist() == [True, False, True]
        assert result.similarity[1] > 0.95


def test_short_and_empty_texts() -> None:
    texts = ["", "one", "one", " one\n", "two words", "", "\n", "four words are here", "four words are there"]
    result = dedup.minhash(texts)
    assert result.twin.tolist() == [-1, -1, 1, 1, -1, 0, 0, -1, -1]
    assert dedup.minhash([]).keep.tolist() == []


def test_many_equal_and_many_almost_equal_texts() -> None:
    page = " ".join(f"word{i}" for i in range(100))
    result = dedup.minhash([page] * 200_000)
    assert result.keep.sum() == 1
    result = dedup.minhash([f"{page} {i}" for i in range(5000)])
    assert result.keep.sum() == 1
    assert result.similarity[1:].min() > 0.97


def test_one_huge_repetitive_text() -> None:
    result = dedup.minhash(["word " * 1_000_000, "word " * 999_999, "x" * 5_000_000])
    assert result.twin.tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": 15}, r"bands \* rows is 15 \* 8 = 120, more than num_perm=112"),
        ({"bands": 0}, "bands is 0; give 1 or more"),
        ({"rows": 0}, "rows is 0"),
        ({"ngram": 0}, "ngram is 0"),
        ({"ngram": 10**6}, "ngram is 1000000; give at most 65536"),
        ({"num_perm": 0}, "num_perm is 0"),
        ({"num_perm": -1}, "num_perm is -1; give a whole number"),
        ({"num_perm": 1.5}, "num_perm is 1.5; give a whole number"),
        ({"threshold": 0.0}, "threshold is 0; give a number above 0 and at most 1"),
        ({"threshold": 1.1}, "threshold is 1.1"),
        ({"threshold": float("nan")}, "threshold is NaN"),
        ({"threshold": "high"}, "threshold is 'high'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dedup.minhash(["a"], **options)  # type: ignore[arg-type]


def test_seeds_and_unused_permutations() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x", "y"]
    for seed in (0, 1, np.uint64(2**64 - 1)):
        dedup.minhash(texts, seed=seed)  # type: ignore[arg-type]
    few = dedup.minhash(texts, num_perm=16, bands=8, rows=2, ngram=1, threshold=0.5)
    many = dedup.minhash(texts, num_perm=99, bands=8, rows=2, ngram=1, threshold=0.5)
    assert (few.twin == many.twin).all()
