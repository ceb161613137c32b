"""Rollouts: sampled answers, their log-probabilities under any model, and their file.

Shapes: N rollouts, S positions of all of them, L the longest answer. A position predicts the token after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from gristlm.model import Completion, Model, ModelConfig
from gristlm.model.shared_prompt import Layout, lay_out
from gristlm.rlhf.data import Prompt
from gristlm.rlhf.engines import Generates
from gristlm.runs.files import atomic_path
from gristlm.tokenize import Tokenizer
from gristlm.training.chat_prompt import ChatTemplate, encode_prompt
from gristlm.training.distributed import Ranks

NO_LABEL = -100


@dataclasses.dataclass(frozen=True)
class EncodedPrompt:
    """A prompt and its token ids, rendered up to where the answer begins."""

    prompt: Prompt
    ids: list[int]


@dataclasses.dataclass(frozen=True)
class Rollout:
    """One sampled answer: its tokens (end of turn included), their log-probabilities as sampled, and its text."""

    prompt: EncodedPrompt
    tokens: list[int]
    logprobs: list[float]
    finish_reason: str
    text: str


@dataclasses.dataclass(frozen=True)
class Scored:
    """Rollouts with what was found out about each, arrays of float64[N].

    `rewards` has each reward alone, `total` their weighted sum; `kl` is the sum over the answer of log p - log p_ref
    (k1) and `kl_k3` that of k3, in nats; `ref_logprobs` has the reference's log-probability of each token; `kl_coef`
    is the price of a nat in this step.
    """

    rollouts: list[Rollout]
    ref_logprobs: list[list[float]]
    rewards: dict[str, NDArray[np.float64]]
    total: NDArray[np.float64]
    kl: NDArray[np.float64]
    kl_k3: NDArray[np.float64]
    kl_coef: float = 0.0

    def joined(self, more: Scored) -> Scored:
        """Returns these rollouts followed by `more`."""
        return Scored(
            [*self.rollouts, *more.rollouts],
            [*self.ref_logprobs, *more.ref_logprobs],
            {name: np.concatenate([values, more.rewards[name]]) for name, values in self.rewards.items()},
            np.concatenate([self.total, more.total]),
            np.concatenate([self.kl, more.kl]),
            np.concatenate([self.kl_k3, more.kl_k3]),
            self.kl_coef,
        )

    def varied(self, group_size: int, *, most: int) -> Scored:
        """Returns the first `most` groups whose rewards differ: a group of equal ones teaches nothing (DAPO)."""
        grouped = self.total.reshape(-1, group_size)
        groups = np.flatnonzero(grouped.max(axis=1) != grouped.min(axis=1))[:most]
        kept = (groups[:, None] * group_size + np.arange(group_size)).ravel()
        return Scored(
            [self.rollouts[i] for i in kept],
            [self.ref_logprobs[i] for i in kept],
            {name: values[kept] for name, values in self.rewards.items()},
            self.total[kept],
            self.kl[kept],
            self.kl_k3[kept],
            self.kl_coef,
        )


class Sampler:
    """Samples answers with one model's chat format; ranks share the prompts, and each gets all answers."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: ChatTemplate | None,
        *,
        max_new_tokens: int,
        temperature: float,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> None:
        """Ends answers at the tokenizer's `<|im_end|>` too, if it has one, whatever the model's config says."""
        self._tokenizer = tokenizer
        self._template = template
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature
        self._ranks = ranks
        end = tokenizer.special_tokens.get("<|im_end|>")
        self._stop = () if end is None else (end,)

    def encode(self, prompts: Sequence[Prompt], max_seq_len: int) -> list[EncodedPrompt]:
        """Returns the prompts that leave room for an answer within `max_seq_len` tokens, encoded, in order."""
        encoded = [
            EncodedPrompt(prompt, encode_prompt(self._tokenizer, prompt.messages, self._template)) for prompt in prompts
        ]
        return [prompt for prompt in encoded if len(prompt.ids) + self._max_new_tokens <= max_seq_len]

    def sample(
        self,
        model: Generates,
        prompts: Sequence[EncodedPrompt],
        *,
        group_size: int,
        seeds: list[int],
        greedy: bool = False,
    ) -> list[Rollout]:
        """Returns `group_size` answers to each prompt, side by side; they depend on its seed only."""
        return self.answers(prompts, self.share(model, prompts, group_size=group_size, seeds=seeds, greedy=greedy))

    def share(
        self,
        model: Generates,
        prompts: Sequence[EncodedPrompt],
        *,
        group_size: int,
        seeds: list[int],
        greedy: bool = False,
    ) -> list[list[Completion]]:
        """Returns `group_size` completions of each prompt of this rank's share; needs no other rank."""
        mine = self._ranks.part(len(prompts))
        if mine.start == mine.stop:
            return []
        return model.generate(
            [prompt.ids for prompt in prompts[mine]],
            n=group_size,
            max_new_tokens=self._max_new_tokens,
            temperature=0.0 if greedy else self._temperature,
            stop=self._stop,
            seed=seeds[mine],
            logprobs=True,
        )

    def answers(self, prompts: Sequence[EncodedPrompt], share: list[list[Completion]]) -> list[Rollout]:
        """Returns the answers to all prompts, of which each rank has its share; every rank must call it."""
        groups = self._ranks.gathered(share)
        return [
            Rollout(
                prompt,
                list(one.tokens),
                [float(x) for x in one.logprobs or ()],
                one.finish_reason,
                self._text(one.tokens),
            )
            for prompt, group in zip(prompts, groups, strict=True)
            for one in group
        ]

    def render(self, prompt: EncodedPrompt) -> str:
        """Returns the text of a prompt as the model sees it, special tokens included."""
        return self._tokenizer.decode(prompt.ids)

    def _text(self, tokens: Sequence[int]) -> str:
        special = set(self._tokenizer.special_tokens.values())
        return self._tokenizer.decode([token for token in tokens if token not in special])


