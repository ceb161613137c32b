"""Offsets into the text as it was given, where the vocabulary's normalizer changes it."""

import json
import unicodedata
from pathlib import Path

import pytest
from tokenizer_texts import ENGLISH, WORLD

from gristlm.tokenize import Tokenizer

hf = pytest.importorskip("tokenizers")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytestmark = pytest.mark.extras

NORMALIZERS = [
    {"type": "NFC"},
    {"type": "NFKC"},
    {"type": "NFD"},
    {
        "type": "Sequence",
        "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": "a"}, "content": "bb"}],
    },
    {"type": "Replace", "pattern": {"String": "é"}, "content": ""},
]
MARKS = "\u0301\u0327"
TEXTS = [
    "Cafe\u0301 au lait",
    "\u0065\u0327\u0301x",
    "ﬁ ① Å",
    "plain a text",
    "aé",
    "é",
    "",
    "日本語 e\u0301",
]


@pytest.fixture(scope="module", params=range(len(NORMALIZERS)), ids=lambda n: f"normalizer{n}")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, object]:
    """Ours and HF's of one file with a normalizer."""
    path = Path(tmp_path_factory.mktemp("offsets")) / "tokenizer.json"
    Tokenizer.train([*ENGLISH, *WORLD], vocab_size=600, pattern="gpt2").save(path)
    content = json.loads(path.read_text())
    content["normalizer"] = NORMALIZERS[request.param]
    path.write_text(json.dumps(content))
    return Tokenizer.from_file(path), hf.Tokenizer.from_file(str(path))


def check(both: tuple[Tokenizer, object], text: str) -> None:
    ours, theirs = both
    encoding = ours.encode_with_offsets(text, unit="characters")
    expected = theirs.encode(text)
    assert encoding.ids.tolist() == expected.ids == ours.encode(text)
    for (begin, end), (first, last) in zip(encoding.offsets.tolist(), expected.offsets, strict=True):
        # HF points to the first of the characters that became one, we to all; what is added points to nothing there.
        assert begin <= first
        assert last <= end or first == last
    if all(unicodedata.is_normalized("NFKD", character) for character in text) and not set(text) & {*"aé", *MARKS}:
        assert encoding.offsets.tolist() == [list(span) for span in expected.offsets]
    in_bytes = ours.encode_with_offsets(text).offsets
    assert all(0 <= begin <= end <= len(text.encode()) for begin, end in in_bytes.tolist())


@pytest.mark.parametrize("text", TEXTS)
def test_offsets_equal_hf(both: tuple[Tokenizer, object], text: str) -> None:
    check(both, text)


def test_a_composed_character_points_to_all_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer.train(ENGLISH, vocab_size=300, pattern="gpt2").save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "normalizer": {"type": "NFC"}}))
    text = "e\u0301x"
    encoding = Tokenizer.from_file(path).encode_with_offsets(text, unit="characters")
    assert encoding.offsets.tolist() == [[0, 2], [0, 2], [2, 3]], "two bytes of the é, and the x"
    assert Tokenizer.from_file(path).encode_with_offsets(text).offsets.tolist() == [[0, 3], [0, 3], [3, 4]]
    syllables = "\u1112\u1161\u11ab\u1100\u1173\u11af"
    spans = Tokenizer.from_file(path).encode_with_offsets(syllables, unit="characters").offsets.tolist()
    assert {tuple(span) for span in spans} == {(0, 3), (3, 6)}


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab eéÅ1 \n\u0301\u0327日語ﬁ"), max_size=12))
def test_offsets_of_any_text_equal_hf(both: tuple[Tokenizer, object], text: str) -> None:
    check(both, text)
