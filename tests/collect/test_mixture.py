"""Mixtures of sources by weight, and finished artifacts as sources: merged, filtered again, mixed."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from gristlm.collect import CollectConfig, run
from gristlm.collect.config import MixtureConfig
from gristlm.collect.mixture import copies, targets
from gristlm.collect.split import position
from gristlm.errors import ConfigError, DamagedArtifactError


def folder(path: Path, count: int, word: str) -> Path:
    path.mkdir(parents=True)
    for number in range(count):
        (path / f"{number:03d}.txt").write_text(f"{word} {number} " * (number % 7 + 3) + f"\nwater {number * 17}.\n")
    return path


def collect(output: Path, *sources: Path, **settings: object) -> list[dict[str, object]]:
    settings = {"near_duplicate_threshold": None, **settings}
    run(CollectConfig(sources=[str(source) for source in sources], **settings), {}, output)  # type: ignore[arg-type]
    return [row for name in ("train", "heldout") for row in pq.read_table(output / f"{name}-00000.parquet").to_pylist()]


def counted(parts: list[tuple[list[str], list[str]]], sizes: np.ndarray, config: MixtureConfig) -> np.ndarray:
    times = np.zeros(len(sizes), dtype=np.int32)
    copies(parts, sizes, config, 3, times, np.zeros(len(sizes)))
    return times


def by_sorting(ids: list[str], sources: list[str], sizes: np.ndarray, config: MixtureConfig) -> np.ndarray:
    """The slow twin: all documents of a source in the order of their hashes."""
    times, names = np.zeros(len(ids), dtype=np.int64), np.array(sources)
    for name, target in targets({name: int(sizes[names == name].sum()) for name in set(sources)}, config).items():
        rows = np.flatnonzero(names == name)
        epochs, rest = divmod(target, int(sizes[rows].sum()))
        order = sorted(rows, key=lambda row: (position(f"3/{ids[row]}"), ids[row]))
        reached = np.concatenate(([0], np.cumsum(sizes[order])))
        times[rows] = int(epochs)
        times[order[: int(np.argmin(np.abs(reached - rest)))]] += 1
    return times


@given(
    sizes=st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=20), min_size=1, max_size=4),
    weights=st.lists(st.floats(0.01, 10), min_size=4, max_size=4),
    epochs=st.floats(0.1, 5),
)
def test_shares_are_met_and_no_source_is_read_too_often(
    sizes: list[list[int]], weights: list[float], epochs: float
) -> None:
    names = [f"s{number}" for number in range(len(sizes))]
    config = MixtureConfig(weights=dict(zip(names, weights, strict=False)), max_epochs=epochs)
    sources = [name for name, each in zip(names, sizes, strict=True) for _ in each]
    flat = np.array([size for each in sizes for size in each])
    ids = [f"id{number}" for number in range(len(flat))]
    times = counted([(ids, sources)], flat, config)
    wanted = targets({name: sum(each) for name, each in zip(names, sizes, strict=True)}, config)
    for name, each in zip(names, sizes, strict=True):
        here = np.array(sources) == name
        assert times[here].max() <= np.ceil(epochs)
        assert times[here].max() - times[here].min() <= 1
        assert abs((times * flat)[here].sum() - wanted[name]) <= max(each) / 2 + 1e-6
    order = np.random.default_rng(0).permutation(len(flat))  # the order of the documents does not matter
    shuffled = [ids[at] for at in order], [sources[at] for at in order]
    assert (counted([shuffled], flat[order], config) == times[order]).all()
    parts = [(shuffled[0][start : start + 7], shuffled[1][start : start + 7]) for start in range(0, len(ids), 7)]
    assert (counted(parts, flat[order], config) == times[order]).all()
    assert (times == by_sorting(ids, sources, flat, config)).all()


def test_a_mixture_leaves_out_and_repeats(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", 60, "river"), folder(tmp_path / "b", 10, "stone")
    mixture = {"weights": {"a": 1, "b": 1}, "by": "documents", "max_epochs": {"a": 1, "b": 3}}
    rows = collect(tmp_path / "out", a, b, mixture=mixture, heldout_fraction=0.2)
    report = json.loads((tmp_path / "out/report.json").read_text())
    total = report["total"]
    held = pq.read_table(tmp_path / "out/heldout-00000.parquet").num_rows
    train = rows[:-held]
    share = {name: sum(row["source"] == name for row in train) for name in ("a", "b")}
    assert share["a"] == share["b"] > 20
    assert len({row["id"] for row in rows}) == len(rows)
    copied = [row for row in train if "#epoch=" in str(row["id"])]
    assert len(copied) == total["repeated"]["documents"] == share["b"] * 2 // 3
    assert {json.loads(str(row["metadata"]))["epoch"] for row in copied} == {2, 3}
    assert total["found"]["documents"] == total["kept"]["documents"] + total["dropped"]["mixture"]["documents"]
    # Collected again from the artifact, copies are none; another seed takes other documents, the same seed the same.
    once = collect(tmp_path / "once", tmp_path / "out", heldout_fraction=0.2)
    assert sorted(str(row["id"]) for row in once) == sorted(str(r["id"]) for r in rows if "#epoch" not in str(r["id"]))
    assert collect(tmp_path / "same", a, b, mixture=mixture, heldout_fraction=0.2, num_threads=1) == rows
    assert collect(tmp_path / "other", a, b, mixture=mixture, heldout_fraction=0.2, seed=1) != rows


def test_bytes_are_weighed_as_they_are_left(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", 40, "river"), folder(tmp_path / "b", 40, "stone")
    for path in b.iterdir():
        path.write_text(f"{path.read_text()}\n{'All rights are reserved. ' * 9}\n")
    mixture = {"weights": {"a": 1, "b": 1}, "by": "bytes"}
    rows = collect(tmp_path / "out", a, b, mixture=mixture, heldout_fraction=0, repeated_units="line")
    sizes = {name: sum(len(str(row["text"])) for row in rows if row["source"] == name) for name in "ab"}
    assert sizes["a"] / sizes["b"] == pytest.approx(1, rel=0.1)
    assert sum("reserved" in str(row["text"]) for row in rows) <= 1


def test_tokens_are_weighed_with_a_tokenizer(tmp_path: Path) -> None:
    from gristlm import Tokenizer

    a, b = folder(tmp_path / "a", 30, "river"), folder(tmp_path / "b", 30, "stone")
    tokenizer = Tokenizer.train(["river stone water " * 9], vocab_size=270)
    tokenizer.save(tmp_path / "tokenizer.json")
    mixture = {"weights": {"a": 3, "b": 1}, "by": "tokens", "tokenizer": str(tmp_path / "tokenizer.json")}
    rows = collect(tmp_path / "out", a, b, mixture=mixture, heldout_fraction=0)
    counts = {
        name: sum(len(tokenizer.encode(str(row["text"]))) for row in rows if row["source"] == name) for name in "ab"
    }
    assert counts["a"] / counts["b"] == pytest.approx(3, rel=0.1)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["inputs"]["tokenizer"]["kind"] == "file"


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    a, b = folder(tmp_path / "a", 3, "river"), folder(tmp_path / "b", 3, "stone")
    for weights, message in (({"a": 1}, "from b too"), ({"a": 1, "b": 1, "c": 2}, "names c; there is nothing")):
        with pytest.raises(ConfigError, match=message):
            collect(tmp_path / f"out{len(weights)}", a, b, mixture={"weights": weights})
    for bad in ({"weights": {"a": -1}}, {"weights": {}}, {"weights": {"a": 1}, "by": "tokens"}):
        with pytest.raises(ValueError, match=r"weights are numbers|tokens are weighed"):
            MixtureConfig(**bad)


def test_shards_merge_into_one_artifact(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", 40, "river")
    (source / "copy.txt").write_text((source / "007.txt").read_text())
    whole = collect(tmp_path / "whole", source, heldout_fraction=0.2)
    shards = [tmp_path / f"shard{number}" for number in range(3)]
    for number, shard in enumerate(shards):
        collect(shard, source, shard=f"{number}/3", heldout_fraction=0.2)
    merged = collect(tmp_path / "merged", *shards, heldout_fraction=0.2)
    key = {str(row["text"]): row for row in whole}
    assert {str(row["text"]) for row in merged} == set(key)
    for row in merged:
        of = key[str(row["text"])]
        assert {**row, "id": "", "uri": "", "title": ""} == {**of, "id": "", "uri": "", "title": ""}
    held = [
        set(pq.read_table(tmp_path / name / "heldout-00000.parquet")["text"].to_pylist())
        for name in ("whole", "merged")
    ]
    assert held[0] == held[1]
    inputs = json.loads((tmp_path / "merged/manifest.json").read_text())["inputs"]
    assert [record["kind"] for record in inputs.values()] == ["documents"] * 3


def test_opt_outs_and_licences_are_applied_to_a_finished_artifact(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", 20, "river")
    (source / "mit.txt").write_text("SPDX-License-Identifier: MIT\nA text about wells.\n")
    before = collect(tmp_path / "before", source, heldout_fraction=0.2)
    (tmp_path / "list").write_text("id:in/003.txt\n")
    after = collect(tmp_path / "after", tmp_path / "before", opt_out=[str(tmp_path / "list")], heldout_fraction=0.2)
    assert after == [row for row in before if row["id"] != "in/003.txt"]
    dropped = json.loads((tmp_path / "after/report.json").read_text())["total"]["dropped"]
    assert dropped["opted out"]["documents"] == 1
    (row,) = collect(tmp_path / "mit", tmp_path / "before", licences=["mit"], heldout_fraction=0)
    assert row["id"] == "in/mit.txt"


def test_ids_stay_unique_and_damage_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder(tmp_path / name / "in", 1, name)
        collect(tmp_path / f"{name}-out", tmp_path / name / "in", heldout_fraction=0)
    rows = collect(tmp_path / "both", tmp_path / "a-out", tmp_path / "b-out", heldout_fraction=0)
    assert [row["id"] for row in rows] == ["in/000.txt"]
    assert "id already taken" in json.loads((tmp_path / "both/report.json").read_text())["examples"]
    (tmp_path / "a-out/train-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedArtifactError, match=r"train-00000\.parquet"):
        collect(tmp_path / "again", tmp_path / "a-out")
