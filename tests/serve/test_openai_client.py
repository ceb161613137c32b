"""The official client, as its users use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

openai = pytest.importorskip("openai")
pytest.importorskip("torch")

ASKED: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is number 7 even?"}]


@pytest.fixture
def client(api: Any) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{api.url}/v1", api_key=api.access.token, max_retries=0, timeout=60) as client:
        yield client


def test_a_chat_and_its_stream(client: Any) -> None:
    how = {"model": "tiny", "messages": ASKED, "max_tokens": 20, "seed": 1, "temperature": 0.8, "top_p": 0.9}
    whole = client.chat.completions.create(**how, logprobs=True, top_logprobs=2)
    assert whole.choices[0].message.role == "assistant"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert len(whole.choices[0].logprobs.content) == whole.usage.completion_tokens
    chunks = list(client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
        whole.choices[0].message.content
    )
    assert chunks[-1].usage == whole.usage
    assert chunks[0].choices[0].delta.role == "assistant"


def test_a_stream_may_be_left(client: Any) -> None:
    with client.chat.completions.create(model="tiny", messages=ASKED, max_tokens=200, stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(model="tiny", messages=ASKED, max_tokens=2).usage.completion_tokens <= 2


def test_completions(client: Any) -> None:
    answer = client.completions.create(model="tiny", prompt=["Number", "Is"], n=2, max_tokens=5, echo=True, logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [
        choice.text.startswith(start) for choice, start in zip(answer.choices, ["Number"] * 2 + ["Is"] * 2, strict=True)
    ]
    assert answer.choices[0].logprobs.token_logprobs[0] is None


def test_models_and_errors(client: Any, api: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.chat.completions.create(model="other", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model="tiny", messages=ASKED, temperature=9)
    with (
        openai.OpenAI(base_url=f"{api.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError, match="token"),
    ):
        stranger.models.list()


def test_several_answers_stop_and_seed(client: Any) -> None:
    how: Any = {"model": "tiny", "messages": ASKED, "max_tokens": 16, "seed": 3, "temperature": 1.0}
    several = client.chat.completions.create(**how, n=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert several == several.model_copy(update={"choices": client.chat.completions.create(**how, n=3).choices})
    text = several.choices[0].message.content
    cut = text[len(text) // 2 :][:3]
    stopped = client.chat.completions.create(**how, stop=[cut])
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.choices[0].message.content == text[: text.index(cut)]
    short = client.chat.completions.create(**{**how, "max_tokens": 1})
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 1)


def test_logprobs_come_with_each_token_of_a_stream(client: Any) -> None:
    how: Any = {"model": "tiny", "messages": ASKED, "max_tokens": 12, "temperature": 0, "logprobs": True}
    whole = client.chat.completions.create(**how, top_logprobs=3).choices[0].logprobs.content
    chunks = client.chat.completions.create(**how, top_logprobs=3, stream=True)
    parts = [chunk.choices[0].logprobs.content for chunk in chunks if chunk.choices and chunk.choices[0].logprobs]
    assert [one for part in parts for one in part] == whole
    assert all(one.top_logprobs[0].token == one.token for one in whole)  # greedy


def test_token_ids_go_in_and_come_out(client: Any) -> None:
    given = [40, 41, 42]
    answer = client.completions.create(
        model="tiny", prompt=given, max_tokens=4, temperature=0, extra_body={"return_token_ids": True, "top_k": 1}
    )
    assert answer.choices[0].prompt_token_ids == given
    assert len(answer.choices[0].token_ids) == answer.usage.completion_tokens == 4
    scored = client.completions.create(model="tiny", prompt=given, max_tokens=0, echo=True, logprobs=1)
    assert len(scored.choices[0].logprobs.token_logprobs) == 3
    assert scored.usage.completion_tokens == 0


def test_content_parts_and_old_and_new_names(client: Any) -> None:
    parts: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Is number "}, {"type": "text", "text": "7 even?"}]},
    ]
    how: Any = {"model": "tiny", "temperature": 0, "user": "somebody", "metadata": {"a": "b"}}
    one = client.chat.completions.create(**how, messages=parts, max_completion_tokens=8)
    other = client.chat.completions.create(**how, messages=ASKED, max_tokens=8)
    assert one.choices[0].message.content == other.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(**how, messages=ASKED, tools=[{"type": "function", "function": {"name": "f"}}])
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**how, messages=[{"role": "user", "content": "word " * 5000}])
    assert caught.value.code == "context_length_exceeded"


def test_a_full_queue_is_a_rate_limit(slow: Any) -> None:
    server, engine = slow
    engine.batch.held_from = 5
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.access.token, max_retries=0) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.completions.create(model="tiny", prompt=["a"] * 20, n=16, max_tokens=5)
    assert int(caught.value.response.headers["retry-after"]) > 0


async def _many(url: str, key: str) -> tuple[list[str], list[str]]:
    import asyncio

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:

        async def streamed(seed: int) -> str:
            stream = await client.chat.completions.create(
                model="tiny", messages=ASKED, max_tokens=16, seed=seed, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        together = await asyncio.gather(*(streamed(seed) for seed in range(16)))
        return list(together), [await streamed(seed) for seed in range(16)]


def test_sixteen_streams_at_once_say_what_each_says_alone(api: Any) -> None:
    import asyncio

    together, alone = asyncio.run(_many(api.url, api.access.token))
    assert together == alone
