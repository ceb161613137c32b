"""Pickling, forking, and stopping."""

import copy
import json
import os
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest
from tokenizer_texts import ENGLISH, WORLD

from gristlm.tokenize import Tokenizer


class Mine(Tokenizer):
    """A subclass keeps its class."""


def test_pickle_and_copy_give_an_equal_tokenizer(trained: Tokenizer) -> None:
    for other in (pickle.loads(pickle.dumps(trained)), copy.deepcopy(trained), copy.copy(trained)):
        assert type(other) is Tokenizer
        assert other == trained
        assert hash(other) == hash(trained)
        assert [other.encode(text) for text in WORLD] == [trained.encode(text) for text in WORLD]
    assert type(pickle.loads(pickle.dumps(Mine(trained.state)))) is Mine
    assert trained != Tokenizer.train(ENGLISH[:3], vocab_size=300)


def test_every_kind_of_tokenizer_is_pickled(definition: dict, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({**definition, "normalizer": {"type": "NFC"}}))
    for tokenizer in (
        Tokenizer.characters(WORLD),
        Tokenizer.words(ENGLISH, vocab_size=400),
        Tokenizer.train(ENGLISH[:5], vocab_size=300, pattern=r"\w+|\W+"),
        Tokenizer.from_file(tmp_path),
    ):
        other = pickle.loads(pickle.dumps(tokenizer))
        assert other == tokenizer
        assert [other.encode(text) for text in WORLD] == [tokenizer.encode(text) for text in WORLD]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_encodes_in_parallel(trained: Tokenizer) -> None:
    texts = ENGLISH * 2
    expected = trained.encode_batch(texts, num_threads=2).ids
    child = os.fork()
    if child == 0:
        same = (trained.encode_batch(texts, num_threads=2).ids == expected).all()
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the forked process hangs")


def test_ctrl_c_stops_a_long_call(trained: Tokenizer) -> None:
    text = "".join(f"word{number} " for number in range(300_000)) * 60
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        trained.encode_batch([text] * 20)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("kind", ["broken bytes", "one long pretoken", "dropout"])
def test_ctrl_c_stops_one_long_text(trained: Tokenizer, kind: str) -> None:
    text = "".join(f"word{number} " for number in range(300_000)) * 10
    calls = {
        "broken bytes": lambda: [trained.encode_array(text.encode() + b"\xff") for _ in range(20)],
        "one long pretoken": lambda: [trained.encode_array("ab" * 20_000_000) for _ in range(20)],
        "dropout": lambda: trained.encode_array(text, dropout=0.5),
    }
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        calls[kind]()
    assert time.monotonic() - started < 10
