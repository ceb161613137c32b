"""The published quality rules against a slow twin written from the papers, and the reasons they give."""

# ruff: noqa: RUF001 - letters that look like others are the subject

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gristlm
from gristlm.errors import InputError

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
PUNCTUATION = "!?,:;\"'()[]{}#…"


def words(text: str) -> list[str]:
    """Pieces between white space, the punctuation at their ends apart, sign by sign; three points are one word.

    That is all that the pieces of text below need; the whole algorithm is compared in test_against_datatrove.py.
    """
    found = []
    for piece in text.split():
        inner = piece.strip(PUNCTUATION + ".")
        start = piece.index(inner) if inner else len(piece)
        for part in (piece[:start], inner, piece[start + len(inner) :]):
            found += [part] if part == inner and inner else re.findall(r"\.{2,}|.", part)
    return found


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def repeated(items: list[str]) -> tuple[int, int]:
    """How many items stood before, and their characters."""
    seen: set[str] = set()
    again = [item for item in items if item in seen or seen.add(item)]
    return len(again), sum(map(len, again))


def gopher_quality(text: str) -> Iterator[tuple[str, bool]]:
    everything = words(text)
    real = [word for word in everything if word.strip(PUNCTUATION + ".-")]
    lines = text.splitlines()
    mean = ratio(sum(map(len, real)), len(real))
    yield "words", len(real) < 50 or len(real) > 100_000
    yield "mean_word_length", mean < 3 or mean > 10
    yield "hash_word_ratio", ratio(text.count("#"), len(everything)) > 0.1
    yield "ellipsis_word_ratio", ratio(text.count("...") + text.count("…"), len(everything)) > 0.1
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
    yield "bullet_line_ratio", ratio(bullets, len(lines)) > 0.9
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
    yield "ellipsis_line_ratio", ratio(ellipses, len(lines)) > 0.3
    letters = sum(any(map(str.isalpha, word)) for word in everything)
    yield "alphabetic_word_ratio", ratio(letters, len(everything)) < 0.8
    yield "stop_words", len(STOP_WORDS & set(everything)) < 2


def gopher_repetition(text: str) -> Iterator[tuple[str, bool]]:
    yield "characters", not text
    paragraphs = re.split(r"\n{2,}", text.strip())
    count, characters = repeated(paragraphs)
    yield "duplicate_paragraph_ratio", ratio(count, len(paragraphs)) > 0.3
    yield "duplicate_paragraph_character_ratio", ratio(characters, len(text)) > 0.2
    lines = re.split("\n+", text)
    count, characters = repeated(lines)
    yield "duplicate_line_ratio", ratio(count, len(lines)) > 0.3
    yield "duplicate_line_character_ratio", ratio(characters, len(text)) > 0.2
    everything = words(text)
    for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16)):
        grams = Counter(" ".join(everything[i : i + n]) for i in range(len(everything) - n + 1))
        gram, count = grams.most_common(1)[0] if grams else ("", 0)
        yield f"top_{n}_gram_ratio", ratio(len(gram) * count, len(text)) > limit
    for n in range(5, 11):
        seen, characters, i = set(), 0, 0
        while i + n <= len(everything):
            gram = tuple(everything[i : i + n])
            if gram in seen:
                characters += sum(map(len, gram))
                i += n
            else:
                seen.add(gram)
                i += 1
        yield f"duplicate_{n}_gram_ratio", ratio(characters, len(text)) > round(0.20 - n / 100, 2)


def fineweb(text: str) -> Iterator[tuple[str, bool]]:
    lines = [line for line in text.split("\n") if line.strip()]
    yield "lines", len(lines) < 1
    yield "line_punctuation_ratio", ratio(sum(line.endswith((".", "!", "?")) for line in lines), len(lines)) < 0.12
    yield "short_line_ratio", ratio(sum(len(line) <= 30 for line in lines), len(lines)) > 0.67
    _, characters = repeated(lines)
    yield "duplicate_line_character_ratio", ratio(characters, len(text) - text.count("\n")) > 0.01
    yield "line_word_ratio", ratio(text.count("\n"), len(words(text))) > 0.3


def c4(text: str) -> Iterator[tuple[str, bool]]:
    sentences = 0
    for raw in text.splitlines():
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", raw.strip())
        if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...") or len(line.split()) < 3:
            continue
        yield "lorem_ipsum", "lorem ipsum" in line.lower()
        if "javascript" in line.lower():
            continue
        yield "curly_brackets", "{" in line
        policies = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
        if any(policy in line.lower() for policy in policies):
            continue
        ended, sentences = False, sentences + 1
        for word in words(line):
            if word in (".", "!", "?"):
                ended = True
            elif ended and word.strip(PUNCTUATION + ".-•"):
                ended, sentences = False, sentences + 1
    yield "sentences", sentences < 5


TWINS = {"gopher_quality": gopher_quality, "gopher_repetition": gopher_repetition, "fineweb": fineweb, "c4": c4}


def check(rule: str, texts: list[str]) -> None:
    """Both give the same first measure that misses, text by text."""
    result = gristlm.clean(texts, rules=[rule])
    for text, keep, reason in zip(texts, result.keep, result.reasons, strict=True):
        expected = next((measure for measure, missed in TWINS[rule](text) if missed), None)
        found = None if reason is None else reason.removeprefix(f"{rule}: ").split()[0]
        assert found == expected, (reason, text)
        assert keep == (reason is None)


