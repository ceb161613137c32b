"""Generate, score, select, train, again: what is selected, that it helps, and that it goes on where it was cut off."""

import contextlib
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gristlm import finetune  # noqa: E402
from gristlm.errors import ConfigError, FormatError, InputError  # noqa: E402
from gristlm.finetune import FinetuneConfig, rounds  # noqa: E402
from gristlm.finetune.rounds import RoundsConfig, run  # noqa: E402
from gristlm.model import Model  # noqa: E402
from gristlm.training.distributed import Ranks  # noqa: E402

TUNE = {"global_batch_size": 8, "num_threads": 1, "num_samples": 0}


@pytest.fixture(scope="module")
def talker(checkpoint, data, tmp_path_factory):
    """A model that answers in one short sentence, not always the right one."""
    out = tmp_path_factory.mktemp("talker")
    config = FinetuneConfig(**TUNE, epochs=5, learning_rate=1e-2)
    finetune.run(config, {"checkpoint": checkpoint, "data": data / "sft.jsonl"}, out)
    return out / "final"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts")
    for name, numbers in (("train", range(20)), ("heldout", range(20, 30))):
        rows = [{"prompt": f"What is {i % 10}?" + " now" * (i % 3), "reference": str(i % 10)} for i in numbers]
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def inputs(talker, prompts):
    return {
        "checkpoint": talker, "prompts": prompts / "train.jsonl", "heldout_prompts": prompts / "heldout.jsonl"
    }  # fmt: skip


def score(asked, answers, rows):
    """Likes short answers."""
    assert all(messages[-1]["role"] == "user" and "reference" in row for messages, row in zip(asked, rows, strict=True))
    return [-float(len(answer)) for answer in answers]


def config(method, **more):
    tune = FinetuneConfig(**TUNE, method=method, epochs=2, learning_rate=1e-2 if method == "sft" else 2e-3)
    return RoundsConfig(**{
        "rounds": 2, "answers_per_prompt": 6, "max_new_tokens": 16, "temperature": 1.0, "finetune": tune,
        "num_threads": 1, **more,
    })  # fmt: skip


def tuned_on(path):
    counts = json.loads((path / "manifest.json").read_text())["counts"]
    assert counts["rows_skipped"] == 0
    return counts["rows"]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_rounds_raise_the_score_of_held_out_answers(talker, prompts, tmp_path, method):
    manifest = run(config(method), inputs(talker, prompts), tmp_path / "out", score)
    counts = manifest.counts
    assert counts["heldout_score_after"] > counts["heldout_score_before"]
    assert [one["round"] for one in counts["rounds"]] == [1, 2]
    assert counts["rounds"][1]["heldout_score"] > counts["heldout_score_before"]  # of the model that round 1 made
    assert counts["rounds"][1]["score"] > counts["rounds"][0]["score"]
    assert Model.from_pretrained(tmp_path / "out/final").config.max_seq_len == 128
    for number in (1, 2):
        place = tmp_path / f"out/round-{number}"
        said = {}
        for row in lines(place / "answers/answers.jsonl"):
            said.setdefault(json.dumps(row["prompt"]), []).append(row)
        assert {len(rows) for rows in said.values()} <= {6, 12}  # prompts repeat
        chosen = lines(place / "answers/selected.jsonl")
        assert len(chosen) == counts["rounds"][number - 1]["selected"]
        assert len(chosen) + counts["rounds"][number - 1]["left_out"] == 20
        for row in chosen:
            answers = said[json.dumps(row["prompt"] if method == "dpo" else row["messages"][:-1])]
            good = row["chosen"] if method == "dpo" else row["messages"][-1:]
            (found,) = {one["score"] for one in answers if one["whole"] and one["answer"] == good[0]["content"]}
            assert found > min(one["score"] for one in answers)
            if len(answers) == 6:
                assert found == max(one["score"] for one in answers if one["whole"])
        assert tuned_on(place / "tuned") == len(chosen)  # none is refused


