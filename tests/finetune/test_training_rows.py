import gzip
import json
import subprocess
import sys

import pytest

from gristlm import finetune
from gristlm.chat_formats import Conversation, Labelled, Pair, detect, parse
from gristlm.errors import FormatError, InputError, MissingArtifactError

USER, ASSISTANT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}
OTHER = {"role": "assistant", "content": "B"}
SYSTEM = {"role": "system", "content": "S"}
TEXT = [USER, ASSISTANT]


@pytest.mark.parametrize(
    ("row", "name", "expected"),
    [
        ({"messages": TEXT}, "messages", Conversation("x", TEXT)),
        ({"conversations": TEXT}, "messages", Conversation("x", TEXT)),
        ({"messages": TEXT, "tools": [{"a": 1}]}, "messages", Conversation("x", TEXT, tools=[{"a": 1}])),
        (
            {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "A"}]}]},
            "messages",
            Conversation("x", TEXT),
        ),
        (
            {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"},
            "sharegpt",
            Conversation("x", [SYSTEM, *TEXT]),
        ),
        ({"prompt": "Q", "completion": "A"}, "prompt_completion", Conversation("x", TEXT, 1)),
        (
            {"prompt": [SYSTEM, USER], "completion": [ASSISTANT]},
            "prompt_completion",
            Conversation("x", [SYSTEM, *TEXT], 2),
        ),
        ({"question": "Q", "answer": "A"}, "question_answer", Conversation("x", TEXT)),
        ({"instruction": "Q", "input": "", "output": "A"}, "alpaca", Conversation("x", TEXT)),
        (
            {"instruction": "Q", "input": "I", "output": "A"},
            "alpaca",
            Conversation("x", [{"role": "user", "content": "Q\n\nI"}, ASSISTANT]),
        ),
        ({"instruction": "Q", "instances": [{"input": "", "output": "A"}]}, "alpaca", Conversation("x", TEXT)),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference", Pair("x", [USER], [ASSISTANT], [OTHER])),
        (
            {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [OTHER]},
            "preference",
            Pair("x", [USER], [ASSISTANT], [OTHER]),
        ),
        (
            {"prompt": "Q", "chosen": TEXT, "rejected": [USER, OTHER]},
            "preference",
            Pair("x", [USER], [ASSISTANT], [OTHER]),
        ),
        (
            {
                "conversations": [{"from": "human", "value": "Q"}],
                "chosen": {"from": "gpt", "value": "A"},
                "rejected": {"from": "gpt", "value": "B"},
            },
            "preference",
            Pair("x", [USER], [ASSISTANT], [OTHER]),
        ),
        ({"chosen": TEXT, "rejected": [USER, OTHER]}, "preference_implicit", Pair("x", [USER], [ASSISTANT], [OTHER])),
        (
            {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
            "hh",
            Pair("x", [USER], [ASSISTANT], [OTHER]),
        ),
        ({"prompt": "Q", "completion": "A", "label": False}, "label", Labelled("x", Conversation("x", TEXT, 1), False)),
        ({"messages": TEXT, "label": True}, "label", Labelled("x", Conversation("x", TEXT, 1), True)),
    ],
)
def test_each_format_is_detected_and_read(row, name, expected):
    assert detect(row) == name
    assert parse(row, "x") == expected
    assert parse(row, "x", name) == expected


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"chosen": TEXT, "rejected": TEXT}, "are the same"),
        ({"chosen": [ASSISTANT], "rejected": [OTHER]}, "no common prompt"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: x"}, "no common prompt"),
        ({"chosen": TEXT, "rejected": [USER]}, "rejected must go on with the assistant's answer .* it ends"),
        ({"chosen": "said without turns", "rejected": "x"}, "must begin with"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: x"},
            r"chosen\[1\] \(assistant\) is empty",
        ),
        ({"prompt": "Q", "completion": "A", "label": 1}, "true or false"),
        ({"messages": [USER, {"role": "assistant", "content": [{"type": "image"}]}]}, "not text"),
        ({"messages": TEXT, "tools": "none"}, "'tools' must be a list"),
        ({"messages": "hello"}, "must be a list of messages"),
        ({"messages": ["hello"]}, "with 'role' and 'content'"),
    ],
)
def test_a_row_that_says_nothing_clear_is_refused(row, says):
    with pytest.raises(InputError, match=f"^x: .*{says}"):
        parse(row, "x")


def test_a_bare_list_of_messages_is_a_conversation():
    assert parse(TEXT, "x") == Conversation("x", TEXT)


