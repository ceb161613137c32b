"""The stages `tokenizer` and `tokens`, and `encode_files`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizer_texts import ENGLISH, WORLD

from gristlm.errors import ArtifactError, ConfigError, DamagedArtifactError, InputError, MissingArtifactError
from gristlm.tokenize import TokenDataset, Tokenizer

pa = pytest.importorskip("pyarrow")
pydantic = pytest.importorskip("pydantic")
import pyarrow.parquet as pq  # noqa: E402

from gristlm.runs import artifact  # noqa: E402
from gristlm.runs.config import StageConfig  # noqa: E402
from gristlm.tokenize import TokenizerConfig, TokensConfig, document_sources, run, train_tokenizer  # noqa: E402

pytestmark = pytest.mark.extras
HELDOUT = WORLD[:3]
TRAIN = [*ENGLISH, *WORLD[3:], "text with <|endoftext|> in it", ""]


def _source(document_id: str) -> str:
    return "other" if document_id == "heldout-00000/1" else "topics"


def write_documents(path: Path) -> Path:
    stage = artifact.begin(path, kind="documents", config=StageConfig(), inputs={})
    for name, texts in (("train-00000", TRAIN[:40]), ("train-00001", TRAIN[40:]), ("heldout-00000", HELDOUT)):
        languages = ["en" if text.isascii() else "mul" for text in texts]
        ids = [f"{name}/{number}" for number in range(len(texts))]
        table = {"id": ids, "text": texts, "source": [_source(one) for one in ids], "language": languages}
        pq.write_table(pa.table(table), path / f"{name}.parquet")
    stage.finish(counts={})
    return path


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    documents = write_documents(root / "documents")
    train_tokenizer(TokenizerConfig(vocab_size=1000), {"documents": documents}, root / "tokenizer")
    run(TokensConfig(), {"documents": documents, "tokenizer": root / "tokenizer"}, root / "tokens")
    return root


def test_the_tokenizer_is_trained_on_the_train_split_alone(run_dir: Path) -> None:
    expected = Tokenizer.train(
        TRAIN,
        vocab_size=1000,
        min_frequency=2,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"],
    )
    assert Tokenizer.from_file(run_dir / "tokenizer") == expected
    manifest = artifact.verify(run_dir / "tokenizer", artifact.load(run_dir / "tokenizer", kind="tokenizer"))
    assert manifest.counts["vocab_size"] == 1000


def test_statistics(run_dir: Path) -> None:
    figures = json.loads((run_dir / "tokenizer" / "statistics.json").read_text())
    tokenizer = Tokenizer.from_file(run_dir / "tokenizer")
    heldout = figures["splits"]["heldout"]
    assert heldout["bytes"] == sum(len(text.encode()) for text in HELDOUT)
    assert heldout["tokens"] == sum(len(tokenizer.encode(text)) for text in HELDOUT)
    assert figures["bytes_per_token"]["heldout"] == pytest.approx(heldout["bytes"] / heldout["tokens"], abs=1e-4)
    assert figures["bytes_per_token"]["train"] > 2
    assert set(figures["splits"]["train"]["by_language"]) == {"en", "mul"}
    assert figures["splits"]["train"]["by_source"]["topics"]["documents"] == len(TRAIN)
    lengths = [token["bytes"] for token in figures["longest_tokens"]]
    assert lengths == sorted(lengths, reverse=True)


def test_tokens_are_the_documents_with_an_end_each(run_dir: Path) -> None:
    tokenizer = Tokenizer.from_file(run_dir / "tokenizer")
    end = tokenizer.special_tokens["<|endoftext|>"]
    for split, texts in (("train", TRAIN), ("heldout", HELDOUT)):
        dataset = TokenDataset(run_dir / "tokens" / split)
        assert len(dataset) == len(texts)
        assert [row.tolist() for row in dataset] == [[*tokenizer.encode(text), end] for text in texts]
        assert dataset.vocab_size == 1000
    assert TokenDataset(run_dir / "tokens" / "train").document_id(41) == "train-00001/1"
    found = document_sources.read(run_dir / "tokens" / "heldout", len(HELDOUT))
    assert found is not None
    assert (found[0], found[1].tolist()) == (["topics", "other"], [0, 1, 0])
    counts = artifact.load(run_dir / "tokens", kind="tokens").counts
    assert counts["train_documents"] == len(TRAIN)
    assert counts["heldout_tokens"] == TokenDataset(run_dir / "tokens" / "heldout").num_tokens


def test_a_second_call_does_nothing(run_dir: Path) -> None:
    inputs = {"documents": run_dir / "documents", "tokenizer": run_dir / "tokenizer"}
    before = (run_dir / "tokens" / "manifest.json").stat().st_mtime_ns
    assert run(TokensConfig(), inputs, run_dir / "tokens").counts["vocab_size"] == 1000
    assert (run_dir / "tokens" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="end_token"):
        run(TokensConfig(end_token=None), inputs, run_dir / "tokens")


def test_threads_change_nothing(run_dir: Path, tmp_path: Path) -> None:
    inputs = {"documents": run_dir / "documents"}
    for threads in (1, 3):
        config = TokenizerConfig(vocab_size=1000, num_threads=threads)
        train_tokenizer(config, inputs, tmp_path / f"tokenizer{threads}")
        one = (tmp_path / f"tokenizer{threads}" / "tokenizer.json").read_bytes()
        assert one == (run_dir / "tokenizer" / "tokenizer.json").read_bytes()


def test_wrong_inputs(run_dir: Path, tmp_path: Path) -> None:
    documents, tokenizer = run_dir / "documents", run_dir / "tokenizer"
    with pytest.raises(ConfigError, match="tokenizer"):
        run(TokensConfig(), {"documents": documents}, tmp_path / "a")
    with pytest.raises(ConfigError, match="no such end"):
        run(TokensConfig(end_token="no such end"), {"documents": documents, "tokenizer": tokenizer}, tmp_path / "b")
    with pytest.raises(DamagedArtifactError, match="tokenizer"):
        train_tokenizer(TokenizerConfig(), {"documents": tokenizer}, tmp_path / "c")
    with pytest.raises(MissingArtifactError):
        train_tokenizer(TokenizerConfig(), {"documents": tmp_path / "none"}, tmp_path / "d")
    damaged = write_documents(tmp_path / "documents")
    shard = damaged / "train-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"X")
    with pytest.raises(ArtifactError, match=r"train-00001\.parquet"):
        train_tokenizer(TokenizerConfig(), {"documents": damaged}, tmp_path / "e")


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05])
def test_killed_and_called_again_it_ends_the_same(run_dir: Path, tmp_path: Path, delay: float) -> None:
    program = f"""