@pytest.mark.parametrize(
    ("answers", "scores", "best", "worst"),
    [
        ([("a", 1, 1), ("b", 1, 1), ("c", 1, 1)], [2, 3, 1], "b", "c"),
        ([("a", 1, 1), ("b", 0, 1), ("c", 1, 1)], [2, 3, 1], "a", "c"),  # the best was cut off
        ([("a", 1, 1), ("b", 1, 0), ("c", 1, 0)], [2, 3, 1], None, None),  # special tokens in two of three
        ([("a", 1, 1), ("b\ufffd", 1, 1), ("c", 0, 1)], [2, 3, 1], "a", "c"),
        ([("a", 1, 1), ("b", 1, 1), ("c", 0, 1)], [1, 1, 2], None, None),  # what is whole is not better
        ([("a", 1, 1), ("b", 1, 1), ("c", 1, 1)], [1, 1, 1], None, None),
        ([("a", 1, 1), ("b", 1, 1), ("c", 1, 1)], [2, 2, 1], "a", "c"),
    ],
)
def test_what_is_selected(answers, scores, best, worst):
    prompt = rounds._Prompt("p:1", [{"role": "user", "content": "Q"}], {})
    said = [rounds._Answer(text, bool(ended), bool(plain)) for text, ended, plain in answers]
    learnt = rounds._select("sft", prompt, said, np.array(scores, dtype=float))
    pair = rounds._select("dpo", prompt, said, np.array(scores, dtype=float))
    if best is None:
        assert learnt is pair is None
        return
    assert [message["content"] for message in learnt.messages] == ["Q", best]
    assert learnt.first_target == 1
    assert (pair.chosen[0]["content"], pair.rejected[0]["content"]) == (best, worst)


def test_a_run_that_was_cut_off_scores_nothing_twice_and_ends_the_same(talker, prompts, tmp_path, monkeypatch):
    settings = config("dpo", answers_per_prompt=3)
    whole = run(settings, inputs(talker, prompts), tmp_path / "whole", score)
    calls = []

    def stops(asked, answers, rows):
        calls.append(len(answers))
        if len(calls) == 3:  # the training prompts of round 2, after those and the held-out ones of round 1
            raise KeyboardInterrupt
        return score(asked, answers, rows)

    with pytest.raises(KeyboardInterrupt):
        run(settings, inputs(talker, prompts), tmp_path / "cut", stops)
    assert calls == [60, 10, 60]
    calls = [0] * 3
    assert run(settings, inputs(talker, prompts), tmp_path / "cut", stops).digest == whole.digest
    assert calls[3:] == [60, 10, 10]
    assert run(settings, inputs(talker, prompts), tmp_path / "cut", None).digest == whole.digest  # complete
    with pytest.raises(ConfigError, match="scored_by"):
        run(config("dpo", answers_per_prompt=3, scored_by="x"), inputs(talker, prompts), tmp_path / "cut", score)


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (lambda asked, answers, rows: [1.0] * len(answers), "tell no answers to any of 20 prompts apart"),
        (lambda asked, answers, rows: [1.0], r"each of 60 answers; given \[1\]"),
        (lambda asked, answers, rows: [0.0] * 59 + [float("nan")], r"finite number .* that of train\.jsonl:20"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(talker, prompts, tmp_path, scores, says):
    with pytest.raises(InputError, match=says):
        run(config("sft", answers_per_prompt=3), inputs(talker, prompts), tmp_path / "out", scores)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("", FormatError, "has no prompts"),
        ("{}\n", FormatError, r"p\.jsonl:1: a row must be an object with 'prompt'"),
        ('{"prompt": "x"}\n{bad\n', FormatError, r"p\.jsonl:2: not JSON"),
        ('{"prompt": 7}\n', InputError, r"p\.jsonl:1: "),
        (json.dumps({"prompt": "no now " * 200}) + "\n", InputError, r"p\.jsonl:1: the prompt has \d+ tokens"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(talker, tmp_path, text, error, says):
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(error, match=says):
        run(config("sft"), {"checkpoint": talker, "prompts": path}, tmp_path / "out", score)
    with pytest.raises(ConfigError, match="need the inputs checkpoint and prompts"):
        run(config("sft"), {"checkpoint": talker}, tmp_path / "out", score)


def test_several_processes_are_refused(talker, prompts, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def joined():
        yield Ranks(1, 2)

    monkeypatch.setattr(rounds.distributed, "joined", joined)
    with pytest.raises(ConfigError, match="one process; this is one of 2"):
        run(config("sft"), inputs(talker, prompts), tmp_path / "out", score)


@pytest.mark.slow
def test_the_command_scores_with_a_function_of_the_users(talker, prompts, tmp_path):
    (tmp_path / "own.py").write_text("def brief(prompt, response):\n    return -len(response)\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "gristlm", "finetune", "rounds", "--checkpoint", talker, "--prompts",
            prompts / "train.jsonl", "--heldout-prompts", prompts / "heldout.jsonl", "--reward",
            f"{tmp_path / 'own.py'}:brief", "--rounds", "2", "--answers", "4", "--max-new-tokens", "12", "--seed", "3",
            "--num-threads", "1", "--finetune.method=dpo", "--finetune.learning_rate=1e-3", "--output",
            tmp_path / "out",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {tmp_path / 'out/final'}\n"
    assert "round 2: score " in done.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["config"]["scored_by"] == f"{tmp_path / 'own.py'}:brief"
    assert manifest["config"]["finetune"]["seed"] == 3
    assert any(name.startswith("reward ") for name in manifest["inputs"])  # another function is other work
