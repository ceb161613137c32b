"""A judge on the loopback: verdicts, garbage, failures, the budget, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("pydantic")

from judge_server import Reply, Server

from gristlm.errors import TrainingError
from gristlm.verify.judge import Judge, JudgeConfig

PROMPT = [{"role": "user", "content": "What is 2 + 2?"}]


@pytest.fixture
def served() -> Iterator[Callable[[Reply], Server]]:
    servers: list[Server] = []

    def start(reply: Reply) -> Server:
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def judge(server: Server, folder: Path, pauses: list[float] | None = None, **more: object) -> Judge:
    config = JudgeConfig(endpoint=f"http://127.0.0.1:{server.port}/v1", model="m", concurrency=2, **more)
    return Judge(config, folder, pause=(pauses if pauses is not None else []).append)


def by_answer(body: dict[str, object], number: int) -> str:
    good = body["messages"][1]["content"].endswith("4")  # type: ignore[index]
    return f"Let me see. Score: 3? No.\nScore: {10 if good else 1}"


def test_scores_from_nought_to_one_each_asked_once(served, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GRISTLM_JUDGE_KEY", "secret")
    server = served(by_answer)
    one = judge(server, tmp_path, rubric="Is it right?")
    assert one.score([PROMPT] * 3, ["4", "5", "It is 4"]).tolist() == [1.0, 0.0, 1.0]
    assert len(server.asked) == 3
    system = server.asked[0]["messages"][0]["content"]
    assert system.startswith("Is it right?")
    assert "Score: N, a number from 1 (worst) to 10 (best)" in system
    assert set(server.headers) == {"Bearer secret"}
    again = judge(server, tmp_path, rubric="Is it right?")  # another process
    assert again.score([PROMPT] * 2, ["4", "5"]).tolist() == [1.0, 0.0]
    assert len(server.asked) == 3
    assert again.counts() == {"calls": 3, "tokens": 30, "garbage": 0, "retries": 0}
    judge(server, tmp_path, rubric="Another").score([PROMPT], ["4"])
    assert len(server.asked) == 4
    assert "secret" not in (tmp_path / "judge.jsonl").read_text()


def test_a_torn_line_is_asked_again(served, tmp_path) -> None:
    server = served(by_answer)
    judge(server, tmp_path).score([PROMPT] * 2, ["4", "5"])
    file = tmp_path / "judge.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    assert judge(server, tmp_path).score([PROMPT] * 2, ["4", "5"]).tolist() == [1.0, 0.0]
    assert len(server.asked) == 3
    judge(server, tmp_path).score([PROMPT] * 2, ["4", "5"])
    assert len(server.asked) == 3


@pytest.mark.parametrize("garbage", ["", "I like it", "Score: eleven", "Score: 11", "Score: -1", "score" * 10_000])
def test_garbage_is_asked_again_and_counted(served, tmp_path, garbage: str) -> None:
    server = served(lambda body, number: garbage)
    one = judge(server, tmp_path, asks=3, no_verdict_score=0.25)
    assert one.score([PROMPT], ["4"]).tolist() == [0.25]
    assert one.counts()["garbage"] == 1
    assert [body["seed"] for body in server.asked] == [0, 1, 2]


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"choices": []}', b'{"choices": [{}]}', b"x" * (2 << 20)])
def test_a_broken_server_is_tried_again_with_pauses_and_then_named(served, tmp_path, broken: bytes) -> None:
    server = served(lambda body, number: broken)
    pauses: list[float] = []
    with pytest.raises(TrainingError, match=r"judge at http://127\.0\.0\.1:\d+/v1 gives no reply"):
        judge(server, tmp_path, pauses, retries=3).score([PROMPT], ["4"])
    assert pauses == [0.5, 1.0, 2.0]


def test_a_busy_server_says_how_long_to_wait(served, tmp_path) -> None:
    server = served(lambda body, number: (429, 503, "Score: 10")[min(number, 3) - 1])
    pauses: list[float] = []
    one = judge(server, tmp_path, pauses)
    assert one.score([PROMPT], ["4"]).tolist() == [1.0]
    assert pauses == [7.0, 1.0]
    assert one.counts()["retries"] == 2


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_what_will_not_get_better_is_not_tried_again(served, tmp_path, status: int) -> None:
    server = served(lambda body, number: status)
    with pytest.raises(TrainingError, match=f"HTTP {status}"):
        judge(server, tmp_path).score([PROMPT], ["4"])
    assert len(server.asked) == 1


def test_a_silent_server_times_out(tmp_path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = JudgeConfig(
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", model="m", timeout_seconds=0.2, retries=1
        )
        with pytest.raises(TrainingError, match=r"no reply: .*[Tt]ime"):
            Judge(config, tmp_path, pause=lambda seconds: None).score([PROMPT], ["4"])


def test_the_budget_ends_it(served, tmp_path) -> None:
    server = served(by_answer)
    with pytest.raises(TrainingError, match="max_calls = 2"):
        judge(server, tmp_path / "a", max_calls=2).score([PROMPT] * 3, ["4", "5", "6"])
    assert len(server.asked) == 2
    judge(server, tmp_path / "a", max_calls=2).score([PROMPT] * 2, ["4", "5"])  # kept: costs nothing
    with pytest.raises(TrainingError, match="max_tokens = 15"):
        judge(server, tmp_path / "b", max_tokens=15).score([PROMPT] * 9, list("123456789"))


def test_preferences_are_asked_in_both_orders(served, tmp_path) -> None:
    def longer(body: dict[str, object], number: int) -> str:
        a, b = body["messages"][1]["content"].split("[answer A]\n")[1].split("\n\n[answer B]\n")  # type: ignore[index]
        return "Better: tie" if len(a) == len(b) else f"Better: {'A' if len(a) > len(b) else 'B'}"

    assert judge(served(longer), tmp_path / "a").prefer(
        [PROMPT] * 3, ["aaa", "a", "b"], ["b", "bbb", "a"]
    ).tolist() == [
        1.0,
        0.0,
        0.5,
    ]
    server = served(lambda body, number: "Better: A")
    biased = judge(server, tmp_path / "b")
    assert biased.prefer([PROMPT], ["x"], ["y"]).tolist() == [0.5]
    asked = len(server.asked)
    assert biased.prefer([PROMPT, PROMPT], ["z", "x"], ["z", "x"]).tolist() == [0.5, 0.5]
    assert len(server.asked) == asked  # two equal answers are no question


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        JudgeConfig(endpoint="ftp://x", model="m")
    with pytest.raises(ValueError, match="rubrik"):
        JudgeConfig(endpoint="http://x", model="m", rubrik="x")
