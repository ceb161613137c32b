"""The bodies of requests, as OpenAI's clients send them.

What would change the answer and is not done here is refused, not ignored; what only tells the server something about
the client (`user`, `metadata`, `store`, …) is ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NOT_DONE = (
    "tools", "functions", "tool_choice", "function_call", "logit_bias", "presence_penalty", "frequency_penalty",
    "audio", "modalities", "prediction", "suffix", "web_search_options",
)  # fmt: skip
_HARMLESS: tuple[object, ...] = (None, 0, [], {}, ["text"], "none", "auto", "")
MAX_CHARACTERS = 400_000


def _joined(content: object) -> object:
    """Text parts joined; None is what clients send for an empty message."""
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
            raise ValueError("only parts of type 'text' are understood")
        return "".join(map(str, texts))
    return content


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Annotated[
        Literal["system", "user", "assistant"], BeforeValidator(lambda role: "system" if role == "developer" else role)
    ]
    content: Annotated[str, BeforeValidator(_joined)] = Field(default="", max_length=MAX_CHARACTERS)


class StreamOptions(BaseModel):
    """What a stream carries beside text."""

    include_usage: bool = False


class Sampling(BaseModel):
    """What both kinds of completion share. A null means the default."""

    model_config = ConfigDict(extra="ignore")
    model: str
    max_tokens: int | None = Field(default=None, ge=0)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    n: int = Field(default=1, ge=1, le=16)
    stop: Annotated[list[str], BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop)] = Field(
        default=[], max_length=4
    )
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    """Beside each text, the ids it was decoded from (`token_ids`), and the prompt's (`prompt_token_ids`)."""

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_done(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            raise ValueError("the body must be a JSON object")
        for name in NOT_DONE:
            if body.get(name) not in _HARMLESS:
                raise ValueError(f"{name} is not supported here; leave it out")
        form = body.get("response_format")
        if form is not None and form != {"type": "text"}:
            raise ValueError("response_format may only be {'type': 'text'} here")
        return {name: value for name, value in body.items() if value is not None}


class ChatRequest(Sampling):
    """The body of /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=1000)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)


class CompletionRequest(Sampling):
    """The body of /v1/completions."""

    prompt: str | list[int] | list[str] | list[list[int]] = Field(max_length=MAX_CHARACTERS)
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=20)

    def prompts(self) -> list[str] | list[list[int]]:
        """Returns the prompts, whether one was sent or several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return cast("list[list[int]]", [self.prompt])
        return cast("list[str] | list[list[int]]", self.prompt)
