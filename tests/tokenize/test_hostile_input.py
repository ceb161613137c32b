"""Inputs that make tokenizers slow: time grows with their length and no more."""

import random
import time

import pytest

from gristlm.errors import InputError
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
    pattern = r"(?:a+)+(?!b)c|."
    text = "a" * 40
    tokenizer = Tokenizer.train(["abc"], vocab_size=256, pattern=pattern)
    for call in (
        lambda: tokenizer.encode(text),
        lambda: tokenizer.encode_batch([text]),
        lambda: tokenizer.encode_with_offsets(text),
        lambda: Tokenizer.train([text], vocab_size=300, pattern=pattern),
    ):
        with pytest.raises(InputError, match="pattern .*backtrack"):
            call()


def test_the_cache_is_bounded(trained: Tokenizer) -> None:
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    trained.encode_array(" ".join(f"w{n}" for n in range(100_000)))
    before = peak()
    for start in range(0, 3_000_000, 100_000):
        trained.encode_array(" ".join(f"w{n}x{n}" + "y" * (n % 40) for n in range(start, start + 100_000)))
    assert peak() - before < 80 * MB
