"""Training on more different words than the memory holds; the table of words."""

import logging
import re
import subprocess
import sys
from collections import Counter

import pytest
from tokenizer_texts import ENGLISH, WORLD

from gristlm.errors import InputError
from gristlm.tokenize import Tokenizer, training

STREAM = """
import resource
from gristlm.tokenize import Tokenizer, training

training.BATCH_BYTES = 1 << 20

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

def texts(number):
    for start in range(0, number, 1000):
        yield " ".join(f"w{n}x{n} the cat" for n in range(start, start + 1000))

def train(number):
    return Tokenizer.train(
        texts(number), vocab_size=300, pattern=r"\\S+|\\s+", num_threads=1, max_memory_bytes=64 << 20
    )

train(10_000)
before = peak()
tokenizer = train(2_000_000)
assert tokenizer.token_to_id("the") is not None and tokenizer.token_to_id("cat") is not None
print(peak() - before)
"""


def test_an_endless_stream_of_different_words_stays_below_the_limit() -> None:
    run = subprocess.run([sys.executable, "-c", STREAM], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 64 + 32, "MB: the limit, and what one batch of texts takes"


def test_what_is_forgotten_does_not_depend_on_threads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(training, "BATCH_BYTES", 1 << 16)
    texts = [*ENGLISH, *(" ".join(f"w{n}" for n in range(start, start + 100)) for start in range(0, 50_000, 100))]

    def train(max_memory_bytes: int | None, num_threads: int) -> Tokenizer:
        return Tokenizer.train(texts, vocab_size=900, max_memory_bytes=max_memory_bytes, num_threads=num_threads)

    with caplog.at_level(logging.WARNING):
        exact = train(None, 2)
        assert not caplog.records
        bounded = train(1 << 20, 1)
        assert "rare ones were forgotten" in caplog.text
    assert train(1 << 20, 3) == bounded
    assert train(64 << 20, 1) == exact
    assert bounded.token_to_id(" the") is not None


@pytest.mark.parametrize("limit", [-1, 0, 1000])
def test_a_limit_that_is_too_low(limit: int) -> None:
    with pytest.raises(InputError, match="max_memory_bytes"):
        Tokenizer.train(["a"], vocab_size=300, max_memory_bytes=limit)


def test_the_table_of_words() -> None:
    table = training.word_frequencies(ENGLISH + WORLD, pattern=r"\S+|\s+", num_threads=2)
    expected = Counter(word.encode() for text in ENGLISH + WORLD for word in re.findall(r"\S+|\s+", text))
    assert table == sorted(expected.items(), key=lambda item: (-item[1], item[0]))
