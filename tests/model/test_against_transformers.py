"""Logits equal those of transformers, for our checkpoints in theirs and for theirs in ours."""

from pathlib import Path

import pytest
import torch
from tiny_models import random_ids, tiny_model

from gristlm.errors import FormatError
from gristlm.model import Model, RopeScaling

transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()


def difference(ours: Model, theirs: torch.nn.Module, length: int = 60) -> float:
    ids = random_ids(3, length)
    with torch.no_grad():
        return float((ours(ids) - theirs(ids).logits).abs().max())


@pytest.mark.parametrize(
    ("fields", "architecture"),
    [
        ({"qk_norm": False}, "LlamaForCausalLM"),
        ({"qk_norm": False, "num_kv_heads": 2, "tie_embeddings": False, "head_dim": 32}, "LlamaForCausalLM"),
        ({"qk_norm": True, "num_kv_heads": 1}, "Qwen3ForCausalLM"),
        ({"qk_norm": True, "num_kv_heads": 2, "tie_embeddings": False, "head_dim": 8}, "Qwen3ForCausalLM"),
        ({"qk_norm": False, "qkv_bias": True, "num_kv_heads": 2}, "Qwen2ForCausalLM"),
        (
            {"qk_norm": False, "rope_scaling": RopeScaling(kind="llama3", factor=8.0, original_max_seq_len=32)},
            "LlamaForCausalLM",
        ),
        ({"qk_norm": False, "rope_scaling": RopeScaling(kind="linear", factor=4.0)}, "LlamaForCausalLM"),
        ({"qk_norm": False, "sliding_window": 16, "num_kv_heads": 2}, "MistralForCausalLM"),
        ({"qk_norm": True, "sliding_window": 16, "window_from_layer": 1}, "Qwen3ForCausalLM"),
        ({"num_experts": 4, "num_experts_per_token": 2, "expert_d_ff": 32, "head_dim": 16}, "Qwen3MoeForCausalLM"),
    ],
)
def test_transformers_reads_ours(tmp_path: Path, fields: dict[str, object], architecture: str) -> None:
    model = tiny_model(**fields)
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == architecture
    assert theirs.dtype == torch.float32
    assert difference(model, theirs) <= 1e-4
    again = Model.from_pretrained(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


SIZES = {
    "vocab_size": 97,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 500000.0,
}


def reference(kind: str, **fields: object) -> torch.nn.Module:
    config = getattr(transformers, f"{kind}Config")(**SIZES, **fields)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
        ("Llama", {"tie_word_embeddings": False}),
        ("Qwen2", {}),
        ("Qwen3", {"head_dim": 32}),
        ("Mistral", {"sliding_window": None}),
        ("Mistral", {"sliding_window": 16}),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
        ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True}),
    ],
)
@pytest.mark.parametrize("shard_size", ["5GB", "40KB"])
def test_we_read_transformers(tmp_path: Path, kind: str, fields: dict[str, object], shard_size: str) -> None:
    theirs = reference(kind, **fields)
    theirs.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard_size == "40KB")
    ours = Model.from_pretrained(tmp_path)
    assert difference(ours, theirs) <= 1e-4
    assert ours.config.max_seq_len == 128
    ours.save_pretrained(tmp_path / "again", max_shard_bytes=40_000 if shard_size == "40KB" else None)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert type(again) is type(theirs) or fields == {"sliding_window": None}
    assert difference(ours, again) <= 1e-4


def test_an_uncomputed_architecture_is_refused(tmp_path: Path) -> None:
    reference("Llama", attention_bias=True).save_pretrained(tmp_path)
    with pytest.raises(FormatError, match="attention_bias"):
        Model.from_pretrained(tmp_path)
