"""Continuous batching: requests join and leave between steps, each with its own settings and its own random numbers.

    engine = Engine(model)
    handle = engine.add(Request(prompt, Sampling(max_new_tokens=64), seed=1))
    while len(engine):
        for event in engine.step():
            ...  # event.handle, event.token, event.logprob, event.finish_reason

* A step either starts waiting requests (their prompts packed end to end, without padding; equal prompts that start
  together are computed once) or decodes one token of every running one. First come, first served.
* Rows that finish make room for waiting ones; when none wait, the batch shrinks.
* Random numbers come from (seed, sample, position) alone, so a completion does not depend on its neighbours (see
  `gristlm.model.sampling`).

An engine belongs to one thread, and to the weights as they were when it was made (`refresh` takes new ones).

Shapes: R rows, V vocab, D d_model.
"""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gristlm.errors import InputError
from gristlm.model import attention, sampling
from gristlm.model.cache import Cache, Decode, Prefill
from gristlm.model.generation_step import Step
from gristlm.model.sampling import Sampling
from gristlm.model.stopping import StopRule
from gristlm.model.transformer import Model

CACHE_BYTES = 2**30
"""Keys and values held at once, in bytes; more requests wait their turn."""
PREFILL_TOKENS = 8192
"""Prompt tokens computed at once."""
PREFILL_TOKENS_CPU = 1024
"""The same on a CPU: what is computed between two products then stays in its caches."""
SHRINK_AT = 0.75
"""The batch is compacted when this share of its rows, or less, is unfinished: copying the cache costs about two
steps."""

FinishReason = Literal["stop", "length"]


