"""Fine-tuning beside TRL in one process: same model, rows and threads, equal loss on one batch first.

Ratios are of CPU seconds over one epoch of the same rows, above 1 we need fewer. The data is GSM8K and HH-RLHF.
"""

import gzip
import json
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")

import gristlm  # noqa: E402
from gristlm import finetune  # noqa: E402
from gristlm.finetune import FinetuneConfig, preference, sft  # noqa: E402
from gristlm.finetune.batches import lay_out  # noqa: E402
from gristlm.finetune.chat import Chat  # noqa: E402
from gristlm.finetune.data import Rows  # noqa: E402
from gristlm.finetune.stage import _answers, write_tokenizer  # noqa: E402
from gristlm.finetune.templates import TEMPLATES  # noqa: E402
from gristlm.model import Model, ModelConfig  # noqa: E402
from gristlm.rlhf import RewardConfig, RewardModel, reward_training  # noqa: E402
from gristlm.rlhf.data import read_pairs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
ROWS, PAIRS, LENGTH = 48, 16, 512


@pytest.fixture(scope="module")
def development_data():
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the development data is not on this machine")
    return path


@pytest.fixture(scope="module")
def gsm8k(development_data):
    lines = (development_data / "post/gsm8k/train.jsonl").read_text().splitlines()
    return [
        [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
        for row in map(json.loads, lines)
    ]


@pytest.fixture(scope="module")
def base(gsm8k, tmp_path_factory):
    """A 5.9 M Llama as a directory that both libraries load."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("base")
    text = [message["content"] for row in gsm8k[:2000] for message in row]
    tokenizer = gristlm.Tokenizer.train(text, vocab_size=4096, special_tokens=SPECIAL)
    shape = ModelConfig(
        vocab_size=4096, num_layers=6, d_model=256, num_heads=4, max_seq_len=LENGTH, qk_norm=False,
        eos_token_ids=(tokenizer.token_to_id("<|im_end|>"),), pad_token_id=tokenizer.token_to_id("<|pad|>"),
    )  # fmt: skip
    model = Model(shape, seed=0)
    model.save_pretrained(path)
    tokenizer.save(path / "tokenizer.json")
    filled = write_tokenizer(path / "files", path, Chat(tokenizer, TEMPLATES["chatml"]), model)
    (filled / "tokenizer_config.json").replace(path / "tokenizer_config.json")
    return path


@pytest.fixture(scope="module")
def prepared(gsm8k, base):
    return finetune.prepare(
        [{"messages": row} for row in gsm8k[:ROWS]], gristlm.Tokenizer.from_file(base), template="chatml"
    )


def cpu_seconds(work):
    started = time.process_time()
    work()
    return time.process_time() - started


def record(benchmark, ours, theirs):
    """Interleaves A B A B; the least disturbed round of each counts."""
    seconds = {"ours": float("inf"), "trl": float("inf")}
    for _ in range(2):
        for name, work in (("ours", ours()), ("trl", theirs())):
            seconds[name] = min(seconds[name], cpu_seconds(work))
    benchmark.extra_info.update(seconds, ratio=seconds["trl"] / seconds["ours"])
    ratio = seconds["trl"] / seconds["ours"]
    print(f"\n{benchmark.name}: ours {seconds['ours']:.2f} s, TRL {seconds['trl']:.2f} s, ratio {ratio:.2f}")
    benchmark.pedantic(lambda: None)


def settings(path, **more):
    return {
        "output_dir": str(path), "num_train_epochs": 1, "use_cpu": True, "bf16": False, "report_to": "none",
        "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "learning_rate": 1e-4,
        "gradient_checkpointing": False, "max_length": LENGTH, **more,
    }  # fmt: skip


def noisy_copy(base, path):
    """The same model a little away from itself, so that its preference loss is not just log 2."""
    model = Model.from_pretrained(base)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.02, generator=generator))
    model.save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).write_bytes((base / name).read_bytes())
    return path


def tokenizer_of(base):
    return transformers.AutoTokenizer.from_pretrained(base)


def as_trl(answers, chosen, rejected):
    """A pair as TRL's own columns, from our ids; what follows the end of turn is nobody's target."""
    (ids, mask), (others, targets) = map(answers.prepared.conversation, (int(chosen), int(rejected)))
    first = int(mask.argmax())
    return {
        "prompt_ids": ids[:first].tolist(),
        "chosen_ids": ids[mask].tolist(),
        "rejected_ids": others[targets].tolist(),
    }


def dpo_loss(answers, config, policy, reference):
    """The loss over all pairs at once, by the loop's own parts."""
    places = answers.units.T.ravel()
    batch = lay_out(answers.prepared, places, packing=True, max_seq_len=LENGTH, device=torch.device("cpu"))
    with torch.no_grad():
        sums = [preference._sums(Model.from_pretrained(path), batch) for path in (policy, reference)]
    lengths, good = (torch.from_numpy(values[places]) for values in (answers.lengths, answers.good))
    return preference._loss(config, *sums, lengths, good).item()


def peer(base):
    return transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa")


def test_preparation(benchmark, gsm8k, base):
    tokenizer = gristlm.Tokenizer.from_file(base)
    rows = [{"messages": row} for row in gsm8k[:2000]]
    theirs = transformers.AutoTokenizer.from_pretrained(base)
    config = trl.SFTConfig(**settings(base / "out", completion_only_loss=True))
    few = datasets.Dataset.from_list([{"prompt": row[:1], "completion": row[1:]} for row in gsm8k[:2000]])
    trainer = trl.SFTTrainer(peer(base), config, train_dataset=few.select(range(8)), processing_class=theirs)
    first = finetune.prepare(rows[:8], tokenizer, template="chatml")
    for index in range(8):  # TRL's ids lack the line break after the last turn's end
        ids = first.conversation(index)[0].tolist()
        assert ids[: len(trainer.train_dataset[index]["input_ids"])] == trainer.train_dataset[index]["input_ids"]

    def prepare_theirs():
        data = datasets.Dataset.from_list([{"prompt": row[:1], "completion": row[1:]} for row in gsm8k[:2000]])
        trl.SFTTrainer(trainer.model, config, train_dataset=data, processing_class=theirs)

    def ours():
        return lambda: finetune.prepare(rows, tokenizer, template="chatml", packing=True, max_seq_len=LENGTH)

    record(benchmark, ours, lambda: prepare_theirs)


@pytest.mark.parametrize("packing", [True, False])
def test_sft(benchmark, base, prepared, tmp_path, packing):
    mine, other = Model.from_pretrained(base), peer(base)
    batch = lay_out(prepared, range(4), packing=False, max_seq_len=LENGTH, device=torch.device("cpu"))
    loss = mine.loss(batch.input_ids, batch.labels)[0].item()
    logits = other(batch.input_ids).logits.flatten(0, 1)
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, batch.labels.flatten()).item(), abs=1e-4)
    rows = [dict(zip(("input_ids", "completion_mask"), (ids.tolist(), mask.astype(int).tolist()), strict=True))
            for ids, mask in map(prepared.conversation, range(len(prepared)))]  # fmt: skip
    data = datasets.Dataset.from_list(rows)
    count = iter(range(9))

    def ours():
        config = FinetuneConfig(epochs=1, global_batch_size=8, packing=packing, learning_rate=1e-4, num_threads=1)
        out = tmp_path / f"ours-{next(count)}"
        model = Model.from_pretrained(base)
        return lambda: sft.train(out, model, prepared, None, config, max_seq_len=LENGTH, tokenizer_dir=base)

    def theirs():
        config = trl.SFTConfig(
            **settings(tmp_path / "trl", packing=packing, completion_only_loss=True, per_device_train_batch_size=4)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(base)
        return trl.SFTTrainer(peer(base), config, train_dataset=data, processing_class=tokenizer).train

    record(benchmark, ours, theirs)


@pytest.mark.parametrize("cached", [True, False])
def test_dpo(benchmark, base, development_data, tmp_path, cached, monkeypatch):
    path = tmp_path / "pairs.jsonl"
    with gzip.open(development_data / "post/hh-rlhf/harmless-base-test.jsonl.gz", "rt") as file:
        path.write_text("".join([line for line in file if 400 < len(line) < 2200][: 2 * PAIRS]))
    tokenizer = gristlm.Tokenizer.from_file(base)
    config = FinetuneConfig(
        method="dpo", epochs=1, global_batch_size=4, learning_rate=1e-5, num_threads=1, cache_reference=cached
    )
    rows = finetune.read(path, strict=False)
    answers = _answers(
        Chat(tokenizer, TEMPLATES["chatml"]), Rows(rows.examples[:PAIRS], rows.format, []), tokenizer, LENGTH, config
    )
    assert len(answers.units) == PAIRS or answers.prepared.skipped
    monkeypatch.setattr(trl.DPOTrainer, "_prepare_dataset", lambda self, dataset, *rest: dataset)  # the same ids
    data = datasets.Dataset.from_list([as_trl(answers, *unit) for unit in answers.units])
    other, count = noisy_copy(base, tmp_path / "other"), iter(range(9))
    judge = trl.DPOTrainer(
        peer(other), ref_model=peer(base), train_dataset=data, processing_class=tokenizer_of(base),
        args=trl.DPOConfig(**settings(tmp_path / "judge", per_device_train_batch_size=len(data), beta=0.1)),
    )  # fmt: skip
    with torch.no_grad():
        theirs_loss = judge.compute_loss(judge.model, next(iter(judge.get_train_dataloader()))).item()
    loss = dpo_loss(answers, config, other, base)
    print(f"\nloss on {len(data)} pairs: ours {loss:.6f}, TRL {theirs_loss:.6f}")
    assert loss == pytest.approx(theirs_loss, rel=1e-4)

    def ours():
        out, model = tmp_path / f"ours-{next(count)}", Model.from_pretrained(base)
        if cached:  # computed once, before the steps that are timed
            out.mkdir()
            preference._kept(out / "reference.safetensors", model, answers, config, LENGTH, "model")
        return lambda: preference.train(
            out, model, answers, None, config, max_seq_len=LENGTH, tokenizer_dir=base, model_digest="model"
        )

    def theirs():
        arguments = trl.DPOConfig(**settings(
            tmp_path / "trl", per_device_train_batch_size=4, precompute_ref_log_probs=cached, beta=0.1
        ))  # fmt: skip
        trainer = trl.DPOTrainer(
            peer(base), ref_model=None if cached else peer(base), args=arguments, train_dataset=data,
            processing_class=tokenizer_of(base),
        )  # fmt: skip
        return trainer.train

    record(benchmark, ours, theirs)


def test_reward_model(benchmark, base, development_data, tmp_path):
    """TRL pads each batch of pairs to its longest; both train every weight and the value head, with AdamW."""
    with gzip.open(development_data / "post/hh-rlhf/harmless-base-test.jsonl.gz", "rt") as file:
        chosen = [line for line in file if 400 < len(line) < 2200][:PAIRS]
    rows = tmp_path / "pairs.jsonl"
    rows.write_text("".join(chosen))
    examples = finetune.read(rows, strict=False).examples
    finetune.write(tmp_path / "preference.jsonl", examples, format="preference")
    pairs = read_pairs(tmp_path / "preference.jsonl")
    base = noisy_copy(base, tmp_path / "noisy")  # at the start an answer's reward is its last token's
    mine = RewardModel.from_checkpoint(base)
    encoded, dropped = reward_training._encoded(mine, pairs, LENGTH)
    data = datasets.Dataset.from_list([{"chosen_ids": list(a), "rejected_ids": list(b)} for a, b, _ in encoded])
    config = RewardConfig(
        epochs=1, global_batch_size=4, learning_rate=1e-5, num_threads=1, checkpoint_every=10_000, center_coef=0.0
    )

    def judge():
        return transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, dtype=torch.float32, attn_implementation="sdpa"
        )

    def trainer():
        return trl.RewardTrainer(
            judge(), train_dataset=data, processing_class=tokenizer_of(base),
            args=trl.RewardConfig(**settings(tmp_path / "trl", per_device_train_batch_size=4)),
        )  # fmt: skip

    peer = trainer()
    batch = next(iter(peer.get_train_dataloader()))
    with torch.no_grad():
        head = torch.empty(1, 256).normal_(0, 0.1, generator=torch.Generator().manual_seed(5))
        peer.model.score.weight.copy_(head)
        mine.value_head.weight.copy_(head)
        theirs_loss = peer.compute_loss(peer.model, batch).item()
    rows_of = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    half = len(rows_of) // 2
    loss, _ = reward_training._accumulate(
        mine, [(a, b, 0.0) for a, b in zip(rows_of[:half], rows_of[half:], strict=True)], config
    )
    print(f"\nloss on {half} pairs: ours {loss:.6f}, TRL {theirs_loss:.6f}; {dropped} pairs left out")
    assert loss == pytest.approx(theirs_loss, rel=1e-4)
    count = iter(range(9))

    def ours():
        out = tmp_path / f"reward-{next(count)}"
        out.mkdir()
        model = RewardModel.from_checkpoint(base)
        return lambda: reward_training._fit(model, pairs, config, {"checkpoint": base, "data": rows}, out, 1)

    record(benchmark, ours, lambda: trainer().train)


def test_packing_is_never_slower_than_padding(benchmark, base, prepared, tmp_path):
    seconds = {}
    for turn in range(2):
        for packing in (True, False):
            config = FinetuneConfig(epochs=1, global_batch_size=8, packing=packing, num_threads=1)
            model, out = Model.from_pretrained(base), tmp_path / f"{turn}-{packing}"
            took = cpu_seconds(
                lambda model=model, out=out, config=config: sft.train(
                    out, model, prepared, None, config, max_seq_len=LENGTH, tokenizer_dir=base
                )
            )
            seconds[packing] = min(took, seconds.get(packing, np.inf))
    benchmark.extra_info["ratio"] = seconds[False] / seconds[True]
    print(f"\npadding over packing: {seconds[False] / seconds[True]:.2f}")
    benchmark.pedantic(lambda: None)
