"""The API: what it answers is what the model says, in the shapes that clients read."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

from gristlm.model import Model  # noqa: E402
from gristlm.serve.engine import MAX_ACTIVE, QUEUE_LENGTH, QueueFullError, Request  # noqa: E402
from gristlm.tokenize import Tokenizer  # noqa: E402
from gristlm.training.chat_prompt import encode_prompt  # noqa: E402

ASKED = [{"role": "user", "content": "Is number 7 even? 日本語"}]


def ask(api: Any, path: str = "/v1/chat/completions", **body: object) -> Any:
    default: dict[str, object] = {"model": "tiny", "max_tokens": 12, "seed": 3}
    if "chat" in path:
        default["messages"] = ASKED
    return api.client.post(path, json=default | body, headers=api.owner())


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_answer_is_what_the_model_generates(api: Any, checkpoint: Path) -> None:
    model, tokenizer = Model.from_pretrained(checkpoint), Tokenizer.from_file(checkpoint)
    prompt = encode_prompt(tokenizer, ASKED)
    (made,) = model.generate([prompt], max_new_tokens=12, seed=3)[0]
    answer = ask(api, return_token_ids=True).json()
    choice = answer["choices"][0]
    assert choice["token_ids"] == made.tokens
    assert choice["prompt_token_ids"] == prompt
    specials = set(tokenizer.special_tokens.values())
    assert choice["message"]["content"] == tokenizer.decode([token for token in made.tokens if token not in specials])
    assert choice["finish_reason"] == made.finish_reason
    assert answer["usage"] == {
        "prompt_tokens": len(prompt),
        "completion_tokens": len(made.tokens),
        "total_tokens": len(prompt) + len(made.tokens),
    }


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_says_what_the_whole_says(api: Any, path: str) -> None:
    extra: dict[str, object] = {"n": 3, "max_tokens": 30} | (
        {} if "chat" in path else {"prompt": ["Number", "even 🙂"]}
    )
    whole = ask(api, path, **extra).json()
    streamed = events(ask(api, path, stream=True, stream_options={"include_usage": True}, **extra).text)
    texts, reasons = [""] * len(whole["choices"]), [None] * len(whole["choices"])
    for event in streamed[:-1]:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "") if "chat" in path else choice["text"]
        reasons[choice["index"]] = choice["finish_reason"] or reasons[choice["index"]]
    assert texts == [c["message"]["content"] if "chat" in path else c["text"] for c in whole["choices"]]
    assert len(set(texts)) > 1
    assert reasons == [choice["finish_reason"] for choice in whole["choices"]]
    assert streamed[-1]["choices"] == []
    assert streamed[-1]["usage"] == whole["usage"]


def test_without_a_seed_answers_differ_and_with_one_they_repeat(api: Any) -> None:
    def said(**body: object) -> str:
        return str(ask(api, max_tokens=24, **body).json()["choices"][0]["message"]["content"])

    assert said(seed=5) == said(seed=5)
    assert said(seed=None) != said(seed=None)
    assert said(temperature=0, seed=1) == said(temperature=0, seed=2)


def test_a_stop_string_ends_the_text_before_it(api: Any) -> None:
    whole = ask(api, "/v1/completions", prompt="Number", max_tokens=40).json()["choices"][0]["text"]
    stop = whole[10:13]
    for stream in (False, True):
        answer = ask(api, "/v1/completions", prompt="Number", max_tokens=40, stop=stop, stream=stream)
        if stream:
            choices = [event["choices"][0] for event in events(answer.text)]
            text, reason = "".join(choice["text"] for choice in choices), choices[-1]["finish_reason"]
        else:
            text, reason = (answer.json()["choices"][0][name] for name in ("text", "finish_reason"))
        assert text == whole[: whole.index(stop)]
        assert reason == "stop"


def test_echo_scores_a_text_as_the_model_does(api: Any, checkpoint: Path) -> None:
    model, tokenizer = Model.from_pretrained(checkpoint), Tokenizer.from_file(checkpoint)
    ids = tokenizer.encode("Number 12 is even. 🦊")
    body = {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 2}
    choice = ask(api, "/v1/completions", **body).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"] == tokenizer.decode(ids)
    with torch.no_grad():
        wanted = model.token_logprobs(torch.tensor([ids[:-1]]), torch.tensor([ids[1:]]))[0]
        best = model(torch.tensor([ids[:-1]])).log_softmax(-1).max(-1).values[0]
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["token_logprobs"][1:] == pytest.approx(wanted.tolist(), abs=1e-4)
    assert logprobs["top_logprobs"][0] is None
    assert [max(top.values()) for top in logprobs["top_logprobs"][1:]] == pytest.approx(best.tolist(), abs=1e-4)
    assert [len(top) for top in logprobs["top_logprobs"][1:]] == [2] * (len(ids) - 1)
    assert any(token.startswith("bytes:\\x") for token in logprobs["tokens"])


def test_the_tokens_of_an_answer_come_with_their_logprobs(api: Any, checkpoint: Path) -> None:
    choice = ask(api, logprobs=True, top_logprobs=3, return_token_ids=True).json()["choices"][0]
    model = Model.from_pretrained(checkpoint)
    ids, made = choice["prompt_token_ids"] + choice["token_ids"], len(choice["token_ids"])
    with torch.no_grad():
        wanted = model.token_logprobs(torch.tensor([ids[:-1]]), torch.tensor([ids[1:]]))[0, -made:]
    content = choice["logprobs"]["content"]
    assert [entry["logprob"] for entry in content] == pytest.approx(wanted.tolist(), abs=1e-4)
    assert all(len(entry["top_logprobs"]) == 3 for entry in content)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"model": "gpt-9"}, 404, "tiny"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "text"),
        ({"messages": [{"role": "user", "content": "even " * 500}]}, 400, "at most"),
        ({"temperature": -1}, 400, "temperature"),
        ({"n": 17}, 400, "n"),
        ({"top_p": 0}, 400, "top_p"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"stop": ["a"] * 5}, 400, "stop"),
    ],
)
def test_what_cannot_be_done_is_said(api: Any, body: dict[str, object], status: int, said: str) -> None:
    response = ask(api, **body)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]


def test_a_completion_takes_only_ids_that_exist(api: Any) -> None:
    for prompt in ([], [10**6], [-1], [[]], "", [1.5], [["a"]]):
        assert ask(api, "/v1/completions", prompt=prompt).status_code == 400, prompt
    too_long = ask(api, "/v1/completions", prompt=[1] * 256)
    assert too_long.json()["error"]["code"] == "context_length_exceeded"
    assert ask(api, "/v1/completions", prompt=[1] * 256, max_tokens=0, echo=True, logprobs=0).status_code == 200


def test_text_that_looks_like_a_special_token_is_text(api: Any, checkpoint: Path) -> None:
    special = Tokenizer.from_file(checkpoint).special_tokens["<|im_end|>"]
    messages = [{"role": "user", "content": "<|im_end|>"}]
    ids = ask(api, messages=messages, return_token_ids=True).json()["choices"][0]["prompt_token_ids"]
    assert ids.count(special) == 1
    developer = [{"role": "developer", "content": [{"type": "text", "text": "Be brief."}]}, *messages]
    assert ask(api, messages=developer).status_code == 200


def test_models_and_health(api: Any) -> None:
    listed = api.client.get("/v1/models", headers=api.owner()).json()["data"]
    assert [model["id"] for model in listed] == ["tiny"]
    assert api.client.get("/v1/models/tiny", headers=api.owner()).json() == listed[0]
    assert api.client.get("/v1/models/nowhere", headers=api.owner()).status_code == 404
    assert api.client.get("/health").json() == {"status": "ok"}


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_answer(slow: Any, stream: bool) -> None:
    server, engine = slow
    engine.batch.held_from = 200
    body = {"model": "tiny", "messages": ASKED, "max_tokens": 200, "stream": stream}
    address = urllib.parse.urlsplit(server.url)
    client = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    headers = {**server.owner(), "Content-Type": "application/json"}
    client.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    if stream:
        response = client.getresponse()
        assert response.readline().startswith(b"data: ")
    until(lambda: engine.batch.made > 0)
    if stream:
        response.close()
    client.close()
    until(lambda: engine.batch.active == 0)  # it would wait for its second token without end
    assert engine.batch.made == 1


def test_a_short_answer_does_not_wait_for_a_long_one(slow: Any) -> None:
    server, engine = slow
    engine.batch.held_from = 150
    long = threading.Thread(target=lambda: ask(server, max_tokens=150))
    long.start()
    until(lambda: engine.batch.active == 1)
    assert ask(server, max_tokens=3).json()["usage"]["completion_tokens"] == 3
    assert long.is_alive()
    engine.batch.held_from = None
    long.join()


def test_the_first_token_of_a_stream_arrives_before_the_second_is_made(slow: Any) -> None:
    server, engine = slow
    engine.batch.held_from = 2
    body = {"model": "tiny", "messages": ASKED, "max_tokens": 9, "stream": True, "return_token_ids": True}
    with (
        httpx.Client(base_url=server.url, headers=server.owner(), timeout=60) as client,
        client.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = response.iter_lines()
        first = next(line for line in lines if '"token_ids"' in line)
        assert engine.batch.made == 1
        engine.batch.held_from = None
        rest = [line for line in lines if '"token_ids"' in line]
    assert [token for line in [first, *rest] for token in json.loads(line[6:])["choices"][0]["token_ids"]] == [65] * 9


def test_too_many_requests_are_sent_away_and_the_rest_is_answered(slow: Any) -> None:
    server, engine = slow
    engine.batch.held_from = 4
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server, n=16, max_tokens=4))) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: answers)  # who is sent away hears it at once
    engine.batch.held_from = None
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert ask(server, max_tokens=1).status_code == 200


def test_a_model_that_breaks_answers_with_an_error_and_lives_on(slow: Any, caplog: pytest.LogCaptureFixture) -> None:
    server, engine = slow
    engine.batch.failing = True
    assert ask(server).status_code == 500
    assert "the model broke" in ask(server, stream=True).text
    engine.batch.failing = False
    assert ask(server).status_code == 200
    assert "the model broke" in caplog.text


def test_the_queue_is_bounded(slow: Any) -> None:
    _, engine = slow
    engine.batch.held_from = 100
    gate = threading.Event()
    accepted = 0
    with contextlib.suppress(QueueFullError):
        while accepted < 200:
            engine.submit(Request([1], 100, lambda piece: None, cancelled=gate))
            accepted += 1
    gate.set()
    assert QUEUE_LENGTH <= accepted <= QUEUE_LENGTH + MAX_ACTIVE


def test_streamed_logprobs_and_echo_are_those_of_the_whole(api: Any) -> None:
    for path, extra in (
        ("/v1/chat/completions", {"logprobs": True, "top_logprobs": 2}),
        ("/v1/completions", {"prompt": "Number", "logprobs": 2, "echo": True}),
    ):
        whole = ask(api, path, **extra).json()["choices"][0]
        choices = [event["choices"][0] for event in events(ask(api, path, stream=True, **extra).text)]
        parts = [choice["logprobs"] for choice in choices if choice["logprobs"]]
        assert whole["logprobs"] is not None
        for name, value in whole["logprobs"].items():
            assert value == (None if value is None else [one for part in parts for one in part[name]])
        if "chat" not in path:
            assert "".join(choice["text"] for choice in choices) == whole["text"]


def test_requests_are_made_in_one_batch(slow: Any) -> None:
    server, engine = slow
    engine.batch.held_from = 25
    threads = [threading.Thread(target=lambda: ask(server, max_tokens=25)) for _ in range(16)]
    for thread in threads:
        thread.start()
    until(lambda: engine.batch.most_together == 16)
    engine.batch.held_from = None
    for thread in threads:
        thread.join()
    assert engine.batch.made == 16 * 25
