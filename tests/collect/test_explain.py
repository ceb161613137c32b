"""What became of each document: `explain`, kept drops, filters that drop nothing or all, and quality models."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest

from gristlm.cleaning_model import QualityModel
from gristlm.cli import app
from gristlm.collect import CollectConfig, explain, loud, run, train_quality
from gristlm.collect.report import Tally
from gristlm.errors import InputError, MissingArtifactError
from gristlm.runs import progress

GOOD = """
the river bends because its outer bank is worn away by the stream and the sand is laid down again
""".split()  # noqa: SIM905
BAD = """click here to win now buy cheap pills subscribe login sign up free casino bonus offer""".split()  # noqa: SIM905


def made(words: list[str], start: int, count: int) -> list[str]:
    """Texts of 60 words, all different."""
    return [
        " ".join(words[(at * 7 + n * (at % 5 + 1)) % len(words)] for n in range(60)) + f" {at}"
        for at in range(start, start + count)
    ]


def rows(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = " ".join(f"word{n} of the river and that stone" for n in range(40))
    (tmp_path / "in").mkdir()
    for name, content in {
        "one.txt": text,
        "near.txt": text + " And one more.",
        "copy.txt": text,
        "short.txt": "Too short.",
        "noise.bin": "\0\1\2" * 500,
    }.items():
        (tmp_path / "in" / name).write_text(content)
    return tmp_path / "in"


RULES = ["encoding", "unicode", ("gopher_quality", {"min_words": 20})]


def test_every_fate_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(CollectConfig(sources=[str(folder)], rules=RULES, keep_dropped=True, heldout_fraction=0), {}, out)
    by_name = {name: explain(out, f"{name}") for name in ("one.txt", "near.txt", "copy.txt", "short.txt", "noise.bin")}
    assert all(len(fates) == 1 for fates in by_name.values())
    fates = {name: fates[0] for name, fates in by_name.items()}
    kept = [name for name, fate in fates.items() if fate.kept]
    assert len(kept) == 1
    assert fates[kept[0]].where.startswith("train-00000.parquet row ")
    short = fates["short.txt"]
    assert (short.reason, short.value, short.threshold, short.limit) == ("gopher_quality", 2, "min_words", 20)
    assert short.text == "Too short."
    assert "words 2 < min_words 20" in str(short)
    duplicates = [fate for name, fate in fates.items() if name in ("one.txt", "near.txt", "copy.txt") and not fate.kept]
    assert sorted(fate.reason for fate in duplicates) == ["exact duplicate", "near duplicate"]
    for fate in duplicates:
        assert fate.twin == fates[kept[0]].id
        assert fate.text is not None
        if fate.reason == "near duplicate":
            assert fate.similarity is not None
            assert 0.8 <= fate.similarity <= 1
            assert fate.limit == 0.8
    assert fates["noise.bin"].reason == "binary file"
    report = json.loads((out / "report.json").read_text())
    dropped = polars.read_parquet(out / "dropped-*.parquet")
    assert len(dropped) == sum(count["documents"] for count in report["total"]["dropped"].values())
    with pytest.raises(InputError, match=r"'nothing.txt'; an id of it looks like 'in/"):
        explain(out, "nothing.txt")
    with pytest.raises(MissingArtifactError):
        explain(tmp_path, "one.txt")


def test_reasons_without_texts_do_not_depend_on_batches_or_threads(folder: Path, tmp_path: Path) -> None:
    rows(folder / "many.jsonl", [f"{'short ' * (n % 9)}{n}" for n in range(3000)] + ["\0"])
    wanted = None
    for name, changes in {"a": {}, "b": {"num_threads": 1, "memory": "64MB"}, "c": {"shard_rows": 500}}.items():
        run(CollectConfig(sources=[str(folder)], rules=RULES, **changes), {}, tmp_path / name)  # type: ignore[arg-type]
        table = polars.concat(
            [polars.read_parquet(path) for path in sorted((tmp_path / name).glob("dropped-*.reasons"))]
        )
        assert table["text"].null_count() == len(table)
        assert wanted is None or table.equals(wanted)
        wanted = table
    assert len(list((tmp_path / "c").glob("dropped-*.reasons"))) > 1


def test_filters_that_drop_nothing_or_all_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows(tmp_path / "in" / "good.jsonl", made(GOOD, 0, 120))
    rows(tmp_path / "bad" / "bad.jsonl", ["x y z"] * 3)
    config = CollectConfig(
        sources=[str(tmp_path / "in"), str(tmp_path / "bad")],
        rules=["unicode", ("gopher_quality", {"min_words": 20, "min_stop_words": 0})],
        licences=["unknown"],
        near_duplicate_threshold=None,
    )
    progress.enable()
    run(config, {}, tmp_path / "out")
    warnings = json.loads((tmp_path / "out" / "report.json").read_text())["warnings"]
    assert warnings == [
        "licence dropped nothing of 123 documents; is it set as you mean it?",
        "nothing is left of the 3 documents from bad, 3 of them as 'gopher_quality'",
    ]
    printed = capsys.readouterr()
    assert all(f"WARNING: {text}" in printed.out + printed.err for text in warnings)
    tally = Tally(0)
    tally.count("in", "found", "", 10, 5)
    tally.count("in", "dropped", "binary file", 2, 1)
    tally.count("in", "dropped", "gopher_quality", 8, 4)
    assert loud.warnings(config, tally) == [
        "gopher_quality dropped all 4 documents that it saw; is it meant for this text?",
        "nothing is left of the 5 documents from in, 4 of them as 'gopher_quality'",
    ]


def test_a_model_of_two_folders_keeps_text_like_the_first(tmp_path: Path) -> None:
    good, bad = (
        rows(tmp_path / "good" / "a.jsonl", made(GOOD, 0, 90)),
        rows(tmp_path / "bad" / "b.jsonl", made(BAD, 0, 90)),
    )
    model = tmp_path / "quality.bin"
    trained = train_quality(str(good.parent), str(bad.parent), model, num_threads=2)
    assert trained.accuracy > 0.9
    assert trained.good + trained.heldout_good == 90
    first = model.read_bytes()
    train_quality(str(good), str(bad), model, num_threads=1)
    assert model.read_bytes() == first
    mixed = rows(tmp_path / "mixed" / "c.jsonl", made(GOOD, 500, 20) + made(BAD, 500, 30))
    config = CollectConfig(
        sources=[str(mixed)],
        near_duplicate_threshold=None,
        quality_model={"path": str(model), "min_score": 0.5},  # type: ignore[arg-type]
    )
    manifest = run(config, {}, tmp_path / "out")
    assert manifest.counts["documents"] == 20
    assert "quality_model" in manifest.inputs
    dropped = polars.read_parquet(tmp_path / "out" / "dropped-00000.reasons")
    assert dropped["reason"].to_list() == ["quality_model"] * 30
    assert (dropped["value"] < 0.5).all()
    assert set(dropped["limit"]) == {0.5}
    other = config.model_copy(update={"quality_model": config.quality_model.model_copy(update={"label": "great"})})  # type: ignore[union-attr]
    with pytest.raises(InputError, match="no 'great'; it has good, bad"):
        run(other, {}, tmp_path / "other")
    assert QualityModel.load(model).labels == ["good", "bad"]
    with pytest.raises(InputError, match="has 0 texts"):
        train_quality(str(good), str(good), model)


def test_the_command_line_explains(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    run(CollectConfig(sources=[str(folder)], rules=RULES), {}, tmp_path / "runs" / "a" / "documents")
    told = CliRunner().invoke(app.app, ["collect", "explain", "short.txt"])
    assert told.exit_code == 0, told.output
    assert "in runs/a/documents:" in told.output
    assert "dropped, gopher_quality" in told.output
    told = CliRunner().invoke(app.app, ["collect", "explain", "no.txt", "--documents", "runs/a/documents"])
    assert told.exit_code == 1
    assert "no.txt" in told.output


def test_what_cuts_nothing_and_evaluation_sets_that_take_all_are_named(tmp_path: Path) -> None:
    texts = [f"The roof of mill {n} stands {n * 31} feet over a river of {n * 17} bends." for n in range(120)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    config = CollectConfig(sources=[str(tmp_path / "rows.jsonl")], near_duplicate_threshold=None, repeated_units="line")
    run(config, {}, tmp_path / "out")
    warnings = json.loads((tmp_path / "out/report.json").read_text())["warnings"]
    assert warnings == ["repeated_units cut nothing from 120 documents; is it set as you mean it?"]
    tally = Tally(0)
    tally.count("a", "found", "", 1, 5)
    tally.count("a", "dropped", "contaminated", 1, 5)
    said = loud.warnings(CollectConfig(sources=["a"], near_duplicate_threshold=None), tally)
    assert said[0] == "contaminated: all 5 documents share a run of words with evaluation_sets"
