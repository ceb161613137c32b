import json

import pytest

torch = pytest.importorskip("torch")

import gristlm  # noqa: E402
from gristlm import finetune  # noqa: E402
from gristlm.errors import ArtifactError, ConfigError, InputError  # noqa: E402
from gristlm.finetune import FinetuneConfig  # noqa: E402
from gristlm.finetune.batches import lay_out  # noqa: E402
from gristlm.finetune.config import REFERENCE_FREE  # noqa: E402
from gristlm.model import Model  # noqa: E402
from gristlm.training.chat_prompt import encode_prompt, load_template  # noqa: E402

SFT = {"epochs": 3, "global_batch_size": 8, "learning_rate": 1e-2, "num_threads": 1, "checkpoint_every": 5}
DPO = {
    "method": "dpo",
    "epochs": 3,
    "global_batch_size": 8,
    "learning_rate": 1e-3,
    "num_threads": 1,
    "checkpoint_every": 5,
}


def inputs(checkpoint, data, name="sft"):
    return {"checkpoint": checkpoint, "data": data / f"{name}.jsonl", "heldout_data": data / f"{name}_heldout.jsonl"}


def metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_sft_learns_and_says_so(checkpoint, data, tmp_path):
    manifest = finetune.run(FinetuneConfig(**SFT), inputs(checkpoint, data), tmp_path / "out")
    counts = manifest.counts
    assert manifest.kind == "finetune"
    assert counts["steps"] == 15
    assert counts["rows"] == 40
    assert counts["heldout_loss_after"] < 0.7 * counts["heldout_loss_before"]
    lines = metrics(tmp_path / "out")
    assert [line["step"] for line in lines] == list(range(16))
    assert lines[0]["heldout_loss"] == pytest.approx(counts["heldout_loss_before"])
    for line in lines[1:]:
        assert {"loss", "lr", "grad_norm", "tokens_per_second"} <= set(line)
    assert (
        finetune.run(FinetuneConfig(**SFT), inputs(checkpoint, data), tmp_path / "out").digest == manifest.digest
    )  # complete: nothing to do
    with pytest.raises(ConfigError, match="learning_rate was"):
        finetune.run(FinetuneConfig(**SFT | {"learning_rate": 1e-5}), inputs(checkpoint, data), tmp_path / "out")


def test_the_result_loads_in_transformers_with_its_chat_template(checkpoint, data, tmp_path):
    transformers = pytest.importorskip("transformers")
    finetune.run(FinetuneConfig(**SFT | {"max_steps": 1}), inputs(checkpoint, data), tmp_path / "out")
    final = tmp_path / "out/final"
    theirs = transformers.AutoTokenizer.from_pretrained(final)
    messages = [{"role": "user", "content": "What is 3?"}, {"role": "assistant", "content": "It is 3."}]
    assert theirs.apply_chat_template(messages, tokenize=False) == finetune.render(messages, "chatml")
    ours = finetune.prepare([{"messages": messages}], gristlm.Tokenizer.from_file(final))
    ids = theirs.apply_chat_template(messages, return_dict=True)["input_ids"]
    assert list(ids) == ours.ids.tolist()
    prompt = encode_prompt(gristlm.Tokenizer.from_file(final), messages[:1], load_template(final))
    assert prompt == ours.ids[: len(prompt)].tolist()
    assert ours.loss_mask.tolist().index(True) == len(prompt)
    assert (theirs.eos_token, theirs.pad_token) == ("<|im_end|>", "<|pad|>")
    assert theirs.pad_token_id != theirs.eos_token_id
    model = transformers.AutoModelForCausalLM.from_pretrained(final)
    assert model.config.eos_token_id == [theirs.eos_token_id, 0]
    assert Model.from_pretrained(final).config.eos_token_ids == (theirs.eos_token_id, 0)


def test_packed_logits_are_those_of_each_conversation_alone(checkpoint, data):
    model, tokenizer = Model.from_pretrained(checkpoint), gristlm.Tokenizer.from_file(checkpoint)
    rows = [json.loads(line) for line in (data / "sft.jsonl").read_text().splitlines()]
    with torch.no_grad():
        for row in finetune.prepare(rows, tokenizer, packing=True, max_seq_len=128):
            packed = model(
                torch.from_numpy(row.input_ids)[None],
                position_ids=torch.from_numpy(row.position_ids)[None],
                cu_seqlens=torch.from_numpy(row.cu_seqlens),
            )[0]
            for start, end in zip(row.cu_seqlens, row.cu_seqlens[1:], strict=False):
                alone = model(torch.from_numpy(row.input_ids[start:end])[None])[0]
                assert (packed[start:end] - alone).abs().max() <= 1e-5
        prepared = finetune.prepare(rows, tokenizer)
        batches = [
            lay_out(prepared, range(40), packing=packing, max_seq_len=128, device=model.device)
            for packing in (True, False)
        ]
        sums = [b.sums(model.token_logprobs(b.input_ids, b.labels, cu_seqlens=b.cu_seqlens)) for b in batches]
    assert batches[0].input_ids.numel() < batches[1].input_ids.numel()
    torch.testing.assert_close(*sums, rtol=1e-5, atol=1e-5)


