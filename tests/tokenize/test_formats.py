"""Vocabulary files: what is read comes back, and what is malformed is named."""

import base64
import gzip
import json
from pathlib import Path

import pytest
from tokenizer_texts import WORLD

from gristlm.errors import FormatError, GristlmError, InputError, MissingArtifactError
from gristlm.tokenize import Tokenizer

TEXT = " ".join(WORLD) + " <|endoftext|>"


def lines_of(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


BYTES = {bytes([b]): b for b in range(256)}


def test_tokenizer_json_comes_back(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    trained.save(tmp_path / "other.json")
    for path in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path / "other.json")):
        again = Tokenizer.from_file(path)
        assert again == trained
        assert again.encode(TEXT, allowed_special="all") == trained.encode(TEXT, allowed_special="all")
        assert again.special_tokens == trained.special_tokens
        assert again.pattern == "o200k"


@pytest.mark.parametrize(
    "pattern", ["gpt2", "cl100k", "o200k", "llama3", "qwen2", "tekken", "deepseek", "none", r"\w+|\W"]
)
def test_patterns_come_back(pattern: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(WORLD, vocab_size=400, pattern=pattern)
    tokenizer.save(tmp_path)
    assert Tokenizer.from_file(tmp_path).pattern == tokenizer.pattern == pattern
    assert Tokenizer.from_file(tmp_path) == tokenizer


def test_tiktoken_comes_back(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path / "vocab.tiktoken")
    (tmp_path / "vocab.tiktoken.gz").write_bytes(gzip.compress((tmp_path / "vocab.tiktoken").read_bytes()))
    for name in ("vocab.tiktoken", "vocab.tiktoken.gz"):
        again = Tokenizer.from_tiktoken(tmp_path / name, pattern="o200k", special_tokens=trained.special_tokens)
        assert again.encode(TEXT, allowed_special="all") == trained.encode(TEXT, allowed_special="all")
        assert again.special_tokens == trained.special_tokens
    (tmp_path / "crlf.tiktoken").write_bytes((tmp_path / "vocab.tiktoken").read_bytes().replace(b"\n", b"\r\n"))
    assert Tokenizer.from_tiktoken(tmp_path / "crlf.tiktoken", pattern="o200k").vocab_size == trained.vocab_size


def test_a_whole_pretoken_needs_no_merges(tmp_path: Path) -> None:
    # "abcd" cannot be reached by merging: nothing leads there. tiktoken takes it whole where it is a pretoken.
    (tmp_path / "v.tiktoken").write_bytes(lines_of({**BYTES, b"abcd": 256, b"bc": 257}))
    tokenizer = Tokenizer.from_tiktoken(tmp_path / "v.tiktoken", pattern="gpt2")
    assert tokenizer.encode("abcd") == [256]
    assert tokenizer.encode("xabcd") == [120, 97, 257, 100]
    tokenizer.save(tmp_path)
    assert Tokenizer.from_file(tmp_path).encode("abcd xabcd") == tokenizer.encode("abcd xabcd")


def test_ranks_that_no_training_gives(tmp_path: Path) -> None:
    # "abc" ranks before "ab": once "ab" is merged, "abc" is next although its rank is lower.
    (tmp_path / "v.tiktoken").write_bytes(lines_of({**BYTES, b"abc": 256, b"ab": 257, b"bcd": 258}))
    tokenizer = Tokenizer.from_tiktoken(tmp_path / "v.tiktoken", pattern="none")
    assert tokenizer.encode("xabcx") == [120, 256, 120]
    assert tokenizer.encode("xabcdx") == [120, 256, 100, 120]
    assert tokenizer.encode("abc" * 3000 + "x") == [256] * 3000 + [120]


def test_gpt2_files(trained: Tokenizer, tmp_path: Path) -> None:
    model = json.loads(Tokenizer.train(WORLD, vocab_size=500, pattern="gpt2").state.to_json())["model"]
    encoder = {**model["vocab"], "<|endoftext|>": 500}
    (tmp_path / "encoder.json").write_text(json.dumps(encoder))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    tokenizer = Tokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")
    assert tokenizer.special_tokens == {"<|endoftext|>": 500}
    assert tokenizer.vocab_size == 501
    plain = Tokenizer.train(WORLD, vocab_size=500, pattern="gpt2")
    assert tokenizer.encode(TEXT) == plain.encode(TEXT)
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\na b c\n")
    with pytest.raises(FormatError, match=r"vocab\.bpe: line 2"):
        Tokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")
    (tmp_path / "encoder.json").write_text("[1, 2]")
    with pytest.raises(FormatError, match=r"encoder\.json"):
        Tokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0x00"),
        (lines_of(BYTES).replace(b"AA== 0\n", b""), "byte 0x00"),
        (lines_of(BYTES) + b"YWI=\n", "line 257: no space"),
        (lines_of(BYTES) + b"YW!= 256\n", "line 257: .* base64"),
        (lines_of(BYTES) + b"YWI= x\n", "line 257: .* rank"),
        (lines_of(BYTES) + b"YWI= -1\n", "line 257: .* rank"),
        (lines_of(BYTES) + b"YWI= 5\n", "line 257: id 5 is given twice"),
        (lines_of(BYTES) + b"YWI= 256\nYWI= 257\n", "twice"),
        (lines_of(BYTES) + b"YWI= 4000000000\n", "16777215"),
        (gzip.compress(lines_of(BYTES))[:-4], "gzip"),
        (b"\x00\xff\xfe", "line 1"),
    ],
)
def test_malformed_tiktoken(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.tiktoken").write_bytes(content)
    with pytest.raises(FormatError, match=message) as failure:
        Tokenizer.from_tiktoken(tmp_path / "bad.tiktoken", pattern="gpt2")
    assert "bad.tiktoken" in str(failure.value)


def change(definition: dict, path: str, value: object) -> dict:
    changed = json.loads(json.dumps(definition))
    at = changed
    *parents, last = path.split(".")
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(last) if isinstance(at, list) else last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.type", "Unigram", "Unigram"),
        ("model.type", "WordPiece", "WordPiece"),
        ("model.vocab", [["a", 1.0]], "not an object"),
        ("model.vocab", {"a": 1}, "not in the vocabulary"),
        ("model.vocab", {"a": -1}, "line"),
        ("model.vocab", {"a": "x"}, "line"),
        ("model.vocab", 5, "vocabulary"),
        ("model.merges", [["a"]], "merge"),
        ("model.merges", ["nospace"], "nospace"),
        ("model.merges", [["a", "b", "c"]], "merge"),
        ("model.merges", [["q", "漢"]], "not in the vocabulary"),
        ("model.merges", [["q", "q"]], "merge 0 makes"),
        ("model.byte_fallback", True, "byte_fallback"),
        ("model.dropout", 0.1, "dropout"),
        ("model.end_of_word_suffix", "</w>", "end_of_word_suffix"),
        ("model", None, "line"),
        ("truncation", {"max_length": 5}, "truncation"),
        ("padding", {"strategy": {"Fixed": 5}}, "padding"),
        ("normalizer", {"type": "Lowercase"}, "Lowercase"),
        ("pre_tokenizer", {"type": "Metaspace"}, "Metaspace"),
        ("pre_tokenizer", None, "ByteLevel"),
        ("pre_tokenizer.pretokenizers.0.behavior", "MergedWithNext", "MergedWithNext"),
        ("pre_tokenizer.pretokenizers.1.add_prefix_space", True, "add_prefix_space"),
        ("added_tokens.0.content", "", "empty"),
        ("added_tokens.0.id", 1000, "given twice"),
        ("added_tokens.0.id", 4_000_000_000, "16777215"),
    ],
)
def test_malformed_or_unsupported_tokenizer_json(
    definition: dict, tmp_path: Path, path: str, value: object, message: str
) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(change(definition, path, value)))
    with pytest.raises(FormatError, match=message) as failure:
        Tokenizer.from_file(tmp_path / "bad.json")
    assert "bad.json" in str(failure.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"model": {}}', '"text"', "\x00" * 100, "{" * 10_000, "[" * 10_000]
)
def test_files_that_are_no_tokenizer_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(FormatError, match=r"bad\.json"):
        Tokenizer.from_file(tmp_path / "bad.json")