def test_a_stated_format_must_fit():
    with pytest.raises(InputError, match=r"x: a row in the format 'alpaca' needs 'instruction'"):
        parse({"messages": TEXT}, "x", "alpaca")
    with pytest.raises(InputError, match="format 'nonsense' is unknown; allowed are messages"):
        parse({"messages": TEXT}, "x", "nonsense")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_jsonl_json_and_compressed_files_say_the_same(tmp_path):
    rows = [{"messages": TEXT}, {"messages": [*TEXT, USER, OTHER]}]
    plain = write(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    write(tmp_path / "lines.json", rows)
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(plain.read_bytes())
    expected = [example.messages for example in finetune.read(plain).examples]
    for name in ("a.json", "lines.json", "a.jsonl.gz"):
        assert [example.messages for example in finetune.read(tmp_path / name).examples] == expected
    assert finetune.read(plain).examples[1].where == "a.jsonl:2"


def test_parquet_and_zstd(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    tool = {"role": "assistant", "content": "A", "name": "helper"}  # the other messages get a null name
    rows = [{"messages": [USER, tool]}, {"messages": TEXT}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    read = finetune.read(tmp_path / "a.parquet")
    assert [example.messages for example in read.examples] == [[USER, tool], TEXT]
    with pyarrow.output_stream(str(tmp_path / "a.jsonl.zst"), compression="zstd") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
    assert len(finetune.read(tmp_path / "a.jsonl.zst").examples) == 2


def test_a_bad_row_is_named_by_file_line_and_reason(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        json.dumps({"messages": TEXT}).encode()
        + b'\n\n{"messages": [\n{"messages": []}\n\xff\n{"question": "Q", "answer": "A"}\n'
        + b"[" * 100_000
    )
    with pytest.raises(InputError, match=r"^a\.jsonl:3: not JSON"):
        finetune.read(path)
    rows = finetune.read(path, strict=False)
    assert (len(rows.examples), rows.format) == (1, "messages")
    assert [entry.where for entry in rows.skipped] == ["a.jsonl:3", "a.jsonl:4", "a.jsonl:5", "a.jsonl:6", "a.jsonl:7"]
    assert "one file holds one format" in rows.skipped[3].why


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("a.jsonl", b"", InputError, "it is empty"),
        ("a.json", b"[1, 2", FormatError, "not JSON"),
        ("a.json", b"[]", InputError, "it is empty"),
        ("a.csv", b"x", FormatError, "must be a .jsonl"),
        ("a.jsonl.gz", b"nonsense", FormatError, r"cannot be unpacked \(\.gz\)"),
        ("a.jsonl.zst", b"nonsense", FormatError, r"cannot be unpacked \(\.zst\)"),
        ("a.parquet", b"nonsense", FormatError, "not a Parquet file"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_named(tmp_path, name, content, error, says):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=says):
        finetune.read(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_decompression_bomb_is_refused(tmp_path, suffix):
    bomb = b'{"messages": "' + b" " * (90 << 20) + b'"}'
    if suffix == ".gz":
        packed = gzip.compress(bomb, compresslevel=1)
        packed = gzip.compress(bomb) if len(packed) * 200 > len(bomb) else packed
    else:
        pyarrow = pytest.importorskip("pyarrow")
        packed = pyarrow.compress(bomb, codec="zstd", asbytes=True)
    path = tmp_path / f"bomb.jsonl{suffix}"
    path.write_bytes(packed)
    with pytest.raises(FormatError, match=r"bomb\.jsonl.* cannot be unpacked .*200 times"):
        finetune.read(path, strict=False)


def test_a_parquet_file_that_repeats_one_long_value_is_refused(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    long = pa.array(["a" * 1_000_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), long)
    path = tmp_path / "bomb.parquet"
    parquet.write_table(pa.table({"prompt": column, "completion": column}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    with pytest.raises(FormatError, match=r"bomb\.parquet cannot be unpacked .*decompression bomb"):
        finetune.read(path, strict=False)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"nothing\.jsonl does not exist"):
        finetune.read(tmp_path / "nothing.jsonl")


def test_real_human_pairs_are_read(development_data):
    rows = finetune.read(development_data / "post/hh-rlhf/harmless-base-test.jsonl.gz", strict=False)
    assert rows.format == "hh"
    assert len(rows.examples) + len(rows.skipped) == 2312
    assert len(rows.examples) > 2200
    assert all(pair.chosen[0]["role"] == "assistant" and pair.prompt[0]["role"] == "user" for pair in rows.examples)


def test_real_conversations_and_judgements_are_read(development_data):
    assert len(finetune.read(development_data / "post/gsm8k/train.jsonl").examples) == 7473
    assert len(finetune.read(development_data / "post/alpaca/seed_tasks.jsonl").examples) == 175
    assert finetune.read(development_data / "post/llamafactory_demo/dpo_en_demo.json").format == "preference"
    judged = finetune.read(development_data / "post/llamafactory_demo/kto_en_demo.json")
    assert judged.format == "label"
    assert {example.label for example in judged.examples} == {True, False}


def test_importing_the_room_loads_nothing_heavy():
    heavy = ("torch", "jinja2", "pyarrow", "pydantic")
    code = f"import sys, gristlm.finetune; print([name for name in {heavy} if name in sys.modules])"

    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
    )
