"""Documents that share words with what models are measured on are dropped, and the report says where they stood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.cli.recipe import DataConfig, Recipe
from gristlm.collect import CollectConfig, explain, run
from gristlm.errors import FormatError, MissingArtifactError
from gristlm.evaluate.config import EvaluateConfig

pytestmark = pytest.mark.extras
QUESTION = "A farmer has seventeen sheep and buys four more of them at the market; how many sheep does he have now?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    texts = {
        "clean": "There is a market in the town where farmers sell their sheep on every second day of the week.",
        "leak": "Homework for tomorrow. " + QUESTION.upper().replace(";", ",") + " Answer: 21.",
        "short": "A farmer has seventeen sheep and buys four more.",
    }
    for name, text in texts.items():
        (tmp_path / "in" / f"{name}.txt").write_text(text)
    return tmp_path


def sets(folder: Path, ending: str) -> str:
    rows = [{"question": "Too short to find?"}, {"messages": [{"role": "user", "content": QUESTION}], "answer": 21}]
    path = folder / f"eval.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist([rows[1]]), path)
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "csv":
        path.write_text(f'question,answer\nshort,1\n"{QUESTION}",21\n')
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("ending", "where"), [("jsonl", ":2"), ("json", ", row 2"), ("csv", ", row 2"), ("parquet", ", row 1")]
)
def test_a_document_with_a_question_in_it_is_dropped_and_the_row_is_named(
    folder: Path, ending: str, where: str
) -> None:
    file = sets(folder, ending)
    run(CollectConfig(sources=[str(folder / "in")], evaluation_sets=[file], heldout_fraction=0), {}, folder / "out")
    kept = pq.read_table(folder / "out/train-00000.parquet")["id"].to_pylist()
    assert sorted(name.rsplit("/")[-1] for name in kept) == ["clean.txt", "short.txt"]
    (fate,) = explain(folder / "out", next(name for name in kept).replace("clean", "leak"))
    assert fate.reason == "contaminated"
    assert f"{file}{where}" in fate.detail
    assert "A FARMER HAS SEVENTEEN SHEEP" in fate.detail
    assert fate.value is not None
    assert 0.5 < fate.value < 1
    report = json.loads((folder / "out/report.json").read_text())
    assert report["total"]["contaminated"][file]["documents"] == 1
    if ending != "parquet":
        assert any("1 of the 2 rows of evaluation_sets" in warning for warning in report["warnings"])


def test_fewer_words_find_more(folder: Path) -> None:
    config = CollectConfig(
        sources=[str(folder / "in")], evaluation_sets=[sets(folder, "jsonl")], contamination_ngram=8, heldout_fraction=0
    )
    run(config, {}, folder / "out")
    assert len(pq.read_table(folder / "out/train-00000.parquet")) == 1


def test_a_recipe_looks_for_what_it_measures_on(folder: Path) -> None:
    suite, heldout = sets(folder, "json"), Path(sets(folder, "jsonl"))
    recipe = Recipe(
        collect=CollectConfig(sources=[str(folder / "in")]),
        evaluate=EvaluateConfig(suites={"gsm8k": suite}),
        data=DataConfig(finetune_heldout=heldout),
    )
    assert recipe.collect_config().evaluation_sets == [suite, str(heldout)]
    none = recipe.model_copy(update={"collect": CollectConfig(evaluation_sets=[])})
    assert none.collect_config().evaluation_sets == []
    assert Recipe(collect=CollectConfig()).collect_config().evaluation_sets is None


def test_sets_that_cannot_be_read_are_named(folder: Path) -> None:
    with pytest.raises(MissingArtifactError, match=r"none\.jsonl does not exist"):
        run(CollectConfig(sources=[str(folder / "in")], evaluation_sets=["none.jsonl"]), {}, folder / "out")
    (folder / "bad.jsonl").write_text('{"a": "b"}\n{"a": \n')
    with pytest.raises(FormatError, match=r"bad\.jsonl:2: not JSON"):
        run(CollectConfig(sources=[str(folder / "in")], evaluation_sets=[str(folder / "bad.jsonl")]), {}, folder / "b")
