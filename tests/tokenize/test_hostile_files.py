"""Vocabulary files cut off, changed or made to harm: an error that names the file, in bounded time and memory."""

import base64
import json
import random
import resource
import time
from pathlib import Path

import pytest
from tokenizer_texts import WORLD

from gristlm.errors import FormatError, GristlmError, InputError
from gristlm.tokenize import Tokenizer

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXT = " ".join(WORLD)


def tekken() -> dict:
    tokens = [bytes([b]) for b in range(256)] + [b"th", b"the", b" the"]
    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(tokens),
            "default_vocab_size": len(tokens) + 10,
            "default_num_special_tokens": 10,
            "version": "v3",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
            for rank, token in enumerate(tokens)
        ],
    }


@pytest.fixture(scope="module")
def files(trained: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file of each format."""
    folder = tmp_path_factory.mktemp("whole")
    small = Tokenizer.train(WORLD, vocab_size=400, pattern="gpt2")
    small.save(folder / "tokenizer.json")
    small.save(folder / "v.tiktoken")
    (folder / "tekken.json").write_text(json.dumps(tekken()))
    model = json.loads(small.state.to_json())["model"]
    (folder / "encoder.json").write_text(json.dumps({**model["vocab"], "<|endoftext|>": 400}))
    (folder / "vocab.bpe").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    return folder


def read(folder: Path, name: str) -> Tokenizer:
    if name in ("encoder.json", "vocab.bpe"):
        return Tokenizer.from_gpt2(folder / "vocab.bpe", folder / "encoder.json")
    if name == "v.tiktoken":
        return Tokenizer.from_tiktoken(folder / name, pattern="gpt2")
    return Tokenizer.from_file(folder / name)


FORMATS = ("tokenizer.json", "v.tiktoken", "tekken.json", "encoder.json", "vocab.bpe")


@pytest.mark.parametrize("name", FORMATS)
def test_a_whole_file_is_read(files: Path, name: str) -> None:
    tokenizer = read(files, name)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT


@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith(".json")])
def test_a_file_cut_off_anywhere(files: Path, tmp_path: Path, name: str) -> None:
    for other in ("vocab.bpe", "encoder.json"):
        (tmp_path / other).write_bytes((files / other).read_bytes())
    whole = (files / name).read_bytes().rstrip()
    rng = random.Random(0)
    for end in (0, 1, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(60))):
        (tmp_path / name).write_bytes(whole[:end])
        with pytest.raises(FormatError) as failure:
            read(tmp_path, name)
        assert name in str(failure.value)


def test_lines_cut_off(files: Path, tmp_path: Path) -> None:
    # Not at the end of a line: a file of fewer lines is a whole file of its format.
    whole = (files / "v.tiktoken").read_bytes().rstrip()
    last = whole.rindex(b"\n") + 1
    for end in range(last + 1, len(whole)):
        (tmp_path / "v.tiktoken").write_bytes(whole[:end])
        with pytest.raises(FormatError, match=r"v\.tiktoken: "):
            read(tmp_path, "v.tiktoken")


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_are_an_error_or_a_vocabulary_that_works(files: Path, tmp_path: Path, name: str) -> None:
    for other in FORMATS:
        (tmp_path / other).write_bytes((files / other).read_bytes())
    whole = (files / name).read_bytes()
    rng = random.Random(1)
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            changed[at : at + rng.randrange(3)] = rng.choice((b"", b"9", b'"', b"\xff", b" ", b"-1e9", b"[", b"a b"))
        (tmp_path / name).write_bytes(changed)
        try:
            tokenizer = read(tmp_path, name)
        except FormatError as failure:
            message = str(failure)
        except InputError as failure:
            message = str(failure)
        else:
            assert len(tokenizer.decode_bytes(tokenizer.encode("an ordinary text"))) > 0
            continue
        assert any(word in message for word in (*FORMATS, "pattern")), message


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("config.default_vocab_size", 10**9, "259 tokens"),
        ("config.default_vocab_size", 5, "."),
        ("config.default_num_special_tokens", 4_000_000_000, "."),
        ("config.default_num_special_tokens", -1, "line 1"),
        ("config.pattern", "(", "pattern"),
        ("config.pattern", None, "line 1"),
        ("vocab", [], "."),
        ("vocab", None, "line 1"),
        ("vocab.300", {"rank": 1}, "."),
        ("vocab.7", {"rank": 8, "token_bytes": "AA=="}, "."),
        ("vocab.7", {"rank": 7, "token_bytes": "!!"}, "base64"),
        ("vocab.7", {"rank": 4_000_000_000, "token_bytes": "Bw=="}, "."),
        ("vocab.7", {"rank": float("nan"), "token_bytes": "Bw=="}, "."),
        ("vocab.7", {"rank": 7.5, "token_bytes": "Bw=="}, "line 1"),
        ("special_tokens", [{"rank": 0, "token_str": "<s>"}, {"rank": 0, "token_str": "<t>"}], "twice"),
    ],
)
def test_malformed_tekken(tmp_path: Path, path: str, value: object, message: str) -> None:
    changed = tekken()
    at: object = changed
    *parents, last = path.split(".")
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if isinstance(at, list) and int(last) >= len(at):
        at.append(value)
    else:
        at[int(last) if isinstance(at, list) else last] = value
    (tmp_path / "tekken.json").write_text(json.dumps(changed))
    with pytest.raises(GristlmError, match=message) as failure:
        Tokenizer.from_file(tmp_path / "tekken.json")
    assert "tekken.json" in str(failure.value) or "pattern" in str(failure.value)


@pytest.mark.parametrize(
    "content",
    [
        '{"model": {"type": "BPE", "vocab": {"a": NaN}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 1e99}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 999999999999999999999}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 16777216}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}, "pre_tokenizer": {"type": "ByteLevel"}}',
        '{"model": {"type": "BPE", "vocab": {"\\ud800": 0}, "merges": []}}',
        '{"normalizer": ' + '{"type": "Sequence", "normalizers": [' * 100_000,
        '{"pre_tokenizer": ' + "[" * 1_000_000,
        '{"model": {"vocab": {"' + "a" * 5_000_000,
        '{"model": {"type": "BPE", "vocab": {}, "merges": [' + '"a b",' * 100_000 + '"a b"]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "Split", "pattern": '
        '{"Regex": "(((((a{1000}){1000}){1000}){1000}){1000})"}, "behavior": "Isolated", "invert": false}}',
    ],
)
def test_files_made_to_harm(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(GristlmError) as failure:
        Tokenizer.from_file(tmp_path / "bad.json")
    assert "bad.json" in str(failure.value)
    assert len(str(failure.value)) < 1000
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


def test_a_file_that_claims_more_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = b"".join(base64.b64encode(bytes([b])) + b" %d\n" % b for b in range(256))
    for line in (b"YWI= 16777216\n", b"YWI= 4294967296\n", b"YWI= 99999999999999999999\n", b"YWI= 1 1\n", b" 300\n"):
        (tmp_path / "v.tiktoken").write_bytes(rows + line)
        with pytest.raises(FormatError, match=r"v\.tiktoken: line 257"):
            Tokenizer.from_tiktoken(tmp_path / "v.tiktoken", pattern="gpt2")
    (tmp_path / "v.tiktoken").write_bytes(rows + b"YWFhYWFh" * 500_000)
    with pytest.raises(FormatError) as failure:
        Tokenizer.from_tiktoken(tmp_path / "v.tiktoken", pattern="gpt2")
    assert len(str(failure.value)) < 1000
    monkeypatch.setattr("gristlm.tokenize.tokenizer.MAX_FILE_BYTES", 1 << 20)
    for name in ("huge.tiktoken", "huge.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(8 << 30)
        with pytest.raises(FormatError, match=rf"{name} has more than 1,048,576 bytes"):
            Tokenizer.from_tiktoken(tmp_path / name, pattern="gpt2") if "tik" in name else Tokenizer.from_file(
                tmp_path / name
            )
