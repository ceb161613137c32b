"""The API that existing clients speak, /v1/chat/completions, /v1/completions and /v1/models, and the chat page."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gristlm.errors import InputError
from gristlm.serve import logprobs
from gristlm.serve.answer import Answer, Choice, GenerationError
from gristlm.serve.engine import Engine, QueueFullError
from gristlm.serve.feedback import Feedback, Preference, Rating
from gristlm.serve.logprobs import Score
from gristlm.serve.pages import add_errors, add_files, add_page
from gristlm.serve.requests import ChatRequest, CompletionRequest, Sampling
from gristlm.serve.security import Access, Guard, refusal

DEFAULT_CHAT_TOKENS = 256
DEFAULT_COMPLETION_TOKENS = 16
MAX_PROMPTS = 64
"""Prompts in one call of /v1/completions."""


FILES = ("chat.js", "conversations.js", "markdown.js", "page.js", "stream.js", "turn.js", "chat.css", "theme.css")


def create_app(engines: Mapping[str, Engine], access: Access, feedback: Feedback | None = None) -> ASGIApp:
    """Returns the application that serves `engines` by name to those whom `access` allows.

    Args:
        engines: a loaded checkpoint for each name.
        access: who may ask.
        feedback: where judgements of the chat page go; by default the folder `feedback`.
    """
    feedback = feedback or Feedback(Path("feedback"))
    app = FastAPI(title="gristlm", docs_url=None, redoc_url=None, openapi_url=None)
    add_errors(app)
    add_page(app, access, "/", "chat", "gristlm chat", style="chat.css")
    add_files(app, *FILES)

    @app.exception_handler(QueueFullError)
    async def _busy(_: Request, error: QueueFullError) -> Response:
        response = refusal(429, "too many requests are waiting; try again in a few seconds", "rate_limit_error")
        response.headers["Retry-After"] = "5"
        return response

    @app.exception_handler(GenerationError)
    async def _failed(_: Request, error: GenerationError) -> Response:
        return refusal(500, str(error), "server_error")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [_model(engine) for engine in engines.values()]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, object]:
        return _model(_engine(engines, name))

    @app.post("/api/feedback")
    def judge(body: Annotated[Rating | Preference, Body(discriminator="kind")]) -> dict[str, bool]:
        feedback.store(body)
        return {"stored": True}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(body: ChatRequest, request: Request) -> Response:
        engine = _engine(engines, body.model)
        messages = [{"role": message.role, "content": message.content} for message in body.messages]
        prompt = await asyncio.to_thread(engine.encode, messages)
        engine.check(prompt)
        num_likeliest = body.top_logprobs if body.logprobs else None
        max_tokens = body.max_completion_tokens or body.max_tokens or DEFAULT_CHAT_TOKENS
        answer = Answer(engine, [prompt], body, max_tokens, num_likeliest=num_likeliest)
        return await _Reply(engine, answer, body, chat=True).send(request)

    @app.post("/v1/completions", response_model=None)
    async def completions(body: CompletionRequest, request: Request) -> Response:
        engine = _engine(engines, body.model)
        max_tokens = DEFAULT_COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
        if not max_tokens and not body.echo:
            raise InputError("max_tokens is 0; without echo there would be nothing to return")
        given = body.prompts()
        if not 1 <= len(given) <= MAX_PROMPTS:
            raise InputError(f"prompt has {len(given):,} prompts; it may have 1 to {MAX_PROMPTS}")
        prompts = [engine.tokenizer.encode(one) if isinstance(one, str) else one for one in given]
        for prompt in prompts:
            engine.check(prompt, answer=max_tokens > 0)
        answer = Answer(engine, prompts, body, max_tokens, num_likeliest=body.logprobs, score_prompt=body.echo)
        return await _Reply(engine, answer, body, chat=False, echo=body.echo).send(request)

    return Guard(app, access)


def _engine(engines: Mapping[str, Engine], name: str) -> Engine:
    if name not in engines:
        raise HTTPException(404, f"there is no model {name[:200]!r}; there is {', '.join(engines)}")
    return engines[name]


def _model(engine: Engine) -> dict[str, object]:
    return {"id": engine.name, "object": "model", "created": 0, "owned_by": "gristlm", "max_model_len": engine.room}


class _Reply:
    """One answer in the words of one of the two endpoints."""

    def __init__(self, engine: Engine, answer: Answer, body: Sampling, *, chat: bool, echo: bool = False) -> None:
        self._engine, self._answer, self._body, self._chat, self._echo = engine, answer, body, chat, echo
        self._head: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": engine.name,
        }

    async def send(self, request: Request) -> Response:
        """Returns the response, or one that nobody will read if the client leaves first."""
        if self._body.stream:
            if self._chat:
                self._head["object"] = "chat.completion.chunk"
            return _Stream(self._answer, self._events())
        whole = asyncio.ensure_future(self._answer.whole())
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({whole, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not whole.done():
                return Response(status_code=499)
            choices = [self._choice(index, choice) for index, choice in enumerate(whole.result())]
        finally:
            self._answer.cancel()
            whole.cancel()
            gone.cancel()
        return JSONResponse({**self._head, "choices": choices, "usage": self._answer.usage})

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        prompt = self._answer.prompts[index // self._answer.n]
        body: dict[str, Any] = {"index": index, "finish_reason": choice.reason}
        if self._chat:
            body["message"] = {"role": "assistant", "content": choice.text, "refusal": None}
        else:
            body["text"] = (self._engine.tokenizer.decode(list(prompt)) if self._echo else "") + choice.text
        body["logprobs"] = self._logprobs(choice.scores)
        if self._body.return_token_ids:
            body |= {"token_ids": choice.tokens, "prompt_token_ids": list(prompt)}
        return body

    def _logprobs(self, scores: Sequence[Score], offset: int = 0) -> dict[str, object] | None:
        if not scores:
            return None
        name = self._engine.token_text
        if self._chat:
            return logprobs.for_chat(scores, name, self._engine.tokenizer.id_to_bytes)
        return logprobs.for_completion(scores, name, offset)

    async def _events(self) -> AsyncIterator[str]:
        """Yields server-sent events; a token's log-probabilities come when it does, its text perhaps later."""
        if self._chat:
            for index in range(len(self._answer.prompts) * self._answer.n):
                yield self._event(index, {"delta": {"role": "assistant", "content": ""}})
        for index in range(len(self._answer.prompts) * self._answer.n if self._echo else 0):
            prompt = list(self._answer.prompts[index // self._answer.n])
            ids = {"prompt_token_ids": prompt} if self._body.return_token_ids else {}
            yield self._event(index, {"text": self._engine.tokenizer.decode(prompt)} | ids)
        offsets = [0] * (len(self._answer.prompts) * self._answer.n)
        try:
            async for index, piece in self._answer.pieces():
                ids = {"token_ids": list(piece.tokens)} if self._body.return_token_ids else {}
                scores = self._logprobs(piece.scores, offsets[index])
                offsets[index] += sum(len(self._engine.token_text(score.token)) for score in piece.scores)
                if piece.text or scores or (ids and piece.tokens):
                    said = {"delta": {"content": piece.text}} if self._chat else {"text": piece.text}
                    yield self._event(index, {**said, **ids, "logprobs": scores})
                if piece.reason:
                    yield self._event(index, {"delta": {}} if self._chat else {"text": ""}, piece.reason)
        except GenerationError as error:
            yield _data({"error": {"message": str(error), "type": "server_error", "param": None, "code": None}})
            return
        if self._body.stream_options is not None and self._body.stream_options.include_usage:
            yield _data({**self._head, "choices": [], "usage": self._answer.usage})
        yield "data: [DONE]\n\n"

    def _event(self, index: int, said: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": index, "logprobs": None, **said, "finish_reason": reason}
        return _data({**self._head, "choices": [choice]})


class _Stream(StreamingResponse):
    """A stream of events that stops the engine however it ends."""

    def __init__(self, answer: Answer, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.cancel()


def _data(event: object) -> str:
    return f"data: {json.dumps(event)}\n\n"


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
