"""GGUF, the one-file format of llama.cpp: written from a checkpoint directory, never read.

Llama and Mistral shapes are written as `llama`, whose query and key rows llama.cpp wants with rotary pairs next to each
other; the Qwen shapes as `qwen2`, `qwen3` and `qwen3moe`. llama.cpp computes no sliding window for these, so the
context is cut to the window, within which both are the same.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gristlm.errors import FormatError, InputError, MissingArtifactError, missing_extra
from gristlm.model.config import ModelConfig
from gristlm.model.transformer import Model

Type = Literal["f32", "f16"]
NORMAL, CONTROL = 1, 3
BLOCK_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
}


def export(checkpoint: Path, output: Path, *, dtype: Type = "f16") -> None:
    """Writes the model and tokenizer of a checkpoint directory as one GGUF file, whole or not at all.

    Args:
        checkpoint: a directory with `config.json`, safetensors and `tokenizer.json`.
        output: the file.
        dtype: of the matrices; vectors are always float32.

    Raises:
        InputError: the shape is one that llama.cpp does not compute; names the settings.
        MissingArtifactError: there is no tokenizer.
        FormatError: the tokenizer is of a kind that llama.cpp does not read.
    """
    try:
        import gguf
    except ImportError:
        raise missing_extra("gguf", "train") from None
    model = Model.from_pretrained(checkpoint)
    config = model.config
    if config.not_exportable:
        raise InputError(
            f"{checkpoint} cannot become GGUF: llama.cpp does not compute {', '.join(config.not_exportable)}"
        )
    tokenizer = _tokenizer(checkpoint)
    architecture = _architecture(config)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.tmp")
    writer: Any = gguf.GGUFWriter(temporary, architecture)
    _write_shape(writer, config)
    _write_tokenizer(writer, config, tokenizer)
    for name, tensor in _tensors(model, permuted=architecture == "llama").items():
        narrow = dtype == "f16" and tensor.ndim > 1 and "ffn_gate_inp" not in name
        writer.add_tensor(name, tensor.to(torch.float16 if narrow else torch.float32).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(output)


def _architecture(config: ModelConfig) -> str:
    if config.num_experts:
        return "qwen3moe"
    return "qwen3" if config.qk_norm else "qwen2" if config.qkv_bias else "llama"


def _write_shape(writer: Any, config: ModelConfig) -> None:
    longest = min(config.max_seq_len, config.sliding_window or config.max_seq_len)
    writer.add_context_length(longest)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(0)
    if config.rope_scaling is not None and config.rope_scaling.kind == "linear":
        import gguf

        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)
    if config.num_experts:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_token)
        writer.add_expert_feed_forward_length(config.expert_d_ff)


def _tensors(model: Model, *, permuted: bool) -> dict[str, Tensor]:
    config, out = model.config, dict[str, Tensor]()
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach()
        if name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            part, _, kind = rest.rpartition(".")
            if part == "mlp" and kind == "gate_up":
                gate, up = tensor.chunk(2, 1)
                out[f"blk.{layer}.ffn_gate_exps.weight"], out[f"blk.{layer}.ffn_up_exps.weight"] = gate, up
                continue
            if part == "mlp" and kind == "down":
                out[f"blk.{layer}.ffn_down_exps.weight"] = tensor
                continue
            if permuted and part.endswith(("q_proj", "k_proj")):
                heads = config.num_heads if part.endswith("q_proj") else config.num_kv_heads
                tensor = tensor.view(heads, 2, config.head_dim // 2, -1).transpose(1, 2).reshape(tensor.shape)
            out[f"blk.{layer}.{BLOCK_NAMES[part]}.{kind}"] = tensor
        else:
            names = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
            out[names.get(name, "output.weight")] = tensor
    scaling = config.rope_scaling
    if scaling is not None and scaling.kind == "llama3":
        from gristlm.model.rope import inverse_frequencies

        cpu = torch.device("cpu")
        plain = inverse_frequencies(config.head_dim, config.rope_theta, None, cpu)
        out["rope_freqs.weight"] = plain / inverse_frequencies(config.head_dim, config.rope_theta, scaling, cpu)
    return out


def _tokenizer(checkpoint: Path) -> dict[str, Any]:
    file = checkpoint / "tokenizer.json"
    if not file.is_file():
        raise MissingArtifactError(f"{file} is missing; a GGUF file carries its tokenizer")
    body = json.loads(file.read_bytes())
    if not isinstance(body, dict) or body.get("model", {}).get("type") != "BPE" or not body["model"].get("merges"):
        raise FormatError(f"{file}: llama.cpp needs a byte-level BPE tokenizer with merges")
    return body


def _write_tokenizer(writer: Any, config: ModelConfig, body: dict[str, Any]) -> None:
    size = config.vocab_size or 0
    tokens = [f"[unused{number}]" for number in range(size)]
    kinds = [CONTROL] * size
    for token, number in body["model"]["vocab"].items():
        tokens[number], kinds[number] = token, NORMAL
    for added in body.get("added_tokens", ()):
        tokens[added["id"]], kinds[added["id"]] = added["content"], CONTROL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in body["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pretokenizer(json.dumps(body.get("pre_tokenizer"))))
    writer.add_token_list(tokens)
    writer.add_token_types(np.array(kinds, np.int32).tolist())
    writer.add_token_merges(merges)
    if config.eos_token_ids:
        writer.add_eos_token_id(config.eos_token_ids[0])
    if config.bos_token_id is not None:
        writer.add_bos_token_id(config.bos_token_id)
    if config.pad_token_id is not None:
        writer.add_pad_token_id(config.pad_token_id)
    writer.add_add_bos_token(False)


def _pretokenizer(described: str) -> str:
    """Returns llama.cpp's name of the split pattern that a `pre_tokenizer` describes."""
    if "Lu}" in described:
        return "gpt-4o"
    if "{1,3}" in described:
        return "dbrx"  # cl100k's pattern without Llama 3's preference for whole words
    return "qwen2" if "(?i:" in described else "gpt-2"
