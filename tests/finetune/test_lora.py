import json

import pytest

torch = pytest.importorskip("torch")

from gristlm.errors import FormatError, InputError, MissingArtifactError  # noqa: E402
from gristlm.finetune import FinetuneConfig, lora, run  # noqa: E402
from gristlm.model import Model, ModelConfig  # noqa: E402

IDS = torch.arange(20)[None]


def fresh(num_layers=2, d_model=32):
    shape = ModelConfig(vocab_size=60, num_layers=num_layers, d_model=d_model, num_heads=2, max_seq_len=32)
    model = Model(shape, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty(parameter.shape).normal_(0, 0.05, generator=generator))
    return model


def trained(model, **options):
    adapters = lora.inject(model, rank=4, **options)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        model.loss(IDS[:, :-1], IDS[:, 1:])[0].backward()
        optimizer.step()
    return adapters


def test_fresh_adapters_change_nothing_and_only_they_are_trained():
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = model(IDS).detach()
    adapters = trained(model)
    assert not torch.equal(model(IDS), expected)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert adapters.num_parameters() == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_merging_gives_the_same_model_and_lending_it_leaves_no_trace(tmp_path):
    model = fresh()
    adapters = trained(model)
    expected = model(IDS).detach()
    adapters.save_pretrained(tmp_path / "merged")
    assert torch.equal(model(IDS), expected)
    torch.testing.assert_close(Model.from_pretrained(tmp_path / "merged")(IDS), expected, atol=1e-5, rtol=1e-5)
    again = fresh()
    lora.load(again, tmp_path / "merged/adapter")
    assert torch.equal(again(IDS), expected)
    torch.testing.assert_close(adapters.merge()(IDS), expected, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, lora.LoraLinear) for module in model.modules())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rslora", [False, True])
def test_peft_reads_the_adapters_and_computes_the_same(tmp_path, rslora):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    model = fresh()
    model.save_pretrained(tmp_path / "base")
    adapters = trained(model, rslora=rslora, targets=("q_proj", "down_proj"))
    adapters.save(tmp_path / "adapter")
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    other = peft.PeftModel.from_pretrained(other, tmp_path / "adapter")
    torch.testing.assert_close(other(IDS).logits, model(IDS), atol=1e-5, rtol=1e-5)
    other.save_pretrained(tmp_path / "by_peft")
    again = fresh()
    lora.load(again, tmp_path / "by_peft")
    torch.testing.assert_close(again(IDS), model(IDS), atol=1e-6, rtol=1e-6)


def test_adapters_of_another_shape_are_refused(tmp_path):
    trained(fresh()).save(tmp_path)
    with pytest.raises(InputError, match=r"for another shape: .*q_proj|for another shape"):
        lora.load(fresh(d_model=64), tmp_path)
    with pytest.raises(InputError, match=r"for another model: it adapts 'layers\.1"):
        lora.load(fresh(num_layers=1), tmp_path)
    with pytest.raises(MissingArtifactError, match=r"no adapter_config\.json"):
        lora.load(fresh(), tmp_path / "none")
    body = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(body | {"use_dora": True}))
    with pytest.raises(FormatError, match="use_dora"):
        lora.load(fresh(), tmp_path)


@pytest.mark.parametrize(
    ("options", "says"), [({"rank": 0}, "rank"), ({"rank": 99}, "rank"), ({"rank": 2, "targets": ("x",)}, "unknown")]
)
def test_impossible_adapters_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        lora.inject(fresh(), **options)


@pytest.mark.parametrize(("method", "name"), [("sft", "sft"), ("dpo", "pairs")])
def test_the_stage_trains_adapters(checkpoint, data, tmp_path, method, name):
    inputs = {"checkpoint": checkpoint, "data": data / f"{name}.jsonl", "heldout_data": data / f"{name}_heldout.jsonl"}
    config = FinetuneConfig(
        method=method, lora_rank=4, learning_rate=1e-2, epochs=2, global_batch_size=8, num_threads=1,
        checkpoint_every=5, num_samples=2, max_sample_tokens=4,
    )  # fmt: skip
    counts = run(config, inputs, tmp_path / "out").counts
    assert counts["heldout_loss_after"] < counts["heldout_loss_before"]
    assert (tmp_path / "out/final/adapter/adapter_model.safetensors").is_file()
    samples = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [row["step"] for row in samples] == [0, 0, 10, 10]
    before, after = Model.from_pretrained(checkpoint), Model.from_pretrained(tmp_path / "out/final")
    assert torch.equal(before.embed_tokens.weight, after.embed_tokens.weight)
    assert not torch.equal(before.layers[0].self_attn.q_proj.weight, after.layers[0].self_attn.q_proj.weight)


def test_noise_on_embeddings_is_the_same_packed_and_padded(checkpoint, data, tmp_path):
    inputs = {"checkpoint": checkpoint, "data": data / "sft.jsonl"}
    losses = {}
    for packing in (False, True):
        for alpha in (0.0, 10.0):
            config = FinetuneConfig(
                neftune_alpha=alpha, packing=packing, max_steps=3, learning_rate=1e-2, num_threads=1
            )
            out = tmp_path / f"{packing}-{alpha}"
            run(config, inputs, out)
            losses[packing, alpha] = [
                json.loads(line).get("loss") for line in (out / "metrics.jsonl").read_text().splitlines()
            ][1:]
    assert losses[True, 10.0] == pytest.approx(losses[False, 10.0], rel=1e-4)
    assert losses[True, 10.0] != pytest.approx(losses[True, 0.0], rel=1e-4)