@dataclasses.dataclass(frozen=True)
class Request:
    """A completion that is wanted."""

    prompt: Sequence[int]
    """Token ids, at least one."""
    how: Sampling
    """The settings of this completion."""
    seed: int | None = None
    """The same seed, sample number, prompt and settings give the same completion; None takes a fresh one."""
    sample: int = 0
    """Which of several completions of one prompt and seed this is."""
    num_likeliest: int | None = None
    """The likeliest tokens to tell of in each place; None tells nothing (`Event.scored`)."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """What the model itself thought of a place: at temperature 1, without truncation."""

    logprob: float
    """Of the token that was sampled."""
    likeliest: Sequence[tuple[int, float]]
    """The likeliest tokens with their log-probabilities, the likeliest first."""


@dataclasses.dataclass(frozen=True)
class Event:
    """One token of one request."""

    handle: int
    """What `add` returned."""
    token: int
    """The token id as sampled."""
    logprob: float
    """Its log-probability under softmax(logits / temperature) before any truncation (greedy: temperature 1)."""
    finish_reason: FinishReason | None
    """None while the completion goes on; else it was the last: "stop", or "length" at `max_new_tokens` or the model's
    `max_seq_len`."""
    scored: Scored | None = None
    """What was asked for with `Request.num_likeliest`."""


@dataclasses.dataclass(eq=False)
class _Row:
    """One completion on its way."""

    handle: int
    prompt: tuple[int, ...]
    how: Sampling
    stop: StopRule
    key: int
    limit: int
    num_likeliest: int | None = None
    tokens: list[int] = dataclasses.field(default_factory=list)
    done: bool = False

    @property
    def needed(self) -> int:
        """Positions of the cache at most."""
        return len(self.prompt) + self.limit


class Engine:
    """Generates for any number of requests at once.

    Args:
        model: the model; its weights are read when the engine is made.
        cache_bytes: keys and values held at once; a single request may exceed it.
    """

    def __init__(self, model: Model, *, cache_bytes: int | None = None) -> None:
        self._model = model
        self._prefill_tokens = PREFILL_TOKENS_CPU if model.device.type == "cpu" else PREFILL_TOKENS
        self._budget = CACHE_BYTES if cache_bytes is None else cache_bytes
        self._waiting: deque[_Row] = deque()
        self._slots: list[_Row] = []
        """The row in each cache row; finished ones stay until replaced or compacted."""
        self._lengths: list[int] = []
        """Positions in the cache, by cache row."""
        self._running: dict[int, _Row] = {}
        self._handles = itertools.count()
        self._stops: dict[tuple[object, ...], StopRule] = {}
        self._cache: Cache | None = None
        config, weight = model.config, model.output_weight
        self._position_bytes = 2 * config.num_layers * config.num_kv_heads * config.head_dim * weight.element_size()
        self._windows = tuple(config.window(layer) for layer in range(config.num_layers))
        self.refresh()

    def __len__(self) -> int:
        """Returns how many requests are unfinished."""
        return len(self._running)

    def refresh(self) -> None:
        """Takes the model's weights as they are now; call it after changing them, between requests."""
        self._step = Step.of(self._model)

    def add(self, request: Request) -> int:
        """Returns the handle of a request, which starts as soon as there is room.

        Raises:
            InputError: the prompt is empty, too long or holds an id that the vocabulary has not, or a stop string is
                given to a model without a tokenizer.
        """
        prompt = tuple(request.prompt)
        self._check(prompt)
        seed = secrets.randbits(64) if request.seed is None else request.seed
        row = _Row(
            handle=next(self._handles),
            prompt=prompt,
            how=request.how,
            stop=self._stop_rule(request.how),
            key=sampling.row_key(seed, request.sample),
            limit=min(request.how.max_new_tokens, self._model.config.max_seq_len - len(prompt)),
            num_likeliest=request.num_likeliest,
        )
        self._running[row.handle] = row
        self._waiting.append(row)
        return row.handle

    def cancel(self, handle: int) -> None:
        """Ends a request without a further event; one that is finished or unknown is left alone."""
        row = self._running.pop(handle, None)
        if row is not None:
            row.done = True
            if not row.tokens:
                self._waiting.remove(row)

    @torch.no_grad()
    def step(self) -> list[Event]:
        """Returns one token of each request that got one; nothing when none is unfinished.

        Raises:
            TrainingError: the model's logits are not finite.
        """
        chosen = self._admit()
        if chosen:
            return self._sample(self._prefill(chosen), [row for _, row in chosen])
        self._shrink()
        return self._decode() if self._slots else []

    def _check(self, prompt: tuple[int, ...]) -> None:
        longest, vocab_size = self._model.config.max_seq_len, self._model.output_weight.shape[0]
        if not 0 < len(prompt) < longest:
            needed = f"it needs at least 1 and fewer than the model's max_seq_len {longest}"
            raise InputError(f"the prompt has {len(prompt)} tokens; {needed}")
        if min(prompt) < 0 or max(prompt) >= vocab_size:
            raise InputError(f"the prompt holds an id outside the vocabulary of {vocab_size}")

    def _stop_rule(self, how: Sampling) -> StopRule:
        key = (how.ignore_eos, *(item if isinstance(item, int | str) else tuple(item) for item in how.stop))
        if key not in self._stops:
            ends = () if how.ignore_eos else self._model.config.eos_token_ids
            self._stops[key] = StopRule(ends, how.stop, self._model.tokenizer_dir)
        return self._stops[key]

    def _admit(self) -> list[tuple[int, _Row]]:
        """Returns the waiting rows that start now, each with its place, for which the cache then has room."""
        if not self._waiting:
            return []
        free = [i for i, row in enumerate(self._slots) if row.done]
        if len(free) == len(self._slots):  # nobody to keep: size everything for those that wait
            self._slots, self._lengths, self._cache, free = [], [], None, []
        capacity = 0 if self._cache is None else self._cache.capacity
        chosen: list[tuple[int, _Row]] = []
        count, total = len(self._slots), 0
        prompts: set[tuple[int, ...]] = set()
        for row in self._waiting:
            slot = free[len(chosen)] if len(chosen) < len(free) else count
            wider = max(capacity, row.needed)
            total += 0 if row.prompt in prompts else len(row.prompt)
            too_much = max(count, slot + 1) * wider * self._position_bytes > self._budget
            if (count and too_much) or (chosen and total > self._prefill_tokens):
                break
            chosen.append((slot, row))
            prompts.add(row.prompt)
            count, capacity = max(count, slot + 1), wider
        if chosen:
            self._make_room(count, capacity)
        for slot, row in chosen:
            self._waiting.popleft()
            if slot == len(self._slots):
                self._slots.append(row)
                self._lengths.append(0)
            self._slots[slot], self._lengths[slot] = row, len(row.prompt)
        return chosen

    def _make_room(self, rows: int, capacity: int) -> None:
        if self._cache is None:
            weight = self._model.output_weight
            capacity = max(capacity, *(row.needed for row in self._waiting))
            most = max(rows, self._budget // (self._position_bytes * capacity))
            rows = min(most, max(rows, len(self._waiting)))
            self._cache = Cache(self._model.config, rows, capacity, device=weight.device, dtype=weight.dtype)
        elif rows > self._cache.rows or capacity > self._cache.capacity:
            if rows > self._cache.rows:  # at least half as many again, so that one by one does not copy every time
                most = self._budget // (self._position_bytes * capacity)
                rows = max(rows, min(most, self._cache.rows * 3 // 2))
            used = max(self._lengths, default=0)
            self._cache.resize(max(rows, self._cache.rows), capacity, used_rows=len(self._slots), used_length=used)

    def _prefill(self, chosen: list[tuple[int, _Row]]) -> Tensor:
        """Computes each prompt once, stores it in the rows that sample it, and returns logits [len(chosen), V]."""
        assert self._cache is not None, "_admit makes the cache"
        slots: dict[tuple[int, ...], list[int]] = {}
        for slot, row in chosen:
            slots.setdefault(row.prompt, []).append(slot)
        logits_PV = (self._prefilled if self._step is None else self._stepped)(slots, self._cache)
        order = {prompt: place for place, prompt in enumerate(slots)}
        return logits_PV[torch.tensor([order[row.prompt] for _, row in chosen], device=logits_PV.device)]

    def _stepped(self, slots: dict[tuple[int, ...], list[int]], cache: Cache) -> Tensor:
        """Computes prompts by the laid-out network, each in its first row, and copies it to the others."""
        assert self._step is not None, "the plain network is asked elsewhere"
        lengths = np.array([len(prompt) for prompt in slots])
        ids = np.concatenate([np.array(prompt, np.int64) for prompt in slots])
        rows = np.repeat([some[0] for some in slots.values()], lengths).tolist()
        positions = np.concatenate([np.arange(length) for length in lengths]).tolist()
        last = (np.cumsum(lengths) - 1).tolist()
        logits_PV = self._step(torch.from_numpy(ids), rows, positions, last, cache)
        for prompt, (first, *others) in slots.items():
            cache.repeat(first, others, len(prompt))
        return logits_PV

    def _prefilled(self, slots: dict[tuple[int, ...], list[int]], cache: Cache) -> Tensor:
        """Computes prompts by the plain network, packed end to end."""
        device, lengths = self._model.device, np.array([len(prompt) for prompt in slots])
        ends = np.cumsum(lengths)
        copies = [len(some) for some in slots.values()]
        sizes = np.repeat(lengths, copies)
        within = np.concatenate([np.arange(size) for size in sizes])
        sources = within + np.repeat(np.repeat(ends - lengths, copies), sizes)
        rows = np.repeat([slot for some in slots.values() for slot in some], sizes)
        ids = torch.from_numpy(np.concatenate([np.array(prompt, np.int64) for prompt in slots])).to(device)
        bounds = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32)).to(device)
        half = self._model.output_weight.dtype != torch.float32
        attend, positions = attention.documents(bounds, (1, len(ids)), half_precision=half, windows=self._windows)
        places = cache.places(torch.from_numpy(rows).to(device), torch.from_numpy(within).to(device))
        prefill = Prefill(attend, cache, torch.from_numpy(sources).to(device), places)
        x_BTD = self._model.run_blocks(ids[None], positions, prefill)
        return self._model.logits(x_BTD[0].index_select(0, torch.from_numpy(ends - 1).to(device)))

    def _decode(self) -> list[Event]:
        """Computes one more position of every row and samples the next token of those unfinished."""
        assert self._cache is not None, "running rows have a cache"
        device = self._model.device
        ids_R = torch.tensor([row.tokens[-1] for row in self._slots], device=device)
        live = [i for i, row in enumerate(self._slots) if not row.done]
        if self._step is not None:
            everyone = range(len(self._slots))
            logits_RV = self._step(ids_R, everyone, self._lengths, everyone, self._cache)
        else:
            logits_RV = self._model.logits(self._decoded(ids_R, self._cache))
        for i in live:
            self._lengths[i] += 1
        if len(live) < len(self._slots):
            logits_RV = logits_RV[torch.tensor(live, device=device)]
        return self._sample(logits_RV, [self._slots[i] for i in live])

    def _decoded(self, ids_R: Tensor, cache: Cache) -> Tensor:
        """Returns the plain network's output of one more position of every row, [R, D]."""
        device = self._model.device
        lengths = torch.tensor(self._lengths, device=device)
        longest = max(self._lengths)
        decode = Decode(cache, lengths, longest, ragged=min(self._lengths) != longest, windows=self._windows)
        before_R1 = None
        if self._model.smear_gate is not None:
            before = [row.tokens[-2] if len(row.tokens) > 1 else row.prompt[-1] for row in self._slots]
            before_R1 = torch.tensor(before, device=device)[:, None]
        return self._model.run_blocks(ids_R[:, None], lengths[:, None], decode, before_ids=before_R1)[:, 0]

    def _sample(self, logits_RV: Tensor, rows: list[_Row]) -> list[Event]:
        keys = np.array([row.key for row in rows], np.uint64)
        positions = np.array([len(row.tokens) for row in rows], np.uint64)
        uniform_R = torch.from_numpy(sampling.uniforms(keys, positions)).to(logits_RV.device)
        kinds: dict[tuple[object, ...], list[int]] = {}
        for i, row in enumerate(rows):
            kinds.setdefault((row.how.temperature, row.how.top_k, row.how.top_p, row.how.min_p), []).append(i)
        events: list[Event | None] = [None] * len(rows)
        for members in kinds.values():
            how = rows[members[0]].how
            everyone = len(members) == len(rows)
            ids_R, logprobs_R = sampling.choose(
                logits_RV if everyone else logits_RV[members],
                uniform_R if everyone else uniform_R[members],
                temperature=how.temperature,
                top_k=how.top_k,
                top_p=how.top_p,
                min_p=how.min_p,
            )
            for i, token, logprob in zip(members, ids_R.tolist(), logprobs_R.tolist(), strict=True):
                scored = None if rows[i].num_likeliest is None else _scored(logits_RV[i], token, rows[i].num_likeliest)
                events[i] = self._event(rows[i], token, logprob, scored)
        return [event for event in events if event is not None]

    def _event(self, row: _Row, token: int, logprob: float, scored: Scored | None) -> Event:
        row.tokens.append(token)
        reason: FinishReason | None = None
        if row.stop.ends(row.tokens):
            reason = "stop"
        elif len(row.tokens) >= row.limit:
            reason = "length"
        if reason is not None:
            row.done = True
            del self._running[row.handle]
        return Event(row.handle, token, logprob, reason, scored)

    def _shrink(self) -> None:
        """Drops finished rows once enough are; until then they stay where they are, computed in vain."""
        live = [i for i, row in enumerate(self._slots) if not row.done]
        if live and len(live) > SHRINK_AT * len(self._slots):
            return
        if live and self._cache is not None:
            self._cache.keep(torch.tensor(live, device=self._model.device), max(self._lengths[i] for i in live))
        self._slots = [self._slots[i] for i in live]
        self._lengths = [self._lengths[i] for i in live]


def _scored(logits_V: Tensor, token: int, num_likeliest: int | None) -> Scored:
    logprobs_V = logits_V.float().log_softmax(-1)
    values, ids = logprobs_V.topk(min(num_likeliest or 0, len(logprobs_V)))
    return Scored(float(logprobs_V[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
