"""The bench's frame: equal results first, ratios, text, JSON and picture."""

import json
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from gristlm.bench import AREAS, adversarial, run_bench
from gristlm.bench.frame import BenchTable, Contender
from gristlm.bench.tokenizer_corpus import read_corpus
from gristlm.errors import InputError, MissingArtifactError
from gristlm.tokenize import Tokenizer


def test_a_contender_whose_result_differs_is_left_out_by_name() -> None:
    def spend(_: None) -> int:
        started = time.process_time()
        while time.process_time() - started < 0.02:
            pass
        return 1

    table = BenchTable.begin("tokenizer", "a <text> & more")
    slow = Contender("slow", lambda: None, spend)
    wrong = Contender("wrong", lambda: None, lambda _: 2)
    table.compare(
        "task", 1_000_000, [Contender("gristlm", lambda: None, lambda _: sum(range(50_000)) * 0 + 1), slow, wrong]
    )
    assert [row.library for row in table.rows] == ["gristlm", "slow"]
    assert table.rows[0].ratio == pytest.approx(1)
    assert table.rows[1].ratio > 1
    assert table.rows[1].megabytes_per_second < 60
    assert "differs" in table.skipped["wrong: task"]
    assert "slow" in table.to_text()
    assert "left out: wrong: task" in table.to_text()
    body = json.loads(table.to_json())
    assert body["rows"][1]["megabytes_per_cpu_second"] == pytest.approx(table.rows[1].megabytes_per_second)
    assert body["cores"] >= 1
    assert ET.fromstring(table.to_svg()).tag.endswith("svg")


def test_unknown_areas_and_peers_name_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tokenizer"):
        run_bench("flying")
    with pytest.raises(InputError, match="tiktoken"):
        run_bench("tokenizer", peers=["nothing"])
    with pytest.raises(MissingArtifactError, match=r"no\.txt"):
        run_bench("tokenizer", files=[tmp_path / "no.txt"])
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="no text"):
        run_bench("tokenizer", files=[tmp_path])
    assert "tokenizer" in AREAS


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows on little text."""
    for name, value in {
        "tokenizer_corpus.KIND_BYTES": 20_000,
        "tokenizer.ONE_STRING_BYTES": 50_000,
        "tokenizer.SHORT_CALLS": 100,
        "adversarial.BYTES": 4096,
        "tokenizer_training.SMALL_BYTES": 100_000,
        "tokenizer_training.VOCAB_SIZE": 600,
        "two_threads.ROUNDS": 1,
    }.items():
        monkeypatch.setattr(f"gristlm.bench.{name}", value)


@pytest.mark.extras
def test_the_tokenizer_rows(tmp_path: Path, short: None, trained: Tokenizer) -> None:
    pytest.importorskip("tiktoken")
    pytest.importorskip("tokenizers")
    (tmp_path / "text.txt").write_text("The cat saw 12 dogs; naïve!\n" * 200)
    trained.save(tmp_path / "tokenizer.json")
    files = [tmp_path / "text.txt", tmp_path / "tokenizer.json"]
    table = run_bench("tokenizer", files=files, peers=["tiktoken", "tokenizers"])
    assert {row.library for row in table.rows} == {"gristlm", "tiktoken", "tokenizers"}
    by_task = {row.task: row for row in table.rows if row.library == "tiktoken"}
    assert set(by_task) >= {
        *(f"{kind}, one by one, cold" for kind in ("English", "multilingual", "code")),
        "English, one by one, warm",
        "English, batch to array, warm",
        "multilingual, batch to array, warm",
        "one string of 0 MB",
        "a call with 9 bytes",
        "decode from lists",
        "decode from arrays",
        *(f"1 MB: {kind}" for kind in adversarial.inputs()),
        "load .tiktoken",
    }
    assert by_task["a call with 9 bytes"].unit == "ns/call"
    assert by_task["a call with 9 bytes"].figure == pytest.approx(by_task["a call with 9 bytes"].cpu_seconds * 1e7)
    assert {row.unit for row in table.rows} == {"MB/s", "ns/call", "ms", "s"} | ({"x"} if table.cores > 1 else set())
    assert [row.library for row in table.rows if row.unit == "s" and "train" in row.task] == ["gristlm", "tokenizers"]
    assert all("does not read it" in why or "one core" in why for why in table.skipped.values()), table.skipped
    assert "text.txt" in table.text
    assert max(map(len, table.to_text().splitlines())) <= 120


def test_files_are_put_with_the_kind_that_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain English text, a naïve one\n" * 50)
    (tmp_path / "b.txt").write_text("敏捷的棕色狐狸跳过了懒狗 and then some\n" * 50)
    (tmp_path / "c.py").write_text("print('héé')\n" * 50)
    corpus = read_corpus([tmp_path])
    assert "plain" in corpus.english[0]
    assert "敏捷" in corpus.multilingual[0]
    assert "print" in corpus.code[0]
    assert all(text == text.rstrip() for text in (*corpus.english, *corpus.multilingual, *corpus.code))


def test_a_peer_that_fails_or_panics_is_left_out_by_name() -> None:
    class Panic(BaseException):
        pass

    def fail(_: None) -> int:
        raise Panic("entered unreachable code\nmore")

    table = BenchTable.begin("tokenizer")
    table.compare(
        "task", 1, [Contender("gristlm", lambda: None, lambda _: 1), Contender("bad", lambda: None, fail)], unit="ms"
    )
    assert [row.library for row in table.rows] == ["gristlm"]
    assert table.skipped == {"bad: task": "it fails: entered unreachable code"}
