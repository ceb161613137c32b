import json

import pytest

from gristlm import finetune
from gristlm.chat_formats import FORMATS, Conversation, Ranking, detect, parse, unparse
from gristlm.errors import InputError

USER, ASSISTANT, OTHER = ({"role": r, "content": c} for r, c in (("user", "Q"), ("assistant", "A"), ("assistant", "B")))
CALL = {"type": "function", "function": {"name": "add", "arguments": {"x": 1}}}
ROWS = {
    "messages": {"messages": [USER, {**ASSISTANT, "tool_calls": [CALL]}, {"role": "tool", "content": "2"}, OTHER]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
    "prompt_completion": {"prompt": [USER], "completion": [ASSISTANT]},
    "question_answer": {"question": "Q", "answer": "A"},
    "alpaca": {"instruction": "Q", "input": "I", "output": "A"},
    "preference": {"prompt": "Q", "chosen": "A", "rejected": "B"},
    "preference_implicit": {"chosen": [USER, ASSISTANT], "rejected": [USER, OTHER]},
    "hh": {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
    "label": {"prompt": "Q", "completion": "A", "label": False},
    "ranking": {"prompt": "Q", "responses": ["A", "B", "C"], "scores": [1.0, 3.0, 1.0]},
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet"])
def test_what_is_written_in_a_format_reads_back(tmp_path, name, suffix):
    if suffix in (".jsonl.zst", ".parquet"):
        pytest.importorskip("pyarrow")
    example = parse(ROWS[name], "x")
    path = tmp_path / f"rows{suffix}"
    assert finetune.write(path, [example, example], format=name) == 2
    rows = finetune.read(path)
    assert (rows.format, len(rows.examples)) == (name, 2)
    for read in rows.examples:
        for field in ("messages", "prompt", "chosen", "rejected", "answers", "ranks", "label", "tools"):
            assert getattr(read, field, None) == getattr(example, field, None)


def test_a_ranking_is_every_pair_of_a_better_and_a_worse_answer():
    ranking = parse(ROWS["ranking"], "x")
    assert isinstance(ranking, Ranking)
    said = [(pair.chosen[0]["content"], pair.rejected[0]["content"]) for pair in ranking.pairs()]
    assert said == [("B", "A"), ("B", "C")]
    assert len(parse({"prompt": "Q", "responses": ["A", "B", "C"]}, "x").pairs()) == 3
    for bad in (
        {"responses": ["A"]},
        {"responses": ["A", "B"], "ranks": [1]},
        {"responses": ["A", "B"], "ranks": [1, 1]},
    ):
        with pytest.raises(InputError, match=r"^x: "):
            parse({"prompt": "Q", **bad}, "x")


def test_a_call_in_sharegpt_is_a_tool_call():
    row = {"conversations": [
        {"from": "human", "value": "1+1?"}, {"from": "function_call", "value": json.dumps(CALL["function"])},
        {"from": "observation", "value": "2"}, {"from": "gpt", "value": "2!"},
    ], "tools": json.dumps([{"name": "add"}])}  # fmt: skip
    read = parse(row, "x")
    assert read.messages[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert read.tools == [{"name": "add"}]
    row["conversations"][1]["value"] = "not JSON"
    with pytest.raises(InputError, match=r"conversations\[1\] is not JSON"):
        parse(row, "x")


def test_what_a_format_cannot_say_is_refused():
    conversation = Conversation("x", [USER, ASSISTANT, USER, OTHER])
    for name in ("alpaca", "question_answer", "hh", "label"):
        with pytest.raises(InputError, match=r"^x: "):
            unparse(conversation, name)
    assert detect(unparse(conversation, "messages")) == "messages"


def test_a_data_set_of_the_hub_is_kept_as_parquet(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    from gristlm.finetune.hub import fetch

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    folder = tmp_path / "owner"
    folder.mkdir()
    (folder / "train.jsonl").write_text(json.dumps(ROWS["question_answer"]) + "\n")
    path = fetch(f"hub:{folder}", tmp_path / "data.parquet")
    assert finetune.read(path).format == "question_answer"
    with pytest.raises(InputError, match="cannot be read"):
        fetch(f"hub:{tmp_path / 'nothing'}", tmp_path / "other.parquet")
