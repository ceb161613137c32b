"""`gristlm label` and `gristlm serve` as processes: killed while votes come in, interrupted while a model writes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("typer")
httpx = pytest.importorskip("httpx")

from gristlm.serve.label.project import Project  # noqa: E402

COUNT = 2000


def gristlm(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gristlm", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env=os.environ | environment,
    )  # fmt: skip


@contextlib.contextmanager
def labelling(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The process, its address and its token."""
    with serving_process("label", *arguments) as started:
        yield started


@contextlib.contextmanager
def serving_process(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    port = () if "--port" in arguments else ("--port", "0")
    command = [sys.executable, "-m", "gristlm", *map(str, arguments), *port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(r"(http://[^/]+)/\?token=(\S+)", line):
                    yield process, found[1], found[2]
                    break
        finally:
            process.kill()


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Prompt {n}", "a": f"A{n}", "b": f"B{n}"} for n in range(COUNT)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.6])
def test_kill_9_while_voting(tmp_path: Path, pairs_file: Path, seconds: float) -> None:
    path = tmp_path / "project"
    confirmed: dict[int, str] = {}
    asked: dict[int, str] = {}
    with labelling(path, "--pairs", pairs_file) as (process, url, token):
        headers = {"Authorization": f"Bearer {token}"}
        with (
            httpx.Client(base_url=url, headers=headers, timeout=30) as client,
            contextlib.suppress(httpx.TransportError),
        ):
            killer = threading.Timer(seconds, process.kill)
            killer.start()
            while shown := client.get("/api/next").json()["pair"]:
                pair = shown["id"]
                asked[pair] = f"reason {pair} " + "x" * 5000
                body = {"pair": pair, "choice": "left", "reason": asked[pair], "strength": 2}
                client.post("/api/vote", json=body).raise_for_status()
                confirmed[pair] = asked[pair]
        killer.join()
        assert len(confirmed) < COUNT
        assert process.wait(30) == -signal.SIGKILL
    project = Project(path)
    assert [tuple(row) for row in project.database.rows("PRAGMA integrity_check")] == [("ok",)]
    stored = {vote.pair: vote.reason for vote in project.votes()}
    assert confirmed.items() <= stored.items() <= asked.items()
    shown = project.next("owner")  # and on it goes
    assert shown is not None
    project.vote("owner", shown.id, "right")
    project.database.close()


def test_ctrl_c_is_how_it_ends_and_the_votes_are_exported(tmp_path: Path, pairs_file: Path) -> None:
    path, file = tmp_path / "project", tmp_path / "out" / "preferences.jsonl"
    with labelling(path, "--pairs", pairs_file) as (process, url, token):
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            for choice in ("left", "tie", "right"):
                pair = client.get("/api/next").json()["pair"]["id"]
                client.post("/api/vote", json={"pair": pair, "choice": choice}).raise_for_status()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    done = gristlm("label", path, "--export", file)
    assert done.returncode == 0, done.stderr
    assert "2 preferences; left out 1" in done.stdout
    assert len(file.read_text().splitlines()) == 2
    assert gristlm("label", path, "--export", file, "--all-votes").returncode == 0
    assert len(file.read_text().splitlines()) == 3


def test_ctrl_c_while_a_model_writes(checkpoint: Path) -> None:
    with serving_process("serve", checkpoint, checkpoint) as (process, url, token):
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny", "tiny-2"]
            body = {"model": "tiny-2", "prompt": "Number", "max_tokens": 250, "n": 16, "stream": True}
            with client.stream("POST", "/v1/completions", json=body) as response:
                next(response.iter_bytes())
                process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_annotators_are_added_with_a_password(tmp_path: Path, pairs_file: Path) -> None:
    path = tmp_path / "project"
    assert gristlm("label", path, "--add-annotator", "ada", GRISTLM_PASSWORD="short").returncode == 2
    assert gristlm("label", path, "--add-annotator", "a\nb", GRISTLM_PASSWORD="long enough").returncode == 2
    done = gristlm("label", path, "--add-annotator", "ada", GRISTLM_PASSWORD="correct horse")
    assert done.returncode == 0, done.stderr
    with labelling(path, "--pairs", pairs_file) as (_, url, _), httpx.Client(base_url=url, timeout=30) as client:
        page = client.get("/").text
        csrf = re.findall(r'name="csrf-token" content="([^"]+)"', page)[0]
        body = {"name": "ada", "password": "correct horse"}
        assert client.post("/api/login", json=body, headers={"X-CSRF-Token": csrf}).status_code == 200
        assert client.get("/api/next").json()["annotator"] == "ada"


def test_wrong_usage_is_said(tmp_path: Path) -> None:
    missing = gristlm("label", tmp_path / "nowhere")
    assert missing.returncode == 1
    assert "--pairs" in missing.stderr
    assert not (tmp_path / "nowhere").exists()
    assert gristlm("label", tmp_path / "p", "--pairs", tmp_path / "none.jsonl").returncode == 1
    assert gristlm("label", tmp_path / "p", "--prompts", tmp_path / "none.jsonl").returncode == 2