def test_packing_and_micro_batches_change_neither_loss_nor_gradient(checkpoint, data, tmp_path):
    runs = {}
    for name, options in {
        "packed": {},
        "padded": {"packing": False},
        "small": {"micro_batch_size": 3},
        "tiny": {"micro_batch_tokens": 40},
    }.items():
        finetune.run(FinetuneConfig(**SFT | {"max_steps": 4} | options), inputs(checkpoint, data), tmp_path / name)
        runs[name] = [(line["loss"], line["grad_norm"]) for line in metrics(tmp_path / name)[1:]]
    for name in ("padded", "small", "tiny"):
        for one, other in zip(runs["packed"], runs[name], strict=True):
            assert one == pytest.approx(other, rel=1e-4)


def test_the_loss_is_that_of_the_assistants_tokens_by_hand(checkpoint, data, tmp_path):
    finetune.run(
        FinetuneConfig(**SFT | {"max_steps": 1, "global_batch_size": 40}), inputs(checkpoint, data), tmp_path / "out"
    )
    model, tokenizer = Model.from_pretrained(checkpoint), gristlm.Tokenizer.from_file(checkpoint)
    nats, count = 0.0, 0
    for line in (data / "sft.jsonl").read_text().splitlines():
        question, answer = json.loads(line)["messages"]
        im_start, im_end = tokenizer.special_tokens["<|im_start|>"], tokenizer.special_tokens["<|im_end|>"]
        prompt = [
            im_start,
            *tokenizer.encode(f"user\n{question['content']}"),
            im_end,
            *tokenizer.encode("\n"),
            im_start,
            *tokenizer.encode("assistant\n"),
        ]
        spoken = [*tokenizer.encode(answer["content"]), im_end]
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + spoken]))[0].double().log_softmax(-1)
        nats -= sum(logprobs[len(prompt) - 1 + place, token].item() for place, token in enumerate(spoken))
        count += len(spoken)
    assert metrics(tmp_path / "out")[1]["loss"] == pytest.approx(nats / count, rel=1e-5)


@pytest.mark.parametrize("method", ["dpo", "ipo", "hinge", "robust", "simpo", "orpo", "cpo", "kto"])
def test_every_preference_method_learns_to_prefer(checkpoint, data, tmp_path, method):
    config = FinetuneConfig(**DPO | {"method": method, "epochs": 2, "learning_rate": 2e-3})
    counts = finetune.run(config, inputs(checkpoint, data, "pairs"), tmp_path / "out").counts
    assert counts["heldout_loss_after"] < counts["heldout_loss_before"]
    assert counts["heldout_margin_after"] > counts["heldout_margin_before"]
    assert counts["heldout_accuracy_after"] > 0.9
    assert (
        counts["heldout_accuracy_low_after"]
        < counts["heldout_accuracy_after"]
        <= counts["heldout_accuracy_high_after"] + 1e-9
    )
    if method not in REFERENCE_FREE:
        assert counts["heldout_accuracy_before"] == 0.5  # policy and reference are one model: every reward is 0
        assert counts["heldout_margin_before"] == 0.0
    last = metrics(tmp_path / "out")[-1]
    assert {"loss", "margin", "accuracy", "lr", "grad_norm", "tokens_per_second"} <= set(last)
    assert ("kl" in last) == (method not in REFERENCE_FREE)


@pytest.mark.parametrize("method", ["kto", "dpo"])
def test_micro_batches_change_no_preference_loss(checkpoint, data, tmp_path, method):
    runs = []
    for name, options in {"whole": {}, "small": {"micro_batch_size": 3}, "padded": {"packing": False}}.items():
        settings = DPO | {"method": method, "max_steps": 4, "learning_rate": 2e-3} | options
        finetune.run(FinetuneConfig(**settings), inputs(checkpoint, data, "pairs"), tmp_path / name)
        runs.append([(line["loss"], line["grad_norm"]) for line in metrics(tmp_path / name)[1:]])
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            assert one == pytest.approx(two, rel=1e-4)