PIECES = """the of and with have river Water stone 12 # ... - • ... word. lorem ipsum end! {x} [3] [edit] Javascript a
privacy policy uses cookies said: "yes" (no) incomprehensibilities é naïve … so? {y"""
LINES = st.lists(st.sampled_from(PIECES.split()), max_size=14).map(" ".join)
TEXTS = st.lists(
    st.one_of(LINES, st.sampled_from(["", "A line that stands here often.", "It is so, and it was."])), max_size=12
)


@pytest.mark.parametrize("rule", list(TWINS))
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXTS.map("\n".join), min_size=1, max_size=5))
def test_decisions_equal_the_twins_on_made_up_text(rule: str, texts: list[str]) -> None:
    check(rule, texts)


def test_a_reason_names_rule_value_and_threshold() -> None:
    result = gristlm.clean(["three little words"], rules=["unicode", "gopher_quality"])
    assert result.reasons == ["gopher_quality: words 3 < min_words 50"]
    assert result.keep.dtype == np.bool_
    assert not result.keep[0]


@pytest.mark.parametrize(
    "text",
    [
        "敏捷的狐狸跳过了懒狗，河边的石头在阳光下闪着光。孩子们在院子里唱歌，老人坐在门前喝茶。",
        "川のそばの石は日の光で光っていた。子どもたちは庭で歌い、老人は戸の前でお茶を飲んだ。",
        "สุนัขจิ้งจอกกระโดดข้ามสุนัขขี้เกียจ และเด็กๆ ร้องเพลงอยู่ในสวนหลังบ้าน",
    ],
)
def test_text_without_spaces_is_counted_in_pieces_of_a_words_length(text: str) -> None:
    result = gristlm.clean([text, text * 6], rules=["gopher_quality"])
    assert result.keep.tolist() == [False, True]
    assert result.reasons[0] is not None
    assert result.reasons[0].startswith("gopher_quality: words ")


def test_thresholds_can_be_changed() -> None:
    text = "The cat and the dog have been seen with a bird."
    for limits, keep in (
        ({"min_words": 11}, True),
        ({"min_words": 12}, False),
        ({"min_words": 0, "min_stop_words": 9}, False),
    ):
        assert gristlm.clean([text], rules=[("gopher_quality", limits)]).keep.tolist() == [keep]


def test_c4_removes_lines_and_counts_them() -> None:
    kept = "This is one sentence.{} And a second one.\n{}Here is a third! A fourth? Yes."
    result = gristlm.clean(["Menu\n" + kept.format("[1]", "Please enable Javascript to read.\n")], rules=["c4"])
    assert result.texts == [kept.format("", "")]
    assert result.changes == {"c4.lines_removed": 2, "c4.lines_without_citations": 1}


def test_the_first_rule_that_drops_ends_the_way() -> None:
    result = gristlm.clean(["a\u200bb"], rules=["gopher_quality", "unicode", "fineweb"])
    assert result.texts == ["a\u200bb"]
    assert result.reasons[0] is not None
    assert result.reasons[0].startswith("gopher_quality")
    assert result.changes == {}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["gopher-quality"], r"no rule \"gopher-quality\"; did you mean \"gopher_quality\"\?"),
        (["zebra"], r"no rule \"zebra\"; the rules are encoding, unicode"),
        ([("fineweb", {"max_short_lines_ratio": 1})], r"did you mean \"max_short_line_ratio\"\?"),
        ([("unicode", {"form": 1})], r"\"unicode\" has no threshold \"form\""),
        ([("c4", {"min_sentences": -1})], r"min_sentences=-1; give a finite number"),
        ([("c4", {"min_sentences": float("nan")})], "min_sentences=NaN; give a finite number"),
        ([("c4", {"min_sentences": "5"})], "min_sentences='5'; give a number"),
        ([("c4",)], "is no rule; give a name, or"),
        ("c4", r"rules is the string 'c4'; give a list"),
    ],
)
def test_wrong_rules_are_named(rules: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        gristlm.clean(["text"], rules=rules)  # type: ignore[arg-type]


EVERY_RULE = ["encoding", "unicode", "personal_data", "gopher_repetition", "gopher_quality", "c4", "fineweb"]


def test_the_result_does_not_depend_on_threads_or_container(development_data: Path) -> None:
    texts = polars.read_ndjson(development_data / "text" / "multilingual.jsonl")["text"].to_list()[:60]
    wanted = gristlm.clean(texts, rules=EVERY_RULE, num_threads=1)
    columns = (texts, pyarrow.array(texts), pyarrow.chunked_array([texts[:7], texts[7:]]), polars.Series(texts))
    for column in columns:
        result = gristlm.clean(column, rules=EVERY_RULE, num_threads=2)
        assert (result.texts, result.reasons, result.changes) == (wanted.texts, wanted.reasons, wanted.changes)


def test_nothing_one_word_and_huge_texts() -> None:
    huge = "word " * 200_000 + "\n" * 200_000
    for rule in EVERY_RULE:
        result = gristlm.clean(["", "word", "\n", huge, "x" * 1_000_000], rules=[rule])
        assert len(result.texts) == len(result.keep) == len(result.reasons) == 5
        assert gristlm.clean([], rules=[rule]).texts == []
    assert gristlm.clean(["kept as it is \r\n"], rules=[]).texts == ["kept as it is \r\n"]
