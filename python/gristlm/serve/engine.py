"""One model behind a bounded queue: one thread makes the answers, all that are under way in one batch.

Requests are started in the order they came and join the batch between two steps (`gristlm.model.generation_engine`).
Up to `MAX_ACTIVE` are made side by side, so a short answer does not wait for a long one; nobody's answer depends on who
else is asking. What a request wants is told to `submit` and what becomes of it to its `sink`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from gristlm.errors import InputError
from gristlm.model import Model, generation_engine
from gristlm.model.sampling import Sampling
from gristlm.serve.logprobs import Score, score
from gristlm.serve.stop_text import StopText
from gristlm.tokenize import Tokenizer
from gristlm.training.chat_prompt import encode_prompt, load_template

QUEUE_LENGTH = 64
"""Requests that may wait beside those being made."""
MAX_ACTIVE = 32
"""Requests made side by side."""
logger = logging.getLogger(__name__)


class QueueFullError(Exception):
    """The queue holds as many requests as it may; the client should come back later."""


class ContextLengthError(InputError):
    """A prompt leaves no room for an answer."""

    code = "context_length_exceeded"


@dataclasses.dataclass(frozen=True)
class Piece:
    """What became of a request since its last piece; the last piece has a `reason` or an `error`."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    reason: Literal["stop", "length"] | None = None
    scores: tuple[Score, ...] = ()
    error: str | None = None


@dataclasses.dataclass
class Request:
    """One answer to make. `sink` is called from the engine's thread; set `cancelled` when nobody listens any more."""

    prompt: Sequence[int]
    max_tokens: int
    sink: Callable[[Piece], None]
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    sample: int = 0
    """Which of several answers to one prompt and seed this is."""
    num_likeliest: int | None = None
    """Likeliest tokens to report in each place; None reports no log-probabilities."""
    score_prompt: bool = False
    """Report the prompt's log-probabilities too."""
    cancelled: threading.Event = dataclasses.field(default_factory=threading.Event)


class _Answer:
    """A request under way: what was made of it, as tokens and as text."""

    def __init__(self, request: Request, tokenizer: Tokenizer) -> None:
        self.request = request
        self.tokens: list[int] = []
        self._decoder, self.cut = tokenizer.stream_decoder(), StopText(request.stop)

    def push(self, token: int, scores: tuple[Score, ...], *, shown: bool) -> Piece:
        self.tokens.append(token)
        return Piece(self.cut.push(self._decoder.push(token)) if shown else "", (token,), scores=scores)

    def rest(self) -> str:
        return "" if self.cut.found else self.cut.push(self._decoder.finish()) + self.cut.finish()


class Engine:
    """A loaded checkpoint that answers requests."""

    def __init__(self, name: str, checkpoint: Path) -> None:
        """Loads the model and tokenizer of a checkpoint directory and starts the thread."""
        self.name = name
        self.model = Model.from_pretrained(checkpoint)
        self.tokenizer = Tokenizer.from_file(checkpoint)
        self.batch = generation_engine.Engine(self.model)
        self._template = load_template(checkpoint)
        self._specials = frozenset(self.tokenizer.special_tokens.values())
        self._queue: queue.Queue[Request | None] = queue.Queue(QUEUE_LENGTH)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"gristlm-{name}", daemon=True)
        self._thread.start()

    @property
    def room(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        return self.model.config.max_seq_len

    def encode(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Returns the prompt ids of a conversation."""
        return encode_prompt(self.tokenizer, messages, self._template)

    def check(self, prompt: Sequence[int], *, answer: bool = True) -> None:
        """Refuses a prompt that cannot be computed.

        Raises:
            ContextLengthError: it leaves no room for a token of an `answer`, or is itself too long.
            InputError: it is empty or has an id that is not in the vocabulary.
        """
        if not prompt:
            raise InputError("the prompt is empty; it needs at least one token")
        if len(prompt) + answer > self.room:
            raise ContextLengthError(
                f"the prompt has {len(prompt):,} tokens; {self.name} takes at most {self.room - answer:,}"
            )
        vocab_size = self.tokenizer.vocab_size
        if min(prompt) < 0 or max(prompt) >= vocab_size:
            raise InputError(f"the prompt has a token id outside 0 to {vocab_size - 1:,}")

    def token_text(self, token: int) -> str:
        r"""Returns a token's text; one that is no whole text reads `bytes:\xe2\x80`."""
        data = self.tokenizer.id_to_bytes(token)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)

    def submit(self, request: Request) -> None:
        """Queues a request whose prompt was checked.

        Raises:
            QueueFullError: too many are waiting.
        """
        try:
            self._queue.put_nowait(request)
        except queue.Full:
            raise QueueFullError from None

    def close(self) -> None:
        """Ends the thread after the token that it is at; Python must not end while torch computes."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # wakes it
        self._thread.join()

    def _work(self) -> None:
        active: dict[int, _Answer] = {}
        while not self._closing.is_set():
            while len(active) < MAX_ACTIVE and (not active or not self._queue.empty()):
                request = self._queue.get()
                if request is None:
                    return
                self._start(request, active)
            for handle in [handle for handle, answer in active.items() if answer.request.cancelled.is_set()]:
                self.batch.cancel(handle)
                del active[handle]
            try:
                for event in self.batch.step() if active else ():
                    self._take(event, active)
            except Exception as error:  # of the whole batch: what it had made of each request is lost
                logger.exception("%s failed", self.name)
                for answer in active.values():
                    answer.request.sink(Piece(error=f"{type(error).__name__}: {error}"))
                active.clear()
                self.batch = generation_engine.Engine(self.model)

    def _start(self, request: Request, active: dict[int, _Answer]) -> None:
        answer = _Answer(request, self.tokenizer)
        limit = min(request.max_tokens, self.room - len(request.prompt))
        if request.cancelled.is_set():
            return
        try:
            if not limit:
                scored = request.score_prompt and request.num_likeliest is not None
                scores = score(self.model, request.prompt, 0, request.num_likeliest or 0) if scored else ()
                request.sink(Piece(reason="length", scores=tuple(scores)))
                return
            how = Sampling(limit, request.temperature, request.top_k, request.top_p, request.min_p)
            likeliest = request.num_likeliest
            if request.score_prompt and likeliest is not None:
                request.sink(Piece(scores=tuple(score(self.model, request.prompt, 0, likeliest))))
            wanted = generation_engine.Request(request.prompt, how, request.seed, request.sample, likeliest)
            active[self.batch.add(wanted)] = answer
        except Exception as error:
            logger.exception("a request to %s failed", self.name)
            request.sink(Piece(error=f"{type(error).__name__}: {error}"))

    def _take(self, event: generation_engine.Event, active: dict[int, _Answer]) -> None:
        answer = active.get(event.handle)
        if answer is None:
            return
        known = event.token < self.tokenizer.vocab_size  # a model's vocabulary may be padded beyond its tokenizer's
        scored = event.scored
        scores = () if scored is None else (Score(event.token, scored.logprob, scored.likeliest),)
        answer.request.sink(answer.push(event.token, scores, shown=known and event.token not in self._specials))
        if answer.cut.found or event.finish_reason is not None:
            self.batch.cancel(event.handle)
            del active[event.handle]
            self._finish(answer, "stop" if answer.cut.found else event.finish_reason or "stop")

    def _finish(self, answer: _Answer, reason: Literal["stop", "length"]) -> None:
        rest = answer.rest()
        answer.request.sink(Piece(rest, reason="stop" if answer.cut.found else reason))
