"""The network: a decoder of the Llama, Mistral, Qwen2 and Qwen3 shapes (dense or with experts).

Module names are those of the Hugging Face layout, so that a checkpoint's tensors need no renaming.

Where initial weights depart from the published ones (they do not matter for loading):

1. Projections start uniform with variance 1 / d_in, not normal with 0.02: 0.02 suits widths near 2,500; small widths
   learn slower with it.
2. Projections back into the residual stream start at zero, so that every block starts as the identity (as in Fixup,
   arXiv 1901.09321).

Shapes: B batch, T positions, D d_model, N query heads, K key/value heads, H head_dim, V vocab, M positions with a
label.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gristlm.errors import ConfigError, InputError
from gristlm.model import attention, head, rope
from gristlm.model.block import Block
from gristlm.model.config import ModelConfig
from gristlm.model.feedforward import Experts
from gristlm.model.products import Linear, linear

if TYPE_CHECKING:
    from gristlm.model.generation import Completion

NO_LABEL = -100
"""The label of a position that is not learned from."""


class Model(nn.Module):
    """A decoder-only language model.

    Args:
        config: its shape; `vocab_size` must be set.
        seed: of the initial weights, which depend on nothing else.
    """

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        if config.vocab_size is None:
            raise ConfigError("model.vocab_size is not set; give ModelConfig(vocab_size=...)")
        self.config = config
        self.tokenizer_dir: Path | None = None
        self.recompute = False
        """Whether a block's activations are computed again in the backward pass instead of being kept."""
        table = torch.empty(config.vocab_size, config.d_model)
        self.embed_tokens: nn.Embedding = nn.Embedding.from_pretrained(table, freeze=False)  # type: ignore[no-untyped-call]
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.smear_gate = nn.Parameter(torch.empty(config.d_model)) if config.smear else None
        self.lm_head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size, bias=False)
        if self.embed_tokens.weight.device.type != "meta":
            _initialise(self, seed)

    def use_float8(self) -> None:
        """Makes the products inside blocks float8's; the head and everything between them stay as they are."""
        for part in self.layers.modules():
            if isinstance(part, Linear):
                part.in_float8 = True

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    @property
    def output_weight(self) -> Tensor:
        """The output matrix, [V, D]: the head's, or the embedding table where they are tied."""
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def forward(
        self, input_ids: Tensor, *, position_ids: Tensor | None = None, cu_seqlens: Tensor | None = None
    ) -> Tensor:
        """Returns logits [B, T, V]; arguments as in `hidden_states`."""
        x_BTD = self.hidden_states(input_ids, position_ids=position_ids, cu_seqlens=cu_seqlens)
        return self.logits(x_BTD)

    def logits(self, x: Tensor) -> Tensor:
        """Returns the logits [..., V] of normalised outputs [..., D]."""
        return head.soft_capped(linear(x, self.output_weight), self.config.logit_softcap)

    def hidden_states(
        self,
        input_ids: Tensor,
        *,
        position_ids: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        attend: attention.Attend | None = None,
    ) -> Tensor:
        """Returns the last layer's normalised output, [B, T, D].

        Args:
            input_ids: int[B, T].
            position_ids: int[B, T], what rotary embeddings see; default: the place in the row, or in the document
                with `cu_seqlens`.
            cu_seqlens: int32[n + 1], from 0 to B x T: bounds of the documents of the flattened batch, which then do
                not attend across.
            attend: attention that knows the sequences itself (`shared_prompt`); `position_ids` belong to it.

        Raises:
            InputError: a shape is wrong, or a sequence is longer than the model's `max_seq_len`.
        """
        if input_ids.ndim != 2:
            raise InputError(f"input_ids has shape {tuple(input_ids.shape)}; needed: [batch, length]")
        if attend is not None:
            if position_ids is None:
                raise InputError("attend needs the position_ids that belong to it")
            return self.run_blocks(input_ids, position_ids, attend)
        longest = input_ids.shape[1]
        if longest > self.config.max_seq_len and cu_seqlens is not None:
            longest = int(cu_seqlens.diff().max())
        if longest > self.config.max_seq_len:
            limit = self.config.max_seq_len
            raise InputError(f"a sequence of {longest} tokens is longer than the model's max_seq_len {limit}")
        windows = tuple(self.config.window(layer) for layer in range(self.config.num_layers))
        attend = attention.Causal(windows)
        if cu_seqlens is not None:
            half = torch.is_autocast_enabled(self.device.type) or self.embed_tokens.weight.dtype != torch.float32
            attend, places_BT = attention.documents(
                cu_seqlens, (input_ids.shape[0], input_ids.shape[1]), half_precision=half, windows=windows
            )
        else:
            places_BT = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        return self.run_blocks(input_ids, places_BT if position_ids is None else position_ids, attend)

    def run_blocks(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attend: attention.Attend,
        *,
        before_ids: Tensor | None = None,
    ) -> Tensor:
        """Returns the last layer's normalised output, [B, T, D], with any attention (generation brings its cache).

        `before_ids`, int[B, 1], are the tokens before the first of each row, which `smear` looks at; default: none.
        """
        x_BTD = self.embed_tokens(input_ids)
        if self.smear_gate is not None:
            x_BTD = self._smear(x_BTD, position_ids, self.smear_gate, before_ids)
        angles = rope.angles(self.config, position_ids)
        for layer, block in enumerate(self.layers):
            if self.recompute and torch.is_grad_enabled():
                x_BTD = checkpoint(block, x_BTD, layer, input_ids, angles, attend, use_reentrant=False)
            else:
                x_BTD = block(x_BTD, layer, input_ids, angles, attend)
        out: Tensor = self.norm(x_BTD)
        return out

    def _smear(self, x_BTD: Tensor, position_ids: Tensor, gate_D: Tensor, before_ids: Tensor | None) -> Tensor:
        """Adds to each embedding a share of the one before it in its document."""
        before_BTD = functional.pad(x_BTD[:, :-1], (0, 0, 1, 0))
        if before_ids is not None:
            before_BTD[:, :1] = self.embed_tokens(before_ids)
        inside_BT1 = (position_ids > 0).to(x_BTD.dtype).unsqueeze(-1)
        return torch.addcmul(x_BTD, before_BTD * gate_D, inside_BT1)

    def token_logprobs(
        self,
        input_ids: Tensor,
        labels: Tensor,
        *,
        position_ids: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        attend: attention.Attend | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Returns float32[B, T]: log p(label) under softmax(logits / temperature), 0.0 where the label is -100.

        Differentiable once; logits exist for a few hundred rows at a time. `labels[b, t]` is the token after
        `input_ids[b, t]`; other arguments as in `hidden_states`.
        """
        x_BTD = self.hidden_states(input_ids, position_ids=position_ids, cu_seqlens=cu_seqlens, attend=attend)
        x_MD, labels_M, chosen = _labelled(x_BTD, labels)
        logprobs_M = head.token_logprobs(
            x_MD, self.output_weight, labels_M, temperature=temperature, softcap=self.config.logit_softcap
        )
        if chosen is None:
            return logprobs_M.view(labels.shape)
        return logprobs_M.new_zeros(labels.numel()).index_copy(0, chosen, logprobs_M).view(labels.shape)

    def loss(
        self,
        input_ids: Tensor,
        labels: Tensor,
        *,
        position_ids: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        total_tokens: float | None = None,
        z_loss: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Returns the training loss and, without a gradient, the plain negative log-likelihood: float32, in nats.

        The loss is differentiable once.

        Args:
            input_ids: int[B, T]; the other tensors as in `hidden_states`.
            labels: int[B, T], the token after each input, -100 where there is none to learn.
            position_ids: as in `hidden_states`.
            cu_seqlens: as in `hidden_states`.
            total_tokens: what both sums are divided by; default: the labels of this call. With gradient accumulation,
                give the labels of the whole step, and the losses of its micro-batches add up to the step's.
            z_loss: weight of the squared log-partition.
        """
        x_BTD = self.hidden_states(input_ids, position_ids=position_ids, cu_seqlens=cu_seqlens)
        x_MD, labels_M, _ = _labelled(x_BTD, labels)
        divisor = float(max(1, len(labels_M))) if total_tokens is None else float(total_tokens)
        for part in self.modules() if self.config.num_experts else ():
            if isinstance(part, Experts):
                part.balance_share = len(labels_M) / divisor
        softcap = self.config.logit_softcap
        return head.summed_loss(x_MD, self.output_weight, labels_M, divisor=divisor, z_loss=z_loss, softcap=softcap)

    @classmethod
    def from_pretrained(
        cls, path: str | os.PathLike[str], *, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
    ) -> Model:
        """Returns the model of a directory with `config.json` and safetensors; see `gristlm.model.weights`.

        Args:
            path: the directory.
            device: where to put the weights.
            dtype: of the weights; default: float32 on the CPU, the file's own on an accelerator.
        """
        from gristlm.model.weights import load

        return load(Path(path), device=torch.device(device), dtype=dtype)

    def save_pretrained(self, path: str | os.PathLike[str], *, max_shard_bytes: int | None = None) -> None:
        """Writes `config.json` and `model.safetensors`, which transformers loads; see `gristlm.model.weights`.

        Args:
            path: the directory.
            max_shard_bytes: weights above this are written as shards with an index; None: one file.
        """
        from gristlm.model.weights import save

        save(self, Path(path), max_shard_bytes=max_shard_bytes)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        n: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        stop: Sequence[int | Sequence[int] | str] = (),
        seed: int | Sequence[int] | None = None,
        ignore_eos: bool = False,
        logprobs: bool = False,
    ) -> list[list[Completion]]:
        """Returns `n` completions for each prompt; see `gristlm.model.generation`."""
        from gristlm.model import generation

        sampling = generation.Sampling(
            max_new_tokens, temperature, top_k, top_p, min_p, tuple(stop), ignore_eos, logprobs
        )
        return generation.generate(self, prompts, sampling, n=n, seed=seed)

    def stream(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        stop: Sequence[int | Sequence[int] | str] = (),
        seed: int | None = None,
        ignore_eos: bool = False,
    ) -> Iterator[int]:
        """Yields the token ids of one completion as they are sampled: those that `generate` would return."""
        from gristlm.model import generation

        sampling = generation.Sampling(max_new_tokens, temperature, top_k, top_p, min_p, tuple(stop), ignore_eos)
        return generation.stream(self, prompt, sampling, seed=seed)


def _labelled(x_BTD: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns the rows that have a label, their labels, and their flat positions (None: all have one)."""
    if labels_BT.shape != x_BTD.shape[:2]:
        raise InputError(f"labels has shape {tuple(labels_BT.shape)}; input_ids has {tuple(x_BTD.shape[:2])}")
    labels = labels_BT.reshape(-1).long()
    chosen = (labels != NO_LABEL).nonzero().squeeze(1)
    if len(chosen) == len(labels):
        return x_BTD.flatten(0, 1), labels, None
    return x_BTD.flatten(0, 1).index_select(0, chosen), labels[chosen], chosen


@torch.no_grad()
def _initialise(model: Model, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name.endswith(("o_proj.weight", "down_proj.weight", "mlp.down", "smear_gate")):
            parameter.zero_()
        elif name.endswith("norm.weight"):
            parameter.fill_(1.0)
        elif "embed" in name or name.startswith("lm_head"):
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, 0.02, generator=generator))
        else:
            bound = (3.0 / parameter.shape[-1]) ** 0.5
            parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
