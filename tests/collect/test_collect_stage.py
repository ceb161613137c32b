"""The stage: cleaning, duplicates, split, shards, report; the same result however it is run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristlm.collect import CollectConfig, run
from gristlm.collect import batch as batches
from gristlm.errors import ConfigError, InputError
from gristlm.runs import artifact

WORDS = """
river stone garden window paper silver morning letter harbour candle forest bridge winter market engine mirror
thunder valley copper meadow lantern island feather orchard compass anchor blanket chimney dragon elbow
""".split()  # noqa: SIM905  # a list of words, to be read


def essay(seed, sentences=12):
    lines = []
    for number in range(sentences):
        words = [WORDS[(seed * 7919 + number * 104729 + index * (seed + 3)) % len(WORDS)] for index in range(9)]
        lines.append(f"The {' '.join(words)} of {seed} and {number}.")
    return "\n".join(lines) + "\n"


def table(path):
    return pa.concat_tables(
        [pq.read_table(file) for file in sorted(path.glob("train-*")) + sorted(path.glob("heldout-*"))]
    )


def content(path):
    return {
        file.name: file.read_bytes()
        for file in path.iterdir()
        if file.name not in ("manifest.json", "metrics.jsonl", "started.json")
    }


@pytest.fixture
def folder(tmp_path):
    """Forty essays, some code, a copy, a near copy and some files that cannot be read."""
    root = tmp_path / "texts"
    (root / "more").mkdir(parents=True)
    for seed in range(40):
        (root / f"essay-{seed:02d}.txt").write_text(essay(seed))
    (root / "more/copy.txt").write_text(essay(3))
    (root / "more/near.txt").write_text(essay(5, sentences=40) + "One sentence was added at the end.\n")
    (root / "essay-05.txt").write_text(essay(5, sentences=40))
    (root / "code.py").write_text("# SPDX-License-Identifier: MIT\nmail = 'someone@example.org'\x0b # mail\n")
    (root / "image.png").write_bytes(b"\x89PNG\0\0\0")
    (root / "mail.txt").write_text("Write to someone@example.com about the garden, the harbour and the bridge.\n")
    return root


def test_documents_are_cleaned_deduplicated_split_and_reported(tmp_path, folder):
    config = CollectConfig(sources=[str(folder)], rules=["encoding", "unicode", "personal_data"], heldout_fraction=0.2)
    manifest = run(config, {}, tmp_path / "out")
    documents = table(tmp_path / "out")
    assert documents.column_names == [
        *("id", "text", "source", "uri", "title", "licence", "language", "fetched_at", "metadata")
    ]
    rows = {row["id"]: row for row in documents.to_pylist()}
    assert len(rows) == documents.num_rows == manifest.counts["documents"] == 42
    assert "texts/more/copy.txt" not in rows
    assert "texts/more/near.txt" not in rows
    assert "texts/essay-05.txt" in rows
    assert "someone@example.com" not in rows["texts/mail.txt"]["text"]
    assert "someone@example.org" in rows["texts/code.py"]["text"]
    assert "\x0b" not in rows["texts/code.py"]["text"]
    assert (rows["texts/code.py"]["language"], rows["texts/code.py"]["licence"]) == ("zxx", "MIT")
    assert rows["texts/mail.txt"]["language"] in ("en", "und")
    assert json.loads(rows["texts/code.py"]["metadata"])["code"] == "python"

    report = json.loads((tmp_path / "out/report.json").read_text())
    for section in (report["total"], *report["sources"].values()):
        for figure in ("documents", "bytes"):
            dropped = sum(count[figure] for count in section["dropped"].values())
            if figure == "documents":
                assert section["found"][figure] == section["kept"][figure] + dropped
            assert sum(count[figure] for count in section["licences"].values()) == section["kept"][figure]
            assert sum(count[figure] for count in section["split"].values()) == section["kept"][figure]
    assert {reason: count["documents"] for reason, count in report["total"]["dropped"].items()} == {
        "binary file": 1,
        "exact duplicate": 1,
        "near duplicate": 1,
    }
    assert report["examples"]["exact duplicate"][0]["detail"] == "of texts/essay-03.txt"
    assert report["examples"]["near duplicate"][0]["detail"].startswith("of texts/essay-05.txt, similarity 0.9")
    kept = report["examples"]["near duplicate"][0]["twin"]
    assert kept
    assert rows["texts/essay-05.txt"]["text"].startswith(kept)
    assert report["total"]["changed"]["documents"] == 2
    held = pq.read_table(tmp_path / "out/heldout-00000.parquet")
    assert 2 < held.num_rows == manifest.counts["heldout_documents"] < 20
    assert not (tmp_path / "out/work").exists()
    artifact.verify(tmp_path / "out")


def test_the_result_does_not_depend_on_threads_memory_or_where(tmp_path, folder):
    results = []
    for name, changes in (("a", {}), ("b", {"num_threads": 1}), ("c", {"num_threads": 3, "memory": "64MB"})):
        run(CollectConfig(sources=[str(folder)], **changes), {}, tmp_path / name)
        results.append(content(tmp_path / name))
    assert results[0] == results[1] == results[2]


def test_small_batches_change_nothing(tmp_path, folder, monkeypatch):
    config = CollectConfig(sources=[str(folder)])
    run(config, {}, tmp_path / "a")
    monkeypatch.setattr(batches, "MAX_BATCH_ITEMS", 3)
    run(config, {}, tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("fail_at", [1, 2, 7, 13])
def test_a_run_that_was_cut_off_goes_on(tmp_path, folder, monkeypatch, fail_at):
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": essay(seed)}) + "\n" for seed in range(100, 120)))
    config = CollectConfig(sources=[str(folder)], examples_per_reason=2)
    monkeypatch.setattr(batches, "MAX_BATCH_ITEMS", 5)
    run(config, {}, tmp_path / "whole")

    calls = []
    real = batches.clean

    def cut(*arguments, **options):
        calls.append(1)
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(batches, "clean", cut)
    with pytest.raises(KeyboardInterrupt):
        run(config, {}, tmp_path / "cut")
    monkeypatch.setattr(batches, "clean", real)
    parts = len(list((tmp_path / "cut/work").glob("*.arrow")))
    assert not artifact.is_complete(tmp_path / "cut")
    cleaned = []
    monkeypatch.setattr(batches, "clean", lambda texts, **options: cleaned.extend(texts) or real(texts, **options))
    run(config, {}, tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert len(cleaned) <= 65 - 5 * parts  # what lay in whole parts was not cleaned again


KILLED = """
import sys, time
from pathlib import Path
from gristlm.collect import CollectConfig, batch, gather, run
batch.MAX_BATCH_ITEMS = 4
write = gather.write_json
gather.write_json = lambda path, value: (write(path, value), time.sleep(0.2))
run(CollectConfig(sources=[sys.argv[1]]), {}, Path(sys.argv[2]))
"""


def test_kill_9_and_the_same_call_give_the_same_files(tmp_path, folder):
    config = CollectConfig(sources=[str(folder)])
    run(config, {}, tmp_path / "whole")
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder), str(tmp_path / "cut")]) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "cut/work/part-00002.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (tmp_path / "cut/work/part-00003.arrow").write_bytes(b"torn")
    run(config, {}, tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    artifact.verify(tmp_path / "cut")


def test_a_finished_run_is_recognised_and_other_settings_are_refused(tmp_path, folder, monkeypatch):
    config = CollectConfig(sources=[str(folder)])
    first = run(config, {}, tmp_path / "out")
    monkeypatch.setattr(batches, "clean", None)
    assert run(config, {}, tmp_path / "out") == first
    with pytest.raises(ConfigError, match="heldout_fraction"):
        run(CollectConfig(sources=[str(folder)], heldout_fraction=0.5), {}, tmp_path / "out")


def test_a_mistake_in_the_sources_stops_before_anything_is_written(tmp_path):
    for source in (str(tmp_path / "nothing"), "https://example.org/", "python:nothing"):
        with pytest.raises(InputError, match=r"source|contact"):
            run(CollectConfig(sources=[source]), {}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strict_stops_at_what_cannot_be_read_and_names_it(tmp_path, folder):
    with pytest.raises(InputError, match=r"image\.png: binary file.*strict"):
        run(CollectConfig(sources=[str(folder)], strict=True), {}, tmp_path / "out")
    (folder / "image.png").unlink()
    (folder / "empty.txt").write_text("")
    (folder / "bad.jsonl").write_text('{"text": "x"}\n{"text"\n')
    with pytest.raises(InputError, match=r"bad\.jsonl:2: not JSON"):
        run(CollectConfig(sources=[str(folder)], strict=True), {}, tmp_path / "out2")


def test_licences_are_a_filter(tmp_path, folder):
    run(CollectConfig(sources=[str(folder)], licences=["mit", "apache-2.0"]), {}, tmp_path / "out")
    assert table(tmp_path / "out").column("id").to_pylist() == ["texts/code.py"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["total"]["dropped"]["licence"]["documents"] == 43
    with pytest.raises(InputError, match=r"no document is left of the 45.*licence 44"):
        run(CollectConfig(sources=[str(folder)], licences=["ISC"]), {}, tmp_path / "none")


def test_limits_on_documents_and_sources(tmp_path, folder):
    config = CollectConfig(sources=[str(folder)], max_bytes_per_source=5_000, max_document_bytes=2_000)
    run(config, {}, tmp_path / "out")
    documents = table(tmp_path / "out")
    assert 4_000 < sum(len(text) for text in documents.column("text").to_pylist()) < 8_000
    dropped = json.loads((tmp_path / "out/report.json").read_text())["total"]["dropped"]
    assert dropped["over max_bytes_per_source"]["documents"] > 30
    assert dropped["too large"]["documents"] == 1


def test_shards_are_bounded_and_in_order(tmp_path, folder):
    run(CollectConfig(sources=[str(folder)], shard_rows=7, heldout_fraction=0.0), {}, tmp_path / "rows")
    files = sorted((tmp_path / "rows").glob("train-*.parquet"))
    assert [pq.read_metadata(file).num_rows for file in files] == [7] * 6
    assert table(tmp_path / "rows").column("id").to_pylist() == sorted(
        table(tmp_path / "rows").column("id").to_pylist()
    )
    assert pq.read_metadata(tmp_path / "rows/heldout-00000.parquet").num_rows == 0
    run(CollectConfig(sources=[str(folder)], shard_bytes=3_000), {}, tmp_path / "bytes")
    for file in (tmp_path / "bytes").glob("*.parquet"):
        texts = pq.read_table(file).column("text").to_pylist()
        assert len(texts) <= 1 or sum(len(text.encode()) for text in texts) <= 3_000


def test_the_twin_of_a_drop_is_a_document_that_is_kept(tmp_path):
    root = tmp_path / "texts"
    root.mkdir()
    near = essay(5, sentences=40) + "One sentence was added at the end.\n"
    for name, text in [("a", essay(5, sentences=40)), ("b", near), ("c", near), ("d", essay(5, sentences=40))]:
        (root / f"{name}.txt").write_text(text)
    run(CollectConfig(sources=[str(root)], heldout_fraction=0.0), {}, tmp_path / "out")
    assert table(tmp_path / "out").column("id").to_pylist() == ["texts/a.txt"]
    examples = json.loads((tmp_path / "out/report.json").read_text())["examples"]
    assert [example["detail"] for example in examples["exact duplicate"]] == ["of texts/a.txt"]
    assert [example["detail"].split(",")[0] for example in examples["near duplicate"]] == ["of texts/a.txt"] * 2


def test_near_duplicates_can_stay(tmp_path, folder):
    run(CollectConfig(sources=[str(folder)], near_duplicate_threshold=None), {}, tmp_path / "out")
    ids = table(tmp_path / "out").column("id").to_pylist()
    assert "texts/more/near.txt" in ids
    assert "texts/more/copy.txt" not in ids


def test_two_folders_of_one_name_stay_apart(tmp_path):
    for parent in ("a", "b"):
        (tmp_path / parent / "docs").mkdir(parents=True)
        (tmp_path / parent / "docs/x.txt").write_text(essay(ord(parent)))
    run(CollectConfig(sources=[str(tmp_path / "a/docs"), str(tmp_path / "b/docs")]), {}, tmp_path / "out")
    assert sorted(table(tmp_path / "out").column("id").to_pylist()) == ["docs/x.txt", "docs~2/x.txt"]


def test_text_that_no_file_holds_is_mended(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "a lone \\ud800 half", "title": "\\udfff"}\n{"text": "another"}\n')
    run(CollectConfig(sources=[str(tmp_path / "rows.jsonl")]), {}, tmp_path / "out")
    assert sorted(table(tmp_path / "out").column("text").to_pylist()) == [
        "a lone \N{REPLACEMENT CHARACTER} half",
        "another",
    ]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("memory", "lots", "500MB"),
        ("memory", "1MB", "at least 64MB"),
        ("heldout_fraction", 1.0, "less than 1"),
        ("near_duplicate_threshold", 0.0, "greater than 0"),
        ("sourcs", [], "not permitted"),
    ],
)
def test_impossible_settings_are_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        CollectConfig(**{key: value})


def test_an_unknown_rule_is_an_error(tmp_path, folder):
    with pytest.raises(InputError, match="unicod"):
        run(CollectConfig(sources=[str(folder)], rules=["unicod"]), {}, tmp_path / "out")


def test_the_python_on_this_machine(tmp_path: Path, capsys):
    from gristlm.runs import progress

    progress.enable()
    try:
        manifest = run(
            CollectConfig(sources=["python:topics", "python:packages"], max_bytes_per_source=400_000),
            {},
            tmp_path / "out",
        )
    finally:
        progress.enable(False)
    assert manifest.counts["documents"] > 60
    printed = capsys.readouterr().err
    assert "from python-topics: " in printed
    assert "PSF-2.0" in printed
    assert "dropped: " in printed
    documents = table(tmp_path / "out")
    assert set(documents.column("source").to_pylist()) == {"python-topics", "python-packages"}
