"""Held-out bits per byte of each source: the sums of its documents' tokens alone, from `sources.json` of the tokens."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import config

from gristlm.errors import DamagedArtifactError
from gristlm.model import Model
from gristlm.pretrain import run
from gristlm.pretrain.heldout import HeldOut, measure, token_bytes
from gristlm.runs import artifact
from gristlm.tokenize import TokenDataset, Tokenizer, document_sources
from gristlm.tokenize.document_sources import SourceRuns
from gristlm.training import MetricsLog
from gristlm.training.packed_loader import PackedLoader

SOURCES = ["docs", "code", "docs", "docs", "code", "code", "docs", "rare"]


@pytest.fixture(scope="module")
def tokens(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokens of every test here, with the sources of their held-out documents."""
    path = tmp_path_factory.mktemp("sources") / "tokens"
    shutil.copytree(inputs["tokens"], path)
    (path / "manifest.json").unlink()
    runs = SourceRuns()
    runs.extend(SOURCES[:3])
    runs.extend(SOURCES[3:])
    runs.write(path / "heldout")
    artifact.seal(path, {"kind": "tokens", "config": {}, "inputs": {}}, counts={}, measured={})
    return path


def held_out(tokens: Path, tokenizer: Tokenizer, num_batches: int = 2) -> HeldOut:
    lengths = token_bytes(tokenizer, 512)
    return HeldOut(tokens / "heldout", seq_len=64, batch_size=4, num_batches=num_batches, lengths=lengths)


@torch.no_grad()
def by_hand(model: Model, tokens: Path, tokenizer: Tokenizer) -> tuple[dict[str, float], dict[str, int]]:
    nats, size = dict.fromkeys(SOURCES, 0.0), dict.fromkeys(SOURCES, 0)
    special = set(tokenizer.special_tokens.values())
    loader = PackedLoader(tokens / "heldout", seq_len=64, batch_size=4, seed=0, epochs=1)
    for batch, _ in zip(loader, range(2), strict=False):
        ids, labels = batch.input_ids.ravel(), batch.labels.ravel()
        bounds = zip(batch.cu_seqlens[:-1], batch.cu_seqlens[1:], batch.segments[:, 1].tolist(), strict=True)
        for begin, end, sequence in bounds:
            logprobs = model(torch.from_numpy(ids[begin:end])[None])[0].log_softmax(-1)
            for place, label in enumerate(labels[begin:end].tolist()):
                if label >= 0:
                    nats[SOURCES[sequence]] -= float(logprobs[place, label])
                    size[SOURCES[sequence]] += 0 if label in special else len(tokenizer.id_to_bytes(label))
    return nats, size


def test_each_source_by_hand(tokens: Path, inputs: dict[str, Path]) -> None:
    tokenizer = Tokenizer.from_file(inputs["tokenizer"])
    model = Model(config().model.model_copy(update={"vocab_size": 512}), seed=1)
    found = held_out(tokens, tokenizer).measure(model, 3)
    nats, size = by_hand(model, tokens, tokenizer)
    expected = {name: nats[name] / math.log(2) / size[name] for name in size if size[name]}
    shown = {name.removeprefix("source_bits_per_byte/"): value for name, value in found.items() if "/" in name}
    assert len(expected) >= 2
    assert shown == pytest.approx(expected, rel=1e-5)
    assert list(shown) == sorted(shown, key=lambda name: -size[name]), "most text first"
    total = sum(nats.values()) / math.log(2) / sum(size.values())
    assert found["heldout_bits_per_byte"] == pytest.approx(total, rel=1e-5)
    other = measure({"tokens": held_out(tokens, tokenizer), "web": held_out(tokens, tokenizer)}, model, 3)
    assert (
        other["source_bits_per_byte/web/docs"]
        == other["source_bits_per_byte/docs"]
        == found["source_bits_per_byte/docs"]
    )
    assert other["heldout_loss/web"] == found["heldout_loss"]


def test_they_are_in_metrics_and_manifest(tokens: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    manifest = run(config(evaluate_batches=50), {**inputs, "tokens": tokens}, tmp_path)
    measured = [line for line in MetricsLog(tmp_path).read() if "heldout_loss" in line]
    names = {f"source_bits_per_byte/{name}" for name in set(SOURCES)}
    assert [names & line.keys() for line in measured] == [names, names]
    assert names <= manifest.counts.keys()


def test_one_source_or_none_is_the_whole(inputs: dict[str, Path], tokens: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(inputs["tokenizer"])
    model = Model(config().model.model_copy(update={"vocab_size": 512}), seed=1)
    assert held_out(inputs["tokens"], tokenizer).measure(model, 4).keys() == {"heldout_loss", "heldout_bits_per_byte"}
    shutil.copytree(tokens / "heldout", tmp_path / "heldout")
    runs = SourceRuns()
    runs.extend(["docs"] * len(SOURCES))
    runs.write(tmp_path / "heldout")
    assert held_out(tmp_path, tokenizer).measure(model, 4).keys() == {"heldout_loss", "heldout_bits_per_byte"}


def test_what_is_written_comes_back(tokens: Path) -> None:
    names, numbers = document_sources.read(tokens / "heldout", len(SOURCES)) or ([], np.array([]))
    assert [names[number] for number in numbers] == SOURCES
    body = json.loads((tokens / "heldout" / "sources.json").read_text())
    assert body["runs"] == [[0, 1], [1, 1], [0, 2], [1, 2], [0, 1], [2, 1]]
    assert len(TokenDataset(tokens / "heldout")) == len(SOURCES)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"names": ["a"]}',
        '{"names": ["a"], "runs": [[0, 7]]}',
        '{"names": ["a"], "runs": [[1, 8]]}',
        '{"names": ["a"], "runs": [[-1, 8]]}',
        '{"names": ["a"], "runs": [[0, 9], [0, -1]]}',
        '{"names": ["a"], "runs": [[0, 18446744073709551615]]}',
        '{"names": [3], "runs": [[0, 8]]}',
        '{"names": ["a"], "runs": [["x", 8]]}',
        '{"names": ["a"], "runs": [[0, 8, 1]]}',
        '{"names": 7, "runs": [[0, 8]]}',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "sources.json").write_text(text)
    with pytest.raises(DamagedArtifactError, match=r"sources\.json"):
        document_sources.read(tmp_path, 8)
