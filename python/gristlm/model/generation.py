"""Generation: many prompts, many samples each, one engine (`gristlm.model.generation_engine`).

* Prompts of any lengths are computed once each, however many samples are drawn (`n`).
* The same seed and prompt give the same completions, whatever else is generated beside them.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Sequence

from gristlm.errors import InputError
from gristlm.model.generation_engine import Engine, FinishReason, Request
from gristlm.model.sampling import Sampling
from gristlm.model.transformer import Model

__all__ = ["Completion", "Sampling", "generate", "stream"]


@dataclasses.dataclass(frozen=True)
class Completion:
    """One generated continuation."""

    tokens: list[int]
    """Token ids as sampled; what stopped it (an end-of-sequence token, a stop) is part of it."""
    logprobs: list[float] | None
    """Log-probability of each token under softmax(logits / temperature) without truncation (greedy: temperature 1),
    if asked for."""
    finish_reason: FinishReason
    """Whether it ended by itself, or ran into `max_new_tokens` or the model's `max_seq_len`."""


def generate(
    model: Model, prompts: Sequence[Sequence[int]], how: Sampling, *, n: int, seed: int | Sequence[int] | None
) -> list[list[Completion]]:
    """Returns `n` completions for each prompt, in order.

    Args:
        model: the model.
        prompts: token ids, at least one each.
        how: the sampling settings, shared by all.
        n: completions per prompt.
        seed: one for every prompt or one per prompt. The same seed and prompt give the same completions, whatever
            else is generated beside them. None takes fresh ones.

    Raises:
        InputError: a prompt is empty, too long or holds an id that the vocabulary has not; the number of seeds is not
            the number of prompts.
    """
    if n < 1:
        raise InputError(f"n is {n}; it must be at least 1")
    engine = Engine(model)
    done: dict[int, Completion] = {}
    for i, (prompt, one) in enumerate(zip(prompts, _seeds(seed, len(prompts)), strict=True)):
        for sample in range(n):
            try:
                handle = engine.add(Request(prompt, how, one, sample))
            except InputError as error:
                raise InputError(f"prompt {i}: {error}") from None
            done[handle] = Completion([], [] if how.logprobs else None, "length")
    while len(engine):
        for event in engine.step():
            completion = done[event.handle]
            completion.tokens.append(event.token)
            if completion.logprobs is not None:
                completion.logprobs.append(event.logprob)
            if event.finish_reason is not None:
                done[event.handle] = dataclasses.replace(completion, finish_reason=event.finish_reason)
    whole = list(done.values())
    return [whole[i * n : (i + 1) * n] for i in range(len(prompts))]


def stream(model: Model, prompt: Sequence[int], how: Sampling, *, seed: int | None) -> Iterator[int]:
    """Yields the token ids of one completion of `prompt` as they are sampled."""
    engine = Engine(model)
    engine.add(Request(prompt, how, seed))

    def tokens() -> Iterator[int]:
        while len(engine):
            yield from (event.token for event in engine.step())

    return tokens()


def _seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    if seed is None:
        return [secrets.randbits(64) for _ in range(count)]
    if isinstance(seed, int):
        return [seed] * count
    if len(seed) != count:
        raise InputError(f"{len(seed)} seeds for {count} prompts; give one for all, or one each")
    return [int(one) for one in seed]
