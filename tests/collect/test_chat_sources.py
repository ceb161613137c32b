"""Chat and preference data as a source: every usual format, one artifact, nothing without source and licence."""

import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

from gristlm.collect import CollectConfig, conversations
from gristlm.errors import InputError

SHAREGPT = [
    {"conversations": [{"from": "human", "value": f"Where is mill {n}?"}, {"from": "gpt", "value": f"By river {n}."}]}
    for n in range(20)
]
ALPACA = [{"instruction": f"Name {n} towns.", "input": "", "output": f"Town {n}.", "license": "MIT"} for n in range(9)]
HH = [{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi\n\nAssistant: Go away."}]
MESSAGES = {"messages": [{"role": "user", "content": "¿Qué?"}, {"role": "assistant", "content": "Nada “más”."}]}
RANKED = {"prompt": "Best?", "responses": ["a", "b", "c"], "scores": [1, 3, 2]}
LABELLED = {"prompt": "Good?", "completion": "Yes.", "label": True}


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "chats"
    root.mkdir()
    (root / "sharegpt.json").write_text(json.dumps(SHAREGPT))
    (root / "alpaca.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ALPACA).encode()))
    pq.write_table(pa.Table.from_pylist(HH), root / "hh.parquet")
    mixed = [MESSAGES, MESSAGES, RANKED, LABELLED, {"text": "no chat"}, {"messages": []}]
    (root / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed) + "no JSON\n")
    (root / "table.csv").write_text("question,answer\nHow?,So.\n")
    (root / "readme.txt").write_text("About the data.\n")
    return root


def test_every_format_lands_in_one_artifact(folder: Path, tmp_path: Path) -> None:
    config = CollectConfig(sources=[str(folder)], heldout_fraction=0)
    manifest = conversations.gather(config, {}, tmp_path / "out")
    assert manifest.kind == "conversations"
    assert {name: manifest.counts[name] for name in ("sft", "preferences", "labelled", "prompts")} == {
        "sft": 20 + 9 + 1 + 1, "preferences": 1 + 3, "labelled": 1, "prompts": 31 + 2,
    }  # fmt: skip
    sft = rows(tmp_path / "out/sft.jsonl")
    assert {row["kind"] for row in sft} == {"sharegpt", "alpaca", "messages", "question_answer"}
    assert {row["licence"] for row in sft} == {"MIT", "unknown"}
    assert MESSAGES["messages"] in [row["messages"] for row in sft]
    assert len({row["document_id"] for row in sft}) == 31
    chosen = [row["chosen"][0]["content"] for row in rows(tmp_path / "out/preferences.jsonl")]
    assert sorted(chosen) == ["Hello.", "b", "b", "c"]
    (best,) = [
        row for row in rows(tmp_path / "out/prompts.jsonl") if row["kind"] == "answer" and row["reference"] == "b"
    ]
    assert best["prompt"] == [{"role": "user", "content": "Best?"}]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert {reason: each["documents"] for reason, each in report["total"]["dropped"].items()} == {
        "bad row": 3, "exact duplicate": 1, "no chat data": 1,
    }  # fmt: skip
    assert "mixed.jsonl:5" in "".join(each["detail"] for each in report["examples"]["bad row"])
    assert not (tmp_path / "out/work").exists()


def test_finetune_reads_what_was_gathered(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from gristlm.finetune.data import read

    conversations.gather(CollectConfig(sources=[str(folder)], heldout_fraction=0.3), {}, tmp_path / "out")
    for name in ("sft", "sft_heldout", "preferences", "labelled"):
        assert read(tmp_path / f"out/{name}.jsonl").examples
    train, held = (rows(tmp_path / f"out/sft{suffix}.jsonl") for suffix in ("", "_heldout"))
    assert len(train) + len(held) == 31
    assert not {row["document_id"] for row in train} & {row["document_id"] for row in held}


def test_licences_strictness_and_what_is_no_chat(folder: Path, tmp_path: Path) -> None:
    conversations.gather(
        CollectConfig(sources=[str(folder)], heldout_fraction=0, licences=["mit"]), {}, tmp_path / "mit"
    )
    assert {row["kind"] for row in rows(tmp_path / "mit/sft.jsonl")} == {"alpaca"}
    with pytest.raises(InputError, match=r"mixed\.jsonl:5"):
        conversations.gather(CollectConfig(sources=[str(folder / "mixed.jsonl")], strict=True), {}, tmp_path / "strict")
    with pytest.raises(InputError, match="holds no chat data"):
        conversations.gather(CollectConfig(sources=["https://example.org"]), {}, tmp_path / "web")
    with pytest.raises(InputError, match="no conversation is left"):
        conversations.gather(CollectConfig(sources=[str(folder / "readme.txt")]), {}, tmp_path / "text")