def test_kto_learns_from_labelled_answers(checkpoint, data, tmp_path):
    counts = finetune.run(
        FinetuneConfig(**DPO | {"method": "kto", "learning_rate": 2e-3}),
        inputs(checkpoint, data, "labelled"),
        tmp_path / "out",
    ).counts
    assert counts["format"] == "label"
    assert counts["heldout_accuracy_after"] > 0.9


def test_a_cached_reference_gives_the_run_of_one_in_memory(checkpoint, data, tmp_path):
    losses = {}
    for cache in (True, False):
        path = tmp_path / str(cache)
        finetune.run(
            FinetuneConfig(**DPO | {"cache_reference": cache, "max_steps": 6}), inputs(checkpoint, data, "pairs"), path
        )
        losses[cache] = [line["loss"] for line in metrics(path)[1:]]
        assert (path / "reference.safetensors").exists() == cache
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)
    assert losses[True][0] == pytest.approx(0.6931, abs=1e-4)  # log 2: nothing is preferred yet


def test_a_cache_of_other_data_is_made_again(tmp_path):
    import numpy as np

    from gristlm.finetune.reference import cached

    path = tmp_path / "reference.safetensors"
    first = np.array([1.0, 2.0], dtype=np.float32)
    assert cached(path, "a", lambda: first).tolist() == [1.0, 2.0]
    assert cached(path, "a", lambda: first + 1).tolist() == [1.0, 2.0]
    assert cached(path, "b", lambda: first + 1).tolist() == [2.0, 3.0]
    path.write_bytes(path.read_bytes()[:20])
    assert cached(path, "b", lambda: first + 5).tolist() == [6.0, 7.0]


def copy_checkpoint(source, target):
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_a_tokenizer_that_does_not_match_is_refused(checkpoint, data, tmp_path):
    other = copy_checkpoint(checkpoint, tmp_path / "other")
    gristlm.Tokenizer.train(
        ["some more words for a larger vocabulary"] * 3, vocab_size=500, special_tokens=[f"<{i}>" for i in range(200)]
    ).save(other / "tokenizer.json")
    with pytest.raises(InputError, match=r"special tokens .* tell of none"):
        finetune.run(FinetuneConfig(**SFT), inputs(other, data), tmp_path / "a")
    with pytest.raises(InputError, match=r"does not match the checkpoint: it has \d+ tokens, the model embeds \d+"):
        finetune.run(
            FinetuneConfig(**SFT, template="{% for m in messages %}{{ m.content }}<1>{% endfor %}"),
            inputs(other, data),
            tmp_path / "b",
        )
    with pytest.raises(InputError, match="missing end of turn"):
        finetune.run(FinetuneConfig(**SFT, template="llama3"), inputs(checkpoint, data), tmp_path / "c")