import sys
from pathlib import Path
from gristlm.tokenize import TokenizerConfig, TokensConfig, run, train_tokenizer
root, out = Path({str(run_dir)!r}), Path({str(tmp_path)!r})
print("ready", flush=True)
train_tokenizer(TokenizerConfig(vocab_size=1000), {{"documents": root / "documents"}}, out / "tokenizer")
run(TokensConfig(), {{"documents": root / "documents", "tokenizer": out / "tokenizer"}}, out / "tokens")
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    for name in ("tokenizer", "tokens"):
        assert artifact.load(tmp_path / name).digest == artifact.load(run_dir / name).digest


def test_encode_files(run_dir: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(run_dir / "tokenizer")
    (tmp_path / "one.txt").write_text(ENGLISH[0])
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in WORLD))
    pq.write_table(pa.table({"body": ENGLISH[:5]}), tmp_path / "rows.parquet")
    files = [tmp_path / "one.txt", str(tmp_path / "rows.jsonl"), tmp_path / "rows.parquet"]
    manifest = tokenizer.encode_files(files, tmp_path / "tokens", text_column="body")
    dataset = TokenDataset(tmp_path / "tokens")
    expected = [ENGLISH[0], *WORLD, *ENGLISH[:5]]
    assert [tokenizer.decode(row[:-1]) for row in dataset] == expected
    assert all(row[-1] == 0 for row in dataset)
    assert manifest.counts["documents"] == len(expected)
    assert manifest.counts["tokens"] == dataset.num_tokens
    assert dataset.document_id(2) == "rows.jsonl:1"
    assert tokenizer.encode_files(files, tmp_path / "tokens", text_column="body") == manifest
    with pytest.raises(InputError, match="empty"):
        tokenizer.encode_files([], tmp_path / "none")
    with pytest.raises(MissingArtifactError):
        tokenizer.encode_files(tmp_path / "no.txt", tmp_path / "none")
    with pytest.raises(InputError, match="no column 'text'"):
        tokenizer.encode_files(tmp_path / "rows.parquet", tmp_path / "none")
