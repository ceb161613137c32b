"""Every option of `serve`, `label` and `report --serve`, as processes that people start."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_processes import gristlm, labelling, serving_process

pytest.importorskip("torch")
httpx = pytest.importorskip("httpx")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sessions are kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_serve_under_another_name_keeps_sessions_over_a_restart(checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("serve", checkpoint, "--allow-host", "models.example", "--feedback", tmp_path / "judged")
    with serving_process(*arguments, "--host", "0.0.0.0") as (process, url, token):
        port = url.rsplit(":", 1)[1]
        with httpx.Client(base_url=url, timeout=30) as client:
            page = client.get(f"/?token={token}", follow_redirects=True)
            cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
            csrf = re.findall(r'name="csrf-token" content="([^"]+)"', page.text)[0]
            key = {"Authorization": f"Bearer {token}"}
            assert client.get("/v1/models", headers={**key, "Host": "models.example"}).status_code == 200
            assert client.get("/v1/models", headers={**key, "Host": "other.example"}).status_code == 403
        process.kill()
    with serving_process(*arguments, "--port", port) as (_, url, _), httpx.Client(base_url=url, timeout=30) as client:
        sent = {"Cookie": cookies, "X-CSRF-Token": csrf}
        said = {"prompt": [{"role": "user", "content": "hi"}], "model": "tiny", "answer": "a", "good": True}
        judged = {"kind": "rating", "id": "0" * 24, **said}
        assert client.post("/api/feedback", json=judged, headers=sent).status_code == 200
    assert json.loads((tmp_path / "judged" / "ratings.jsonl").read_text())["label"] is True


def test_label_with_everything(checkpoint: Path, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    project, rollouts = tmp_path / "project", tmp_path / "rollouts"
    rollouts.mkdir()
    made = [
        {"step": step, "prompt": "P", "completion": text, "reward": reward}
        for step in range(5)
        for text, reward in ((f"good {step}", 1.0), (f"bad {step}", 0.0))
    ]
    pq.write_table(pa.Table.from_pylist(made), rollouts / "part-0.parquet")
    given = lines(tmp_path / "pairs.jsonl", [{"prompt": f"P{n}", "a": f"A{n}", "b": f"B{n}"} for n in range(3)])
    gold = lines(tmp_path / "gold.jsonl", [{"prompt": "G", "chosen": "right", "rejected": "wrong"}])
    (tmp_path / "rules.md").write_text("# Rules")
    from gristlm.rlhf import RewardConfig, train_reward

    preferences = lines(tmp_path / "known.jsonl", [{"prompt": "P", "chosen": "yes", "rejected": "no"}] * 4)
    how = RewardConfig(epochs=1, global_batch_size=4, num_threads=1)
    train_reward(how, {"checkpoint": checkpoint, "data": preferences}, tmp_path / "reward")
    arguments = (
        *(project, "--pairs", given, "--gold", gold, "--rollouts", rollouts, "--limit", "2", "--overlap", "2"),
        *("--guidelines", tmp_path / "rules.md", "--reward-model", tmp_path / "reward" / "final"),
        *("--host", "127.0.0.1", "--allow-host", "labels.example"),
    )
    for name, role in (("ada", "annotator"), ("eve", "manager")):
        done = gristlm("label", project, "--add-annotator", name, "--role", role, GRISTLM_PASSWORD="correct horse")
        assert done.returncode == 0, done.stderr
    with labelling(*arguments) as (_, url, token), httpx.Client(base_url=url, timeout=30) as client:
        key = {"Authorization": f"Bearer {token}", "Host": "labels.example"}
        progress = client.get("/api/progress", headers=key).json()
        assert (progress["progress"]["pairs"], progress["overlap"]) == (6, 2)  # three, two of rollouts, one gold
        assert client.get("/api/guidelines", headers=key).json()["guidelines"] == "# Rules"
        csrf = re.findall(r'name="csrf-token" content="([^"]+)"', client.get("/").text)[0]
        client.headers["X-CSRF-Token"] = csrf
        client.post("/api/login", json={"name": "ada", "password": "correct horse"}).raise_for_status()
        pair = client.get("/api/next").json()["pair"]["id"]
        client.post("/api/vote", json={"pair": pair, "choice": "left"}).raise_for_status()
    file = tmp_path / "all.parquet"
    assert gristlm("label", project, "--export", file, "--all-votes").returncode == 0
    other = tmp_path / "other"
    done = gristlm("label", other, "--import", file)
    assert "1 votes added" in done.stdout, done.stderr
    assert "0 votes added" in gristlm("label", other, "--import", file).stdout
    ratings = tmp_path / "ratings.jsonl"
    assert "0 ratings" in gristlm("label", other, "--export", ratings, "--ratings").stdout
    assert gristlm("label", other, "--export", ratings, "--import", file).returncode == 2


def test_the_live_report_of_a_run(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "pretrain" / "checkpoints" / "step-00000005"
    shutil.copytree(checkpoint, folder)
    (folder / "manifest.json").write_text("{}")
    arguments = ("report", tmp_path / "run", "--serve", "--host", "127.0.0.1", "--allow-host", "report.example")
    with serving_process(*arguments) as (process, url, token):
        key = {"Authorization": f"Bearer {token}", "Host": "report.example"}
        with httpx.Client(base_url=url, headers=key, timeout=30) as client:
            for _ in range(200):
                if samples := client.get("/api/samples").json()["samples"]:
                    break
            assert [(one["stage"], one["step"]) for one in samples] == [("pretrain", 5)] * 3
            assert "Samples as it trains" in client.get("/").text
        process.terminate()
        assert process.wait(30) == 0
