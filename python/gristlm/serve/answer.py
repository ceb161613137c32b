"""Answers on their way from the engine's thread to a client that may leave at any moment."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence

from gristlm.serve.engine import Engine, Piece, QueueFullError, Request
from gristlm.serve.logprobs import Score
from gristlm.serve.requests import Sampling


class GenerationError(Exception):
    """The engine failed at a request."""


@dataclasses.dataclass
class Choice:
    """One finished answer."""

    text: str = ""
    tokens: list[int] = dataclasses.field(default_factory=list)
    scores: list[Score] = dataclasses.field(default_factory=list)
    reason: str | None = None


class Answer:
    """The answers to one call: `n` of each prompt, numbered prompt by prompt."""

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        max_tokens: int,
        *,
        num_likeliest: int | None = None,
        score_prompt: bool = False,
    ) -> None:
        """Queues all of them, or none and raises `QueueFullError`."""
        self.prompts, self.n = prompts, sampling.n
        self.completion_tokens = 0
        self._pieces: asyncio.Queue[tuple[int, Piece]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._requests: list[Request] = []
        for index in range(len(prompts) * sampling.n):
            request = Request(
                prompts[index // sampling.n],
                max_tokens,
                lambda piece, index=index: self._put(index, piece),  # type: ignore[misc]
                sampling.temperature,
                sampling.top_p,
                sampling.top_k,
                sampling.min_p,
                sampling.stop,
                sampling.seed,
                index % sampling.n,
                num_likeliest,
                score_prompt,
            )
            try:
                engine.submit(request)
            except QueueFullError:
                self.cancel()
                raise
            self._requests.append(request)

    def _put(self, index: int, piece: Piece) -> None:
        try:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, (index, piece))
        except RuntimeError:  # the server has stopped, and its loop is closed
            self._requests[index].cancelled.set()

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """Yields every piece with the number of its answer, until all have ended.

        Raises:
            GenerationError: the engine failed.
        """
        left = len(self._requests)
        held: tuple[int, Piece] | None = None
        while left:
            index, piece = held or await self._pieces.get()
            held = None
            while not (piece.reason or piece.error or self._pieces.empty()):  # what waits already goes in one
                other, more = self._pieces.get_nowait()
                if other != index or more.error is not None:
                    held = (other, more)
                    break
                piece = Piece(
                    piece.text + more.text, piece.tokens + more.tokens, more.reason, piece.scores + more.scores
                )
            if piece.error is not None:
                self.cancel()
                raise GenerationError(piece.error)
            self.completion_tokens += len(piece.tokens)
            left -= piece.reason is not None
            yield index, piece

    async def whole(self) -> list[Choice]:
        """Returns all answers when they have ended."""
        choices = [Choice() for _ in self._requests]
        async for index, piece in self.pieces():
            choices[index].text += piece.text
            choices[index].tokens += piece.tokens
            choices[index].scores += piece.scores
            choices[index].reason = piece.reason
        return choices

    def cancel(self) -> None:
        """Stops what is still being made."""
        for request in self._requests:
            request.cancelled.set()

    @property
    def usage(self) -> dict[str, int]:
        """Token counts, as clients expect them."""
        prompt_tokens = sum(map(len, self.prompts))
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": prompt_tokens + self.completion_tokens,
        }
