"""Inputs that make tokenizers slow: time grows with their length and no more."""

import gzip
import random
import time
from pathlib import Path

import pytest

from gristlm.errors import FormatError, InputError
from gristlm.tokenize import Tokenizer

MB = 1 << 20
INPUTS = {
    "one letter": "a" * MB,
    "spaces": " " * MB,
    "spaces and a letter": " " * MB + "a",
    "line breaks": "\n" * MB,
    "carriage returns": "\r\n" * (MB // 2),
    "tabs": "\t " * (MB // 2),
    "carets": "^" * MB,
    "apostrophes": "'" * MB,
    "one word": "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=MB)),
    "upper case": "".join(random.Random(0).choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=MB)),
    "caseless and upper": "ªA" * (MB // 3),
    "Han": "".join(chr(random.Random(0).randrange(0x4E00, 0x9FA5)) for _ in range(MB // 3)),
    "one Han": "漢" * (MB // 3),
    "marks": "a" + "\u0301" * (MB // 2),
    "digits": "7" * MB,
    "zeros": "\0" * MB,
}


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "o200k", "llama3", "deepseek"])
def test_a_megabyte_takes_no_time(trained: Tokenizer, pattern: str) -> None:
    tokenizer = Tokenizer.train(
        ["aaaa bbbb 漢字漢字 the then ABAB 0000 ^^^^ \n\n\n\n    '''' ªªAA"] * 3, vocab_size=320, pattern=pattern
    )
    for name, text in INPUTS.items():
        for encoder in (tokenizer, trained):
            started = time.process_time()
            ids = encoder.encode_array(text)
            seconds = time.process_time() - started
            assert seconds < 0.6, f"{name}: {seconds:.2f} s"
            assert encoder.decode_bytes(ids) == text.encode(), name


def test_random_bytes(trained: Tokenizer) -> None:
    data = random.Random(1).randbytes(MB)
    started = time.process_time()
    ids = trained.encode(data)
    assert time.process_time() - started < 1.0
    assert trained.decode_bytes(ids) == data


def test_training_on_one_word() -> None:
    for text in (INPUTS["one letter"], INPUTS["one word"][: MB // 8]):
        started = time.process_time()
        Tokenizer.train([text], vocab_size=300, pattern="cl100k")
        assert time.process_time() - started < 5


def test_an_expression_that_takes_too_long_is_an_error() -> None:
    pattern = r"(?:(?=a)a+)+c|."
    text = "a" * 40
    tokenizer = Tokenizer.train(["abc"], vocab_size=256, pattern=pattern)
    for call in (
        lambda: tokenizer.encode(text),
        lambda: Tokenizer.train([text], vocab_size=300, pattern=pattern),
    ):
        with pytest.raises(InputError, match=r"pattern .*backtrack"):
            call()


def test_packed_files_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gristlm.tokenize.text_files.MAX_TEXT_BYTES", MB)
    monkeypatch.setattr("gristlm.tokenize.tokenizer.MAX_FILE_BYTES", MB)
    for name in ("text.txt.gz", "rows.jsonl.gz", "vocab.tiktoken.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b" " * 4 * MB))
    for name in ("text.txt.gz", "rows.jsonl.gz"):
        with pytest.raises(FormatError, match=r"gz holds a text or a line of more than"):
            Tokenizer.train(tmp_path / name, vocab_size=300)
    with pytest.raises(FormatError, match="unpacks to more"):
        Tokenizer.from_tiktoken(tmp_path / "vocab.tiktoken.gz", pattern="gpt2")


def test_the_cache_is_bounded(trained: Tokenizer) -> None:
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    trained.encode_array(" ".join(f"w{n}" for n in range(100_000)))
    before = peak()
    for start in range(0, 3_000_000, 100_000):
        trained.encode_array(" ".join(f"w{n}x{n}" + "y" * (n % 40) for n in range(start, start + 100_000)))
    assert peak() - before < 80 * MB
