"""What is reported beside the loss: how long answers get, and bits per byte on what pretraining held out."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gristlm  # noqa: E402
from gristlm import finetune  # noqa: E402
from gristlm.errors import InputError  # noqa: E402
from gristlm.finetune import FinetuneConfig  # noqa: E402
from gristlm.model import Model  # noqa: E402
from gristlm.runs import artifact  # noqa: E402
from gristlm.tokenize import TokenDataset  # noqa: E402
from gristlm.training.chat_prompt import encode_prompt, load_template  # noqa: E402
from gristlm.training.questions import Questions  # noqa: E402

TEXTS = ["What is the answer? The answer is a number.", "yes", "no maybe 1 2 3 4 5 " * 20, "x", "user assistant"]
SETTINGS = {"epochs": 2, "global_batch_size": 8, "learning_rate": 1e-2, "num_threads": 1, "max_sample_tokens": 12}


@pytest.fixture
def tokens(checkpoint, tmp_path):
    """The artifact that the tokens stage leaves, of a few documents that each end in <|endoftext|>."""
    tokenizer = gristlm.Tokenizer.from_file(checkpoint)
    end = tokenizer.special_tokens["<|endoftext|>"]
    ids = [[*tokenizer.encode(text), end] for text in TEXTS]
    for name in ("train", "heldout"):
        TokenDataset.write(
            tmp_path / "tokens" / name, np.concatenate(ids), np.cumsum([0, *map(len, ids)]),
            vocab_size=tokenizer.vocab_size,
        )  # fmt: skip
    artifact.seal(tmp_path / "tokens", {"kind": "tokens", "config": {}, "inputs": {}}, counts={}, measured={})
    return tmp_path / "tokens"


def inputs(checkpoint, data, name, **more):
    return {
        "checkpoint": checkpoint, "data": data / f"{name}.jsonl", "heldout_data": data / f"{name}_heldout.jsonl", **more
    }  # fmt: skip


def by_hand(model, tokenizer, limit):
    """Bits per byte, a document and a token at a time."""
    nats, count, end = 0.0, 0, tokenizer.special_tokens["<|endoftext|>"]
    for text in TEXTS:
        ids = [*tokenizer.encode(text), end][: min(limit, model.config.max_seq_len)]
        limit -= len(ids) if len(ids) > 1 else 0
        if len(ids) < 2:
            continue
        with torch.no_grad():
            logprobs = model(torch.tensor([ids]))[0].double().log_softmax(-1)
        for place, token in enumerate(ids[1:]):
            nats -= logprobs[place, token].item()
            count += 0 if token == end else len(tokenizer.id_to_bytes(token))
    return nats / math.log(2) / count


@pytest.mark.parametrize(("limit", "packing"), [(10_000, True), (10_000, False), (150, True)])
def test_bits_per_byte_before_and_after_are_those_by_hand(checkpoint, data, tokens, tmp_path, limit, packing):
    config = FinetuneConfig(**SETTINGS, pretrain_tokens=limit, packing=packing, num_samples=0)
    counts = finetune.run(config, inputs(checkpoint, data, "sft", tokens=tokens), tmp_path / "out").counts
    tokenizer = gristlm.Tokenizer.from_file(checkpoint)
    for when, path in (("before", checkpoint), ("after", tmp_path / "out/final")):
        expected = by_hand(Model.from_pretrained(path), tokenizer, limit)
        assert counts[f"pretrain_bits_per_byte_{when}"] == pytest.approx(expected, rel=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    measured = [line["step"] for line in lines if "pretrain_bits_per_byte" in line]
    assert measured == [0, 10]


@pytest.mark.parametrize("options", [{"method": "dpo"}, {"method": "sft", "lora_rank": 4}])
def test_preferences_and_adapters_are_measured_too(checkpoint, data, tokens, tmp_path, options, capsys):
    name = "pairs" if options["method"] == "dpo" else "sft"
    config = FinetuneConfig(**SETTINGS | options)
    counts = finetune.run(config, inputs(checkpoint, data, name, tokens=tokens), tmp_path / "out").counts
    tuned, tokenizer = Model.from_pretrained(tmp_path / "out/final"), gristlm.Tokenizer.from_file(checkpoint)
    expected = by_hand(tuned, tokenizer, 10_000)
    assert counts["pretrain_bits_per_byte_after"] == pytest.approx(expected, rel=1e-4)
    assert counts["pretrain_bits_per_byte_after"] != counts["pretrain_bits_per_byte_before"]
    rows = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    for when, step in (("before", 0), ("after", 10)):
        said = [row for row in rows if row["step"] == step]
        assert len(said) == 12  # every held-out prompt, as there are fewer than num_samples
        assert counts[f"answers_ended_{when}"] == sum(row["finish_reason"] == "stop" for row in said) / 12
        assert 0 <= counts[f"answer_tokens_{when}"] <= 12


def test_answers_that_learn_to_end_get_shorter(checkpoint, data, tmp_path):
    config = FinetuneConfig(**SETTINGS | {"epochs": 6, "max_sample_tokens": 40})
    counts = finetune.run(config, inputs(checkpoint, data, "sft"), tmp_path / "out").counts
    assert counts["answers_ended_after"] == 1
    assert counts["answer_tokens_after"] < counts["answer_tokens_before"]
    tokenizer = gristlm.Tokenizer.from_file(checkpoint)
    rows = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    lengths = [len(tokenizer.encode(row["answer"])) for row in rows if row["step"] == 30]
    assert counts["answer_tokens_after"] == pytest.approx(sum(lengths) / len(lengths), abs=0.5)


def logprob(model, prompt, answer):
    with torch.no_grad():
        logprobs = model(torch.tensor([[*prompt, *answer]]))[0].double().log_softmax(-1)
    return sum(logprobs[len(prompt) - 1 + place, token].item() for place, token in enumerate(answer))


@pytest.mark.parametrize("options", [{"method": "dpo"}, {"method": "simpo", "lora_rank": 4}])
def test_the_kl_to_the_start_is_that_of_answers_drawn_from_the_result(checkpoint, data, tmp_path, options):
    config = FinetuneConfig(**SETTINGS | options, seed=5)
    counts = finetune.run(config, inputs(checkpoint, data, "pairs"), tmp_path / "out").counts
    assert counts["sampled_kl_before"] == 0.0
    start, tuned = Model.from_pretrained(checkpoint), Model.from_pretrained(tmp_path / "out/final")
    tokenizer = gristlm.Tokenizer.from_file(tmp_path / "out/final")
    template = load_template(tmp_path / "out/final")
    rows = [json.loads(line) for line in (data / "pairs_heldout.jsonl").read_text().splitlines()]
    prompts = [encode_prompt(tokenizer, [{"role": "user", "content": row["prompt"]}], template) for row in rows]
    groups = tuned.generate(prompts, n=4, max_new_tokens=12, temperature=1.0, seed=5)
    ratios = [
        logprob(tuned, prompt, one.tokens) - logprob(start, prompt, one.tokens)
        for prompt, group in zip(prompts, groups, strict=True)
        for one in group
    ]
    assert len(ratios) == 48
    assert counts["sampled_kl_after"] == pytest.approx(sum(ratios) / 48, rel=1e-3, abs=1e-4)


def test_tokens_of_another_tokenizer_are_refused(checkpoint, data, tokens, tmp_path):
    TokenDataset.write(tokens / "heldout", [1, 2, 3], [0, 3], vocab_size=77)
    artifact.seal(tokens, {"kind": "tokens", "config": {}, "inputs": {}}, counts={}, measured={})
    with pytest.raises(InputError, match=r"do not match the checkpoint: they are of 77 kinds"):
        finetune.run(FinetuneConfig(**SETTINGS), inputs(checkpoint, data, "sft", tokens=tokens), tmp_path / "out")


@pytest.mark.parametrize("options", [{"method": "sft"}, {"method": "dpo", "lora_rank": 4}])
def test_questions_are_answered_along_the_way(checkpoint, data, tmp_path, options):
    rows = [
        {"context": "What is 3? It is", "answer": " 3"},
        {"context": "What is 3? It is", "choices": [" 3.", " ####"], "answer": 0},
    ]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    name = "pairs" if options["method"] == "dpo" else "sft"
    config = FinetuneConfig(**SETTINGS | options, questions=questions, evaluate_every=5)
    counts = finetune.run(config, inputs(checkpoint, data, name), tmp_path / "out").counts
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "cloze_accuracy" in line] == [0, 5, 10]
    tokenizer = gristlm.Tokenizer.from_file(checkpoint)
    read = Questions.read(questions, tokenizer, 128)
    for when, path in (("before", checkpoint), ("after", tmp_path / "out/final")):
        assert {f"{key}_{when}" for key in ("cloze_accuracy", "choice_accuracy")} <= set(counts)
        assert read.measure(Model.from_pretrained(path)) == {
            key: counts[f"{key}_{when}"] for key in ("cloze_accuracy", "choice_accuracy")
        }
