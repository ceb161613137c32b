"""The settings of `[finetune]` and `[preference]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from gristlm.runs.config import StageConfig

Method = Literal["sft", "dpo", "ipo", "hinge", "robust", "simpo", "orpo", "cpo", "kto"]
REFERENCE_FREE = ("simpo", "orpo", "cpo")
"""The methods that have no reference model."""
PER_TOKEN = ("simpo", "orpo")
"""The methods whose papers define them on mean log-probabilities per token."""


class FinetuneConfig(StageConfig):
    """Supervised fine-tuning on conversations, or training on preferences."""

    method: Method = "sft"
    """`sft` learns the assistant's answers of conversations; the others are the losses of `gristlm.finetune.losses`."""
    epochs: float = Field(default=1.0, gt=0, le=10_000)
    """Passes over the data; a fraction is allowed."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many steps, if epochs would take more."""
    global_batch_size: int = Field(default=32, ge=1)
    """Conversations (pairs, for preferences) per step, packed or not; at most the whole data."""
    micro_batch_size: int | None = Field(default=None, ge=1)
    """Conversations (or pairs) computed at once; none fills `micro_batch_tokens`. It changes the result by rounding
    only."""
    micro_batch_tokens: int = Field(default=4096, ge=1)
    """Tokens computed at once where micro_batch_size is not set."""
    max_seq_len: int | None = Field(default=None, ge=2)
    """The longest conversation, in tokens; none means the model's."""
    packing: bool = True
    """Compute conversations side by side without padding; attention stays within each, so the result is the same."""
    learning_rate: float = Field(
        default_factory=lambda data: 1e-4 if data.get("method", "sft") == "sft" else 1e-5, gt=0
    )
    """Peak learning rate of AdamW; default 1e-4 for sft, 1e-5 for preferences (ours, for small models)."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    final_fraction: float = Field(default=0.1, ge=0, le=1)
    """The last learning rate, as a share of the peak."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Steps of linear warm-up; none means warmup_ratio of all steps."""
    warmup_ratio: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps that warm up, where warmup_steps is not set."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decoupled weight decay, of matrices only."""
    grad_clip: float = Field(default=1.0, gt=0)
    """The gradient's norm is scaled down to this."""
    beta: float = Field(default_factory=lambda data: 2.0 if data.get("method") == "simpo" else 0.1, gt=0)
    """Strength of the preference loss, see each in `gristlm.finetune.losses`; default 0.1, for simpo 2."""
    label_smoothing: float | None = Field(default=None, ge=0, lt=0.5)
    """dpo, robust, simpo, cpo: share of pairs whose label is taken to be wrong; none means the loss's own default."""
    gamma: float = Field(default=1.0, ge=0)
    """simpo: the target reward margin."""
    alpha: float = Field(default=1.0, ge=0)
    """cpo: weight of the chosen answer's log-likelihood."""
    desirable_weight: float = Field(default=1.0, ge=0)
    """kto: weight of good answers."""
    undesirable_weight: float = Field(default=1.0, ge=0)
    """kto: weight of bad answers."""
    length_normalised: bool = False
    """dpo, ipo, hinge, robust, cpo: divide log-probabilities by the answer's tokens (simpo and orpo do, kto never)."""
    neftune_alpha: float = Field(default=0.0, ge=0)
    """sft: strength of the noise on embeddings (arXiv 2310.05914 has 5 to 15); 0 is none."""
    lora_rank: int | None = Field(default=None, ge=1)
    """Train adapters of this rank and nothing else (arXiv 2106.09685); none trains every weight."""
    lora_alpha: float | None = Field(default=None, gt=0)
    """Adapters count lora_alpha / lora_rank; none is 2 x lora_rank."""
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """The projections that get adapters."""
    cache_reference: bool = True
    """Compute the reference's log-probabilities once, keep them on disk; else keep the reference model in memory."""
    template: str | None = None
    """chatml, llama3, qwen3, mistral or a Jinja text; none: the checkpoint's, else the one of its special tokens."""
    format: str | None = None
    """The data's format (`gristlm.chat_formats`); none detects it."""
    strict: bool = False
    """Stop at the first row that cannot be trained on; otherwise name such rows, leave them out and count them."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between measurements on the held-out data; none measures before and after only."""
    max_heldout: int = Field(default=1000, ge=1)
    """Held-out conversations (or pairs) to measure on, the first ones of the file."""
    num_samples: int = Field(default=16, ge=0)
    """Held-out prompts answered greedily at each measurement, kept in samples.jsonl; their length is reported."""
    max_sample_tokens: int = Field(default=128, ge=1)
    """The longest of these answers, in tokens."""
    questions: Path | None = None
    """A JSONL file of cloze and multiple-choice rows, answered at each measurement; see gristlm.training.questions."""
    pretrain_tokens: int = Field(default=32_768, ge=2)
    """Tokens of pretraining's held-out documents to measure bits per byte on, where `tokens` are given."""
    checkpoint_every: int = Field(default=200, ge=1)
    """Steps between checkpoints."""
    keep_last: int = Field(default=2, ge=1)
    """Checkpoints to keep."""