def test_a_cut_off_file_never_gives_a_smaller_vocabulary(trained: Tokenizer, tmp_path: Path) -> None:
    whole = trained.state.to_json().encode().rstrip()
    for length in range(0, len(whole), len(whole) // 40):
        (tmp_path / "cut.json").write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"cut\.json"):
            Tokenizer.from_file(tmp_path / "cut.json")


def test_a_bad_regular_expression_in_a_file(definition: dict, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(
        json.dumps(change(definition, "pre_tokenizer.pretokenizers.0.pattern", {"Regex": "(a"}))
    )
    with pytest.raises(FormatError, match=r"bad\.json: pre_tokenizer: pattern"):
        Tokenizer.from_file(tmp_path / "bad.json")


def test_older_forms_are_read(definition: dict, tmp_path: Path, trained: Tokenizer) -> None:
    old = change(definition, "model.merges", [" ".join(merge) for merge in definition["model"]["merges"]])
    del old["model"]["type"], old["model"]["ignore_merges"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert Tokenizer.from_file(tmp_path / "old.json").encode(TEXT) == trained.encode(TEXT)


def test_normalizers(definition: dict, tmp_path: Path, trained: Tokenizer) -> None:
    import unicodedata

    text = "e\u0301 ﬁ Å ½ 한국"
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for value in ({"type": form}, {"type": "Sequence", "normalizers": [{"type": form}]}):
            (tmp_path / "n.json").write_text(json.dumps(change(definition, "normalizer", value)))
            tokenizer = Tokenizer.from_file(tmp_path / "n.json")
            assert tokenizer.encode(text) == trained.encode(unicodedata.normalize(form, text))
            assert tokenizer.encode_batch([text]).to_lists() == [tokenizer.encode(text)]
            assert tokenizer.encode_with_offsets(text).ids.tolist() == tokenizer.encode(text)


def test_missing_files(tmp_path: Path) -> None:
    for call in (
        lambda: Tokenizer.from_file(tmp_path / "no.json"),
        lambda: Tokenizer.from_file(tmp_path),
        lambda: Tokenizer.from_tiktoken(tmp_path / "no.tiktoken", pattern="gpt2"),
        lambda: Tokenizer.from_gpt2(tmp_path / "vocab.bpe", tmp_path / "encoder.json"),
    ):
        with pytest.raises(MissingArtifactError):
            call()


def test_special_tokens_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "v.tiktoken").write_bytes(lines_of(BYTES))
    with pytest.raises(GristlmError, match="given twice"):
        Tokenizer.from_tiktoken(tmp_path / "v.tiktoken", pattern="gpt2", special_tokens={"<s>": 5})


def test_what_tiktoken_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        Tokenizer.characters(["abc"]).save(tmp_path / "c.tiktoken")


def test_characters_and_words(tmp_path: Path) -> None:
    characters = Tokenizer.characters(["hello", "wörld"])
    assert characters.vocab_size == 9
    assert characters.decode(characters.encode("hollow")) == "hollow"
    assert characters.encode("hz") == [characters.token_to_id("h"), 0]
    assert characters.decode(characters.encode("z")) == "<unk>"
    words = Tokenizer.words(["the cat saw the dog", "the the end"], vocab_size=4)
    assert words.vocab_size == 4
    assert words.encode("the the cow") == [words.token_to_id("the"), words.token_to_id(" the"), 0]
    for tokenizer in (characters, words):
        tokenizer.save(tmp_path)
        again = Tokenizer.from_file(tmp_path)
        assert again == tokenizer
        assert again.encode("the hello") == tokenizer.encode("the hello")
        encoding = tokenizer.encode_with_offsets("the wörld zz", unit="characters")
        assert encoding.offsets[0, 0] == 0
        assert encoding.offsets[-1, 1] == 12
        assert tokenizer.encode_batch(["the", "zz"]).to_lists() == [tokenizer.encode("the"), tokenizer.encode("zz")]
    for call in (
        lambda: Tokenizer.characters([]),
        lambda: Tokenizer.words([], vocab_size=9),
        lambda: Tokenizer.words(["a"], vocab_size=1),
    ):
        with pytest.raises(InputError):
            call()
