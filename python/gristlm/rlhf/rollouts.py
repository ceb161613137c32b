"""Rollouts: sampled answers, their log-probabilities under any model, and their file.

Shapes: N sequences, T positions of the padded batch (padding on the right). A position predicts the token after it.
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

from gristlm.model import Completion, Model
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
    """Yields `indices` in pieces of at most `size`, of like lengths so that little is padding; ties keep order."""
    by_length = sorted(indices, key=lambda i: len(rollouts[i].prompt.ids) + len(rollouts[i].tokens))
    for start in range(0, len(by_length), size):
        yield by_length[start : start + size]


def dealt(pieces: Sequence[list[int]], ranks: Ranks) -> Iterator[tuple[list[int], bool]]:
    """Yields this rank's pieces, dealt out in turn, each with whether it counts.

    Ranks that share a model must go through it equally often, so the last piece may be another rank's once more.
    """
    for first in range(0, len(pieces), ranks.world_size):
        place = first + ranks.rank
        yield pieces[min(place, len(pieces) - 1)], place < len(pieces)


def padded(rollouts: Sequence[Rollout], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns input ids and labels, int64 [N, T]: a label is the sampled token that follows, -100 elsewhere."""
    width = max(len(rollout.prompt.ids) + len(rollout.tokens) for rollout in rollouts) - 1
    input_ids = np.zeros((len(rollouts), width), dtype=np.int64)
    labels = np.full((len(rollouts), width), NO_LABEL, dtype=np.int64)
    for i, rollout in enumerate(rollouts):
        ids = [*rollout.prompt.ids, *rollout.tokens]
        input_ids[i, : len(ids) - 1] = ids[:-1]
        labels[i, _span(rollout)] = rollout.tokens
    return torch.from_numpy(input_ids).to(device), torch.from_numpy(labels).to(device)


def aligned(rollouts: Sequence[Rollout], values: Sequence[Sequence[float]], like: torch.Tensor) -> torch.Tensor:
    """Returns per-token values of rollouts in the places of their labels, float32 shaped as `like`, else zero."""
    out = np.zeros(like.shape, dtype=np.float32)
    for i, (rollout, row) in enumerate(zip(rollouts, values, strict=True)):
        out[i, _span(rollout)] = row
    return torch.from_numpy(out).to(like.device)


@torch.no_grad()
def logprobs_under(
    model: Model, rollouts: Sequence[Rollout], *, temperature: float, micro_batch_size: int
) -> list[list[float]]:
    """Returns the log-probability of every sampled token under `model`, a list per rollout."""
    out: list[list[float]] = [[] for _ in rollouts]
    for piece in in_micro_batches(rollouts, range(len(rollouts)), micro_batch_size):
        chosen = [rollouts[i] for i in piece]
        input_ids, labels = padded(chosen, model.device)
        logprobs_NT = model.token_logprobs(input_ids, labels, temperature=temperature).cpu()
        for i, rollout, row in zip(piece, chosen, logprobs_NT, strict=True):
            out[i] = answer_part(rollout, row)
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


def answer_part(rollout: Rollout, row_T: torch.Tensor) -> list[float]:
    """Returns the entries of a padded row that belong to the answer's tokens."""
    values: list[float] = row_T[_span(rollout)].tolist()
    return values


def _span(rollout: Rollout) -> slice:
    start = len(rollout.prompt.ids) - 1
    return slice(start, start + len(rollout.tokens))