def test_a_checkpoint_that_pads_with_the_end_of_turn_is_refused(checkpoint, data, tmp_path):
    other = copy_checkpoint(checkpoint, tmp_path / "other")
    gristlm.Tokenizer.train(["What is"] * 3, vocab_size=270, special_tokens=["<|im_start|>", "<|im_end|>"]).save(
        other / "tokenizer.json"
    )
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"pad_token_id": 1}))
    with pytest.raises(InputError, match="pads with the end-of-turn token"):
        finetune.run(FinetuneConfig(**SFT), inputs(other, data), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "name", "error", "says"),
    [
        ({}, "pairs", InputError, "set method to dpo"),
        ({"method": "dpo"}, "sft", InputError, "set method to sft"),
        ({"method": "dpo"}, "labelled", InputError, "learns preference pairs"),
        ({"max_seq_len": 12, "strict": True}, "sft", InputError, r"sft\.jsonl:1: truncation would cut the answer"),
        ({"template": "{% bad %}"}, "sft", InputError, "not valid Jinja"),
        ({"format": "alpaca"}, "sft", InputError, "needs 'instruction'"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_step(checkpoint, data, tmp_path, options, name, error, says):
    with pytest.raises(error, match=says):
        finetune.run(FinetuneConfig(**SFT | options), inputs(checkpoint, data, name), tmp_path / "out")
    assert not (tmp_path / "out/metrics.jsonl").exists()


def test_missing_and_unknown_inputs_are_named(checkpoint, data, tmp_path):
    with pytest.raises(ConfigError, match="reads the inputs"):
        finetune.run(FinetuneConfig(), {"checkpoint": checkpoint}, tmp_path / "a")
    with pytest.raises(ConfigError, match="given checkpoint, data, extra"):
        finetune.run(
            FinetuneConfig(), {"checkpoint": checkpoint, "data": data / "sft.jsonl", "extra": data}, tmp_path / "b"
        )
    with pytest.raises(ArtifactError, match="is no checkpoint"):
        finetune.run(FinetuneConfig(), {"checkpoint": data, "data": data / "sft.jsonl"}, tmp_path / "c")
    with pytest.raises(ArtifactError, match="does not exist"):
        finetune.run(FinetuneConfig(), {"checkpoint": checkpoint, "data": data / "none.jsonl"}, tmp_path / "d")


def test_rows_left_out_are_counted_with_their_reasons(checkpoint, data, tmp_path):
    rows = [json.loads(line) for line in (data / "pairs.jsonl").read_text().splitlines()]
    rows[3]["chosen"] = "say <|im_end|> twice"
    rows[5] = {"prompt": "x"}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = FinetuneConfig(**DPO | {"max_steps": 1, "strict": False})
    counts = finetune.run(config, {"checkpoint": checkpoint, "data": path}, tmp_path / "out").counts
    assert (counts["rows"], counts["rows_skipped"]) == (38, 2)
    assert sum(counts["skipped_for"].values()) == 2
    listed = [json.loads(line) for line in (tmp_path / "out/skipped.jsonl").read_text().splitlines()]
    assert [entry["where"] for entry in listed] == ["pairs.jsonl:6", "pairs.jsonl:4 (chosen)"]
    with pytest.raises(InputError, match=r"pairs\.jsonl:6: "):
        finetune.run(FinetuneConfig(**DPO, strict=True), {"checkpoint": checkpoint, "data": path}, tmp_path / "strict")


@pytest.fixture
def fresh(development_data, tmp_path):
    """A small untrained model whose tokenizer was trained on the real texts."""
    from gristlm.model import ModelConfig

    path = tmp_path / "fresh"
    text = (development_data / "post/gsm8k/train.jsonl").read_text()[:200_000]
    tokenizer = gristlm.Tokenizer.train(
        [text], vocab_size=1000, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    )
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, num_layers=2, d_model=64, num_heads=2, max_seq_len=512, eos_token_ids=(0,)
    )
    Model(shape, seed=2).save_pretrained(path)
    tokenizer.save(path / "tokenizer.json")
    return path


def test_real_grade_school_mathematics_is_learnt(fresh, development_data, tmp_path):
    rows = (development_data / "post/gsm8k/train.jsonl").read_text().splitlines()[:160]
    paths = {"data": tmp_path / "train.jsonl", "heldout_data": tmp_path / "heldout.jsonl"}
    paths["data"].write_text("\n".join(rows[:128]) + "\n")
    paths["heldout_data"].write_text("\n".join(rows[128:]) + "\n")
    config = FinetuneConfig(epochs=2, global_batch_size=16, learning_rate=5e-3, num_threads=1)
    counts = finetune.run(config, {"checkpoint": fresh, **paths}, tmp_path / "out").counts
    assert counts["format"] == "question_answer"
    assert counts["rows"] == 128
    assert counts["heldout_loss_after"] < 0.9 * counts["heldout_loss_before"]


def test_real_human_pairs_are_trained_on_and_measured_with_their_interval(fresh, development_data, tmp_path):
    import gzip

    with gzip.open(development_data / "post/hh-rlhf/harmless-base-test.jsonl.gz", "rt") as file:
        rows = [line for line in file if len(line) < 900][:96]
    paths = {"data": tmp_path / "train.jsonl", "heldout_data": tmp_path / "heldout.jsonl"}
    paths["data"].write_text("".join(rows[:64]))
    paths["heldout_data"].write_text("".join(rows[64:]))
    config = FinetuneConfig(
        method="dpo", epochs=2, global_batch_size=16, learning_rate=1e-3, num_threads=1, strict=False
    )
    counts = finetune.run(config, {"checkpoint": fresh, **paths}, tmp_path / "out").counts
    assert counts["format"] == "hh"
    assert counts["rows"] + counts["rows_skipped"] >= 64
    assert (
        0
        <= counts["heldout_accuracy_low_after"]
        <= counts["heldout_accuracy_after"]
        <= counts["heldout_accuracy_high_after"]
        <= 1
    )
    lines = metrics(tmp_path / "out")
    assert (
        lines[-1]["loss"] < lines[1]["loss"]
    )  # the pairs it has seen it prefers; whether that carries over, the interval says
