"""What the model writes while it is trained: the same lines however often it was cut, and no weight changed by it."""

from pathlib import Path

import pytest
from small_runs import assert_same_end, config

from gristlm.errors import ConfigError
from gristlm.model import Model
from gristlm.pretrain import run
from gristlm.tokenize import TokenDataset, Tokenizer
from gristlm.training import MetricsLog

PROMPTS = ("The value", "An object")
SAMPLING = {"sample_every": 3, "sample_prompts": PROMPTS, "sample_tokens": 12}


@pytest.fixture(scope="module")
def sampled(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("sampled") / "pretrain"
    run(config(**SAMPLING), inputs, output)
    return output


def lines(stage: Path) -> list[dict[str, object]]:
    return MetricsLog(stage, "samples.jsonl").read()


def test_what_they_say_is_what_the_model_says(sampled: Path, inputs: dict[str, Path]) -> None:
    found = lines(sampled)
    assert [(line["step"], line["prompt"]) for line in found] == [(n, text) for n in (3, 6, 8) for text in PROMPTS]
    tokenizer, model = Tokenizer.from_file(inputs["tokenizer"]), Model.from_pretrained(sampled / "final")
    prompts = [tokenizer.encode(text) for text in PROMPTS]
    said = model.generate(prompts, max_new_tokens=12, temperature=0.8, seed=[3, 4])
    assert [line["text"] for line in found[-2:]] == [tokenizer.decode(one.tokens) for (one,) in said]
    assert all(line["finish_reason"] == "length" for line in found)


def test_sampling_changes_no_weight(sampled: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    run(config(), inputs, tmp_path)
    assert_same_end(tmp_path, sampled)
    assert not (tmp_path / "samples.jsonl").exists()


@pytest.mark.parametrize("cut_at", [1, 2, 5])
def test_resumed_it_writes_the_same_lines(
    sampled: Path, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    write, calls = MetricsLog.write, iter(range(100))

    def cut(self: MetricsLog, step: int, **figures: float | str | None) -> None:
        write(self, step, **figures)
        if self.path.name == "samples.jsonl" and next(calls) == cut_at - 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "write", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config(**SAMPLING), inputs, tmp_path)
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write('{"step": 7, "pro')  # what a killed writer leaves
    run(config(**SAMPLING), inputs, tmp_path)
    assert (tmp_path / "samples.jsonl").read_bytes() == (sampled / "samples.jsonl").read_bytes()
    assert_same_end(tmp_path, sampled)


def test_held_out_documents_begin_what_has_no_prompt(inputs: dict[str, Path], tmp_path: Path) -> None:
    run(config(steps=2, sample_every=5, sample_tokens=3, ema_decay=0.5), inputs, tmp_path)
    found, tokenizer = lines(tmp_path), Tokenizer.from_file(inputs["tokenizer"])
    assert [line["step"] for line in found] == [2, 2, 2]
    heldout = TokenDataset(inputs["tokens"] / "heldout")
    assert [line["prompt"] for line in found] == [tokenizer.decode(heldout[place][:12].tolist()) for place in (0, 2, 5)]


def test_a_prompt_that_leaves_no_room_is_named(inputs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'long long.*max_seq_len is 64"):
        run(config(sample_every=1, sample_prompts=["A list", "long " * 100]), inputs, tmp_path)
