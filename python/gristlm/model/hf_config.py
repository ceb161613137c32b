"""`config.json` of the Hugging Face layout, to and from `ModelConfig`.

Read: Llama, Mistral, Qwen2, Qwen3 and Qwen3-MoE. Written: Qwen3-MoE when the model has experts, Qwen3 when it has
QK-norm, Qwen2 when it has projection biases, Mistral when all layers have a window, else Llama. A key that would change
the computation and that we do not compute is refused by name, never ignored. A shape that no other library computes is
written under a `model_type` of our own, which only we read.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from gristlm.errors import ConfigError, FormatError
from gristlm.model.config import ModelConfig, RopeScaling

OWN = "gristlm"
"""The `model_type` of shapes that no other library computes; the whole `ModelConfig` is under the key of that name."""
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}


def to_hf(config: ModelConfig) -> dict[str, object]:
    """Returns the content of `config.json` for a model of this shape."""
    if config.not_exportable:
        return {"model_type": OWN, "architectures": ["GristlmModel"], OWN: config.model_dump(mode="json")}
    kind = _kind(config)
    eos = list(config.eos_token_ids)
    body: dict[str, object] = {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.d_model,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.max_seq_len,
        "rope_theta": config.rope_theta,
        "rope_scaling": _rope_scaling_to_hf(config.rope_scaling),
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "eos_token_id": eos[0] if len(eos) == 1 else eos or None,
        "bos_token_id": config.bos_token_id,
        "pad_token_id": config.pad_token_id,
        "hidden_act": "silu",
        "attention_bias": config.qkv_bias,
        "attention_dropout": 0.0,
        "torch_dtype": "float32",
    }
    if kind == "llama":
        body["mlp_bias"] = False
    if kind == "qwen2":
        del body["attention_bias"]  # a Qwen2 always has it
    if kind == "mistral":
        del body["attention_bias"]
        body["sliding_window"] = config.sliding_window
    if kind.startswith("qwen"):
        body |= _qwen_windows(config)
    if kind == "qwen3_moe":
        body |= {
            "num_experts": config.num_experts,
            "num_experts_per_tok": config.num_experts_per_token,
            "moe_intermediate_size": config.expert_d_ff,
            "norm_topk_prob": config.norm_expert_weights,
            "router_aux_loss_coef": config.balance_coef,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    return body


def _kind(config: ModelConfig) -> str:
    if config.num_experts:
        return "qwen3_moe"
    if config.qk_norm:
        return "qwen3"
    if config.qkv_bias:
        return "qwen2"
    if config.sliding_window is None:
        return "llama"
    if config.window_from_layer:
        raise ConfigError(
            f"window_from_layer is {config.window_from_layer}, which is a Qwen shape; "
            "set it to 0 (Mistral) or turn qk_norm on (Qwen3)"
        )
    return "mistral"


def _qwen_windows(config: ModelConfig) -> dict[str, object]:
    if config.sliding_window is None:
        return {"use_sliding_window": False}
    kinds = ["full_attention" if config.window(i) is None else "sliding_attention" for i in range(config.num_layers)]
    return {
        "use_sliding_window": True,
        "sliding_window": config.sliding_window,
        "max_window_layers": min(config.window_from_layer, config.num_layers),
        "layer_types": kinds,
    }


def from_hf(body: Mapping[str, object]) -> ModelConfig:
    """Returns the shape that a `config.json` describes.

    Raises:
        FormatError: a key is missing, impossible, or asks for something that `Model` does not compute; names the key.
    """
    kind = body.get("model_type")
    if kind == OWN:
        return _validated(body.get(OWN))
    if kind not in ARCHITECTURES:
        raise FormatError(f"config.json: model_type is {kind!r}; gristlm reads {', '.join((*ARCHITECTURES, OWN))}")
    _refuse(body, "hidden_act", allowed=("silu", None))
    _refuse(body, "mlp_bias", allowed=(False, None))
    _refuse(body, "attention_bias", allowed=(False, None) if kind != "qwen2" else (True, False, None))
    _refuse(body, "quantization_config", allowed=(None,))
    heads = body.get("num_attention_heads")
    eos = body.get("eos_token_id")
    theta, scaling = _rope(body)
    fields: dict[str, object] = {
        "vocab_size": body.get("vocab_size"),
        "num_layers": body.get("num_hidden_layers"),
        "d_model": body.get("hidden_size"),
        "num_heads": heads,
        "num_kv_heads": body.get("num_key_value_heads") or heads,
        "head_dim": body.get("head_dim"),
        "d_ff": body.get("intermediate_size"),
        "max_seq_len": body.get("max_position_embeddings"),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "norm_eps": body.get("rms_norm_eps"),
        "qk_norm": kind in ("qwen3", "qwen3_moe"),
        "qkv_bias": kind == "qwen2",
        "tie_embeddings": body.get("tie_word_embeddings", False),
        "eos_token_ids": eos if isinstance(eos, list) else [] if eos is None else [eos],
        "bos_token_id": body.get("bos_token_id"),
        "pad_token_id": _pad(body.get("pad_token_id")),
        **_windows(body, str(kind)),
        **(_experts(body) if kind == "qwen3_moe" else {}),
    }
    for name, key in (
        ("vocab_size", "vocab_size"),
        ("num_layers", "num_hidden_layers"),
        ("d_model", "hidden_size"),
        ("num_heads", "num_attention_heads"),
    ):
        if fields[name] is None:
            raise FormatError(f"config.json: {key} is missing")
    return _validated(fields)


def _validated(fields: object) -> ModelConfig:
    try:
        return ModelConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise FormatError(f"config.json: {name}: {first['msg']} (given: {first.get('input')!r})") from error


def _windows(body: Mapping[str, object], kind: str) -> dict[str, object]:
    """Reads sliding windows: Mistral's of all layers, Qwen's of those from `max_window_layers` on."""
    window, layers, types = body.get("sliding_window"), body.get("num_hidden_layers"), body.get("layer_types")
    if kind.startswith("qwen") and not body.get("use_sliding_window"):
        window = None
    if kind == "llama" or window is None or not isinstance(layers, int):
        _refuse_windows(types, kind, 0 if not isinstance(layers, int) else layers)
        return {}
    first = 0 if kind == "mistral" else body.get("max_window_layers", 0)
    if isinstance(types, list):
        first = next((i for i, name in enumerate(types) if name == "sliding_attention"), layers)
        _refuse_windows(types[:first] if kind != "mistral" else types, kind, first)
        if set(types[first:]) - {"sliding_attention"}:
            raise FormatError("config.json: layer_types mixes windows in an order that gristlm does not compute")
    return {} if first == layers else {"sliding_window": window, "window_from_layer": first}


def _refuse_windows(types: object, kind: str, layers: int) -> None:
    if isinstance(types, list) and kind != "mistral" and set(types[:layers]) - {"full_attention"}:
        raise FormatError(f"config.json: layer_types has {sorted(set(map(str, types)))} without a sliding_window")


def _experts(body: Mapping[str, object]) -> dict[str, object]:
    if body.get("decoder_sparse_step", 1) != 1 or body.get("mlp_only_layers"):
        raise FormatError(
            "config.json: decoder_sparse_step or mlp_only_layers mixes dense blocks in; gristlm computes experts in "
            "every block"
        )
    return {
        "num_experts": body.get("num_experts", body.get("num_local_experts")),
        "num_experts_per_token": body.get("num_experts_per_tok"),
        "expert_d_ff": body.get("moe_intermediate_size"),
        "norm_expert_weights": body.get("norm_topk_prob"),
        "balance_coef": body.get("router_aux_loss_coef"),
    }


def _pad(value: object) -> object:
    return None if value == -1 else value


def _refuse(body: Mapping[str, object], key: str, *, allowed: tuple[object, ...]) -> None:
    if body.get(key) not in allowed:
        raise FormatError(
            f"config.json: {key} is {body[key]!r}, which gristlm's model does not compute; allowed: {allowed}"
        )


def _rope(body: Mapping[str, object]) -> tuple[object, RopeScaling | None]:
    """Reads both spellings: `rope_theta` + `rope_scaling` (transformers 4) and `rope_parameters` (transformers 5)."""
    parameters = body.get("rope_parameters") or body.get("rope_scaling") or {}
    if not isinstance(parameters, Mapping):
        raise FormatError(f"config.json: rope_parameters is {parameters!r}, not an object")
    theta = parameters.get("rope_theta", body.get("rope_theta"))
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind not in ("linear", "llama3"):
        raise FormatError(f"config.json: rope_type is {kind!r}; gristlm computes default, linear and llama3")
    fields = {"kind": kind, "factor": parameters.get("factor")}
    if kind == "llama3":
        fields["low_freq_factor"] = parameters.get("low_freq_factor")
        fields["high_freq_factor"] = parameters.get("high_freq_factor")
        fields["original_max_seq_len"] = parameters.get("original_max_position_embeddings")
    try:
        return theta, RopeScaling.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        given = f"{first['loc'][0]} is {first.get('input')!r}"
        raise FormatError(f"config.json: rope scaling of type {kind!r} is incomplete: {given}") from error


def _rope_scaling_to_hf(scaling: RopeScaling | None) -> dict[str, object] | None:
    if scaling is None:
        return None
    body: dict[str, object] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "llama3":
        body["low_freq_factor"] = scaling.low_freq_factor
        body["high_freq_factor"] = scaling.high_freq_factor
        body["original_max_position_embeddings"] = scaling.original_max_seq_len
    return body