def in_micro_batches(rollouts: Sequence[Rollout], indices: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yields `indices` in pieces of at most `size`, the answers to one prompt side by side, prompts of like lengths."""
    together = sorted(indices, key=lambda i: (len(rollouts[i].prompt.ids), rollouts[i].prompt.ids))
    for start in range(0, len(together), size):
        yield together[start : start + size]


def dealt(pieces: Sequence[list[int]], ranks: Ranks) -> Iterator[tuple[list[int], bool]]:
    """Yields this rank's pieces, dealt out in turn, each with whether it counts.

    Ranks that share a model must go through it equally often, so the last piece may be another rank's once more.
    """
    for first in range(0, len(pieces), ranks.world_size):
        place = first + ranks.rank
        yield pieces[min(place, len(pieces) - 1)], place < len(pieces)


@dataclasses.dataclass(frozen=True)
class Batch:
    """N rollouts as a network's arguments: the answers to one prompt share its computation."""

    layout: Layout
    labels: torch.Tensor
    """int64[1, S]: the sampled token after each position, -100 in prompts."""
    places: torch.Tensor
    """int64[N, L]: the position before each sampled token; any beyond an answer's end."""
    mask: torch.Tensor
    """bool[N, L]: where there is a token."""

    @staticmethod
    def of(rollouts: Sequence[Rollout], config: ModelConfig, device: torch.device) -> Batch:
        """Lays out at least one rollout for a network of this shape."""
        sequences = [[*rollout.prompt.ids, *rollout.tokens[:-1]] for rollout in rollouts]
        starts = [len(rollout.prompt.ids) - 1 for rollout in rollouts]  # from here on each position has its own label
        layout = lay_out(sequences, starts, config=config, device=device)
        labels = np.full(layout.input_ids.shape, NO_LABEL, dtype=np.int64)
        shape = (len(rollouts), max(len(rollout.tokens) for rollout in rollouts))
        places, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
        for i, (rollout, start, flat) in enumerate(zip(rollouts, starts, layout.flats, strict=True)):
            count = len(rollout.tokens)
            places[i, :count] = flat[start : start + count]
            mask[i, :count] = True
            labels[0, flat[start : start + count]] = rollout.tokens
        return Batch(layout, *(torch.from_numpy(array).to(device) for array in (labels, places, mask)))

    def logprobs(self, model: Model, temperature: float) -> torch.Tensor:
        """Returns the log-probability of each sampled token, float32[N, L], zero beyond the ends."""
        layout = self.layout
        logprobs_1S = model.token_logprobs(
            layout.input_ids,
            self.labels,
            position_ids=layout.position_ids,
            attend=layout.attend,
            temperature=temperature,
        )
        return self.answers(logprobs_1S)

    def answers(self, values_1S: torch.Tensor) -> torch.Tensor:
        """Returns what stands at the position before each sampled token, [N, L], zero beyond the ends."""
        chosen = values_1S.flatten().index_select(0, self.places.flatten())
        return chosen.view(self.places.shape).masked_fill(~self.mask, 0.0)

    def aligned(self, values: Sequence[Sequence[float]]) -> torch.Tensor:
        """Returns a value per token of each rollout as float32[N, L], zero beyond the ends."""
        out = np.zeros(self.mask.shape, dtype=np.float32)
        for i, row in enumerate(values):
            out[i, : len(row)] = row
        return torch.from_numpy(out).to(self.mask.device)


@torch.no_grad()
def logprobs_under(
    model: Model, rollouts: Sequence[Rollout], *, temperature: float, micro_batch_size: int
) -> list[list[float]]:
    """Returns the log-probability of every sampled token under `model`, a list per rollout."""
    out: list[list[float]] = [[] for _ in rollouts]
    for piece in in_micro_batches(rollouts, range(len(rollouts)), micro_batch_size):
        batch = Batch.of([rollouts[i] for i in piece], model.config, model.device)
        for i, row in zip(piece, batch.logprobs(model, temperature).tolist(), strict=True):
            out[i] = row[: len(rollouts[i].tokens)]
    return out


def write(path: Path, step: int, scored: Scored, advantages: list[list[float]] | None, sampler: Sampler) -> None:
    """Writes a step's rollouts as Parquet, whole or not at all, the same bytes for the same rollouts.

    `advantage` is the mean over an answer's tokens.
    """
    rollouts = scored.rollouts
    count = len(rollouts)
    columns: dict[str, pa.Array[Any]] = {
        "step": pa.array([step] * count, pa.int32()),
        "prompt": pa.array([sampler.render(rollout.prompt) for rollout in rollouts], pa.string()),
        "completion": pa.array([rollout.text for rollout in rollouts], pa.string()),
        "tokens": pa.array([rollout.tokens for rollout in rollouts], pa.list_(pa.int32())),
        "logprobs": pa.array([rollout.logprobs for rollout in rollouts], pa.list_(pa.float32())),
        "reward": pa.array(scored.total, pa.float64()),
        "advantage": pa.array(
            [0.0] * count if advantages is None else [fmean(row) for row in advantages], pa.float64()
        ),
        "kl": pa.array(scored.kl, pa.float64()),
        "finish_reason": pa.array([rollout.finish_reason for rollout in rollouts], pa.string()),
        **{f"reward/{name}": pa.array(values, pa.float64()) for name, values in scored.rewards.items()},
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
