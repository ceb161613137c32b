"""The `[pretrain]` table of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gristlm.model.config import ModelConfig
from gristlm.runs.config import StageConfig

OWN = "tokens"
"""What a mixture calls the run's own tokens."""
Share = Annotated[float, Field(gt=0)] | tuple[tuple[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=0)]], ...]


class PretrainConfig(StageConfig):
    """Next-token prediction on packed documents."""

    model: ModelConfig = ModelConfig()
    """The network; without vocab_size and eos_token_ids they are the tokenizer's."""
    steps: int = Field(default=700, ge=1, le=10**9)
    """Optimizer steps."""
    global_batch_size: int = Field(default=8, ge=1, le=10**6)
    """Rows per step."""
    micro_batch_size: int | None = Field(default=None, ge=1, le=10**6)
    """Rows computed at once, the rest of a step being accumulated; none: all of them. It bounds memory and does not
    change the result."""
    seq_len: int = Field(default=256, ge=2, le=2**20)
    """Tokens per row; at most the model's max_seq_len."""
    mixture: dict[str, Share] = Field(default_factory=dict)
    """Shares of tokens: `tokens` is the run's own, any other key the folder of another tokens artifact, made with the
    same tokenizer. A share may change at steps: [[0, 0.1], [8000, 0.4]]. Empty: the run's own alone."""
    max_epochs: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """The most passes over a member of the mixture; the others then take its share. Not named: no limit."""
    tensor_parallel: int = Field(default=1, ge=1, le=1024)
    """Processes that share each matrix inside blocks, neighbours in rank; groups of them share the batch. It changes
    the result by rounding only, and a run may go on with another."""
    float8: bool = False
    """Multiply in float8 inside dense blocks (gristlm.model.float8), on CUDA devices of compute capability 8.9 or more;
    it changes the result."""
    learning_rate: float = Field(default=4e-3, gt=0, le=10)
    """Peak learning rate."""
    warmup_steps: int = Field(default=30, ge=0)
    """Steps of linear rise to the peak."""
    schedule: Literal["cosine", "linear", "wsd", "constant"] = "wsd"
    """What follows the rise; see gristlm.training.schedule."""
    final_fraction: float = Field(default=0.0, ge=0, le=1)
    """The last step's learning rate as a share of the peak."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """Muon for the matrices inside blocks and AdamW for the rest, or AdamW for all."""
    weight_decay: float = Field(default=0.1, ge=0, lt=10)
    """Decay of the matrices inside blocks, times the learning rate (arXiv 1711.05101)."""
    table_lr_scale: float = Field(default=1.0, gt=0, le=1000)
    """Learning rate of the embedding and an untied head, as a multiple of learning_rate."""
    grad_clip: float | None = Field(default=1.0, gt=0)
    """The gradient is scaled down to this norm; none: never."""
    z_loss: float = Field(default=0.0, ge=0, lt=1)
    """Weight of the squared log-partition (PaLM, arXiv 2204.02311, used 1e-4); keeps logits from drifting in long
    runs."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between checkpoints."""
    keep_last: int | None = Field(default=2, ge=1)
    """Checkpoints kept; none: all."""
    evaluate_every: int = Field(default=100, ge=1)
    """Steps between measurements on the held-out documents; there is always one after the last step."""
    evaluate_batches: int = Field(default=8, ge=1)
    """Batches of held-out rows per measurement, always the same ones."""
    questions: Path | None = None
    """A JSONL file of cloze and multiple-choice rows, answered at each measurement; see gristlm.training.questions."""
    keep_best: bool = False
    """The checkpoint with the lowest held-out loss is kept beside the last ones."""
    sample_every: int | None = Field(default=None, ge=1)
    """Steps between samples of what the model writes, kept in samples.jsonl; there are some after the last step. None:
    no samples."""
    sample_prompts: tuple[Annotated[str, Field(min_length=1, max_length=10_000)], ...] = Field(
        default=(), max_length=64
    )
    """What samples begin with; empty: the first tokens of some held-out documents."""
    sample_tokens: int = Field(default=48, ge=1, le=10**5)
    """Tokens of a sample at most."""
    sample_temperature: float = Field(default=0.8, ge=0, le=10)
    """Of the samples, drawn with `seed`; 0: always the most likely token."""
    patience: int | None = Field(default=None, ge=1)
    """Training ends after so many measurements without a lower held-out loss; none: never early."""
    spike_deviations: float | None = Field(default=None, gt=0)
    """An update whose loss is so many standard deviations above the last 32 is left out and counted; none: never."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Weights are averaged over steps with this decay (arXiv 2407.20243); the averages are measured and become
    `final/`. None: the last weights."""
    recompute: bool = False
    """Activations are computed again in the backward pass: less memory, about a third more time (arXiv 1604.06174)."""
    compile: bool = False
    """The blocks go through torch.compile; pays in long runs on CUDA."""
    sinks: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Where figures go besides metrics.jsonl; each needs its package."""
