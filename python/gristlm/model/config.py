"""The shape of a decoder-only transformer, as a pydantic model that needs no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RopeScaling(BaseModel):
    """How rotary frequencies change for contexts longer than the trained one (Llama 3.1, linear interpolation)."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    kind: Literal["linear", "llama3"]
    """`linear` divides every frequency by `factor`; `llama3` leaves the high ones alone and blends in between."""
    factor: float = Field(gt=0)
    """What low frequencies are divided by."""
    low_freq_factor: float = Field(default=1.0, gt=0)
    """`llama3` only: wavelengths above original_max_seq_len / low_freq_factor are scaled fully."""
    high_freq_factor: float = Field(default=4.0, gt=0)
    """`llama3` only: wavelengths below original_max_seq_len / high_freq_factor are not scaled."""
    original_max_seq_len: int = Field(default=8192, ge=1)
    """`llama3` only: the context the model was first trained with, in tokens."""


class ModelConfig(BaseModel):
    """The shape of a Llama/Qwen3-shaped decoder: RMSNorm, RoPE, grouped-query attention, SwiGLU."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    vocab_size: int | None = Field(default=None, ge=2, le=2**24)
    """Rows of the embedding table; none (in a recipe) means the tokenizer's."""
    num_layers: int = Field(default=4, ge=1, le=512)
    """Transformer blocks."""
    d_model: int = Field(default=256, ge=8, le=65_536)
    """Width of the residual stream."""
    num_heads: int = Field(default=4, ge=1, le=1024)
    """Query heads."""
    num_kv_heads: int = Field(default_factory=lambda data: data.get("num_heads", 1), ge=1, le=1024)
    """Key and value heads, a divisor of num_heads (GQA, arXiv 2305.13245); default: num_heads."""
    head_dim: int = Field(
        default_factory=lambda data: max(2, data.get("d_model", 8) // data.get("num_heads", 1)), ge=2, le=1024
    )
    """Width of one head, even; default: d_model / num_heads."""
    d_ff: int = Field(default_factory=lambda data: 64 * -(-data.get("d_model", 8) * 8 // (3 * 64)), ge=1, le=2**20)
    """Width inside the SwiGLU block (arXiv 2002.05202); default: 8/3 of d_model, rounded up to a multiple of 64."""
    max_seq_len: int = Field(default=512, ge=1, le=2**24)
    """The longest context, in tokens."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary frequencies (arXiv 2104.09864)."""
    rope_scaling: RopeScaling | None = None
    """Change of the rotary frequencies for long contexts."""
    norm_eps: float = Field(default=1e-6, gt=0, lt=1)
    """Added to the mean square in RMSNorm."""
    qk_norm: bool = True
    """RMSNorm on each query and key head (Qwen3)."""
    qkv_bias: bool = False
    """Bias on the query, key and value projections (Qwen2)."""
    tie_embeddings: bool = True
    """The output head is the embedding table."""
    sliding_window: int | None = Field(default=None, ge=1, le=2**24)
    """Each position attends to so many, itself among them (Mistral, arXiv 2310.06825); none: to all before it."""
    window_from_layer: int = Field(default=0, ge=0, le=512)
    """The first layer that `sliding_window` holds for; those below see everything (Qwen2's max_window_layers)."""
    num_experts: int = Field(default=0, ge=0, le=4096)
    """Feed-forward experts per block, of which each token takes some (Qwen3-MoE); 0: one dense block."""
    num_experts_per_token: int = Field(default=2, ge=1, le=256)
    """Experts that each token takes."""
    expert_d_ff: int = Field(default_factory=lambda data: data.get("d_ff", 64), ge=1, le=2**20)
    """Width inside one expert; default: d_ff."""
    norm_expert_weights: bool = True
    """The weights of a token's experts add up to 1 (Qwen3-MoE's norm_topk_prob)."""
    balance_coef: float = Field(default=1e-3, ge=0, lt=1)
    """Weight of the loss that keeps experts equally busy (Switch Transformer, arXiv 2101.03961, section 2.2)."""
    activation: Literal["swiglu", "relu2"] = "swiglu"
    """Inside the feed-forward block: SwiGLU, or squared ReLU without a gate (arXiv 2109.08668). Only the first is a
    shape that other libraries load."""
    logit_softcap: float | None = Field(default=None, gt=0)
    """Logits are bent to stay within this, c * tanh(logits / c) (Gemma 2, arXiv 2408.00118); not exportable."""
    value_embeddings: bool = False
    """Each layer adds an embedding of the token to its values (modded-nanogpt, after arXiv 2410.17897); not
    exportable."""
    smear: bool = False
    """Each embedding takes in a learned share of the one before it (modded-nanogpt); not exportable."""
    eos_token_ids: tuple[int, ...] = ()
    """Tokens that end a generation; in a recipe: taken from the tokenizer when empty."""
    bos_token_id: int | None = Field(default=None, ge=0)
    """Token that a text begins with, if the tokenizer has one."""
    pad_token_id: int | None = Field(default=None, ge=0)
    """Token that fills unused positions, if the tokenizer has one."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nones(cls, data: Any) -> Any:
        """A None asks for the default."""
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data

    @property
    def not_exportable(self) -> tuple[str, ...]:
        """The settings, as they are, that no other library computes; empty for a Llama, Qwen or Mistral shape."""
        found = {
            "activation = 'relu2'": self.activation == "relu2",
            "logit_softcap": self.logit_softcap is not None,
            "value_embeddings": self.value_embeddings,
            "smear": self.smear,
        }
        return tuple(name for name, used in found.items() if used)

    def window(self, layer: int) -> int | None:
        """Returns how many positions `layer` attends to, itself among them; None: to all before it."""
        return self.sliding_window if layer >= self.window_from_layer else None

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if self.head_dim % 2:
            raise ValueError(
                f"head_dim {self.head_dim} is odd, but rotary embeddings turn pairs; "
                "set head_dim, or d_model to a multiple of 2 x num_heads"
            )
        if self.qk_norm and self.qkv_bias:
            raise ValueError(
                "qk_norm and qkv_bias together are no published shape (Qwen3 has the first, Qwen2 the second); "
                "turn one off"
            )
        if self.num_experts and self.num_experts_per_token > self.num_experts:
            raise ValueError(
                f"num_experts_per_token is {self.num_experts_per_token}, but num_experts is {self.num_experts}"
            )
        if self.num_experts and (self.activation != "swiglu" or not self.qk_norm):
            raise ValueError("a model of experts is Qwen3-shaped: activation = 'swiglu' and qk_norm = true")
        special = [*self.eos_token_ids, *(i for i in (self.bos_token_id, self.pad_token_id) if i is not None)]
        if self.vocab_size is not None and any(not 0 <= i < self.vocab_size for i in special):
            raise ValueError(f"a special token id in {special} is outside the vocabulary of {self.vocab_size}")
        return self

    def num_parameters(self, *, active: bool = False) -> int:
        """Returns the number of weights of `Model(self)`, the tied head counted once; vocab_size must be set.

        Args:
            active: of the experts, count only those that one token takes.
        """
        vocab = self.vocab_size or 0
        q, kv = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = (
            self.d_model * (2 * q + 2 * kv)
            + (q + 2 * kv if self.qkv_bias else 0)
            + (2 * self.head_dim if self.qk_norm else 0)
            + (vocab * kv if self.value_embeddings and not active else 0)
        )
        if self.num_experts:
            experts = self.num_experts_per_token if active else self.num_experts
            feed_forward = self.d_model * self.num_experts + 3 * self.d_model * self.expert_d_ff * experts
        else:
            feed_forward = (2 if self.activation == "relu2" else 3) * self.d_model * self.d_ff
        block = attention + feed_forward + 2 * self.d_model
        smear = self.d_model if self.smear else 0
        return vocab * self.d_model * (1 if self.tie_embeddings else 2) + self.num_layers * block + self.d_model + smear

    def to_hf(self) -> dict[str, object]:
        """Returns the `config.json` that transformers and vLLM read; see `gristlm.model.hf_config`."""
        from gristlm.model.hf_config import to_hf

        return to_hf(self)

    @classmethod
    def from_hf(cls, config: dict[str, object]) -> ModelConfig:
        """Returns the shape that a `config.json` describes; see `gristlm.model.hf_config`."""
        from gristlm.model.hf_config import from_hf

        return from_hf(config)
