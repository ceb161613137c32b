"""Gold questions, aspects, corrections, ratings of models, the order of the queue, older databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from gristlm.errors import FormatError, MissingArtifactError
from gristlm.serve.label import export
from gristlm.serve.label.pairs import Pair, read_gold, read_pairs
from gristlm.serve.label.project import GOLD_EVERY, Project, Vote
from gristlm.serve.label.queue import prioritise_by_disagreement, rollout_pairs
from gristlm.serve.label.ratings import ratings


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pairs(count: int, **fields: str) -> list[Pair]:
    return [
        Pair(said("user", f"P{n}"), said("assistant", f"A{n}"), said("assistant", f"B{n}"), **fields)
        for n in range(count)
    ]


def test_gold_questions_come_to_everybody_and_are_not_exported(label: Callable[..., Any]) -> None:
    gold = Pair(said("user", "G"), said("assistant", "yes"), said("assistant", "no"), gold="a")
    server, project = label([*pairs(GOLD_EVERY), gold])
    page = server.page().enter()
    order = []
    while (shown := page.next()) is not None:
        order.append(shown["prompt"][0]["content"])
        side = "left" if shown["left"][0]["content"][0] in "Ay" else "right"
        page.post("/api/vote", pair=shown["id"], choice=side).raise_for_status()
    assert order.index("G") == GOLD_EVERY // 2
    assert all(row["chosen"] != gold.a for row in export.preferences(project))
    (one,) = page.client.get("/api/progress").json()["annotators"]
    assert (one["gold_asked"], one["gold_right"]) == (1, 1)
    assert project.next("somebody else") is not None


def test_aspects_and_corrections_are_stored_and_exported(label: Callable[..., Any], tmp_path: Path) -> None:
    server, project = label(pairs(2))
    page = server.page().enter()
    first = page.next()
    better = {"aspects": {"helpful": "left", "harmless": "tie"}, "correction": "Better."}
    page.post("/api/vote", pair=first["id"], choice="left", strength=5, **better).raise_for_status()
    second = page.next()
    assert page.post("/api/vote", pair=second["id"], choice="left", aspects={"funny": "left"}).status_code == 400
    page.post("/api/vote", pair=second["id"], choice="both_bad", correction="Good.").raise_for_status()
    rows = export.preferences(project)
    assert [row["chosen"][0]["content"] for row in rows] == ["Better.", first["left"][0]["content"], "Good."]
    assert rows[1]["aspects"] == {"helpful": "chosen", "harmless": "tie"}
    assert rows[1]["margin"] == 1.0
    file = tmp_path / "preferences.parquet"
    export.to_parquet(rows, file)
    assert {pair.digest for pair in read_pairs(file)} == {
        Pair(row["prompt"], row["chosen"], row["rejected"]).digest for row in rows
    }
    assert pytest.importorskip("gristlm.finetune.data").read(file).format == "preference"


def test_a_manager_sees_everything_and_an_annotator_no_models(label: Callable[..., Any]) -> None:
    from gristlm.serve.label.accounts import Accounts

    server, project = label(pairs(3, model_a="old", model_b="new"), annotators={"ada": "correct horse"})
    Accounts(project.database).add("eve", "correct horse", "manager")
    project.vote("ada", project.next("ada").id, "left")
    for name, sees in (("ada", False), ("eve", True)):
        page = server.page()
        page.sign_in(name, "correct horse").raise_for_status()
        figures = page.client.get("/api/progress").json()
        assert bool(figures["models"]) is sees
        assert len(page.client.get("/api/export").text.splitlines()) == 1
        assert ("old" in page.client.get("/api/export").text) is sees


def test_ratings_recover_known_strengths() -> None:
    generator = np.random.default_rng(0)
    strength = {"weak": 0.0, "middle": 1.0, "strong": 2.0}
    names = list(strength)
    given, votes = {}, []
    for number in range(1500):
        a, b = generator.choice(names, 2, replace=False)
        given[number] = Pair([], [], [], str(a), str(b))
        wins = generator.random() < 1 / (1 + np.exp(strength[b] - strength[a]))
        votes.append(Vote(number, "ada", "a" if wins else "b", "a", None, "", 1.0, 0.0))
    rows = ratings(votes, given)
    assert [row.model for row in rows] == ["strong", "middle", "weak"]
    assert rows == ratings(votes, given)
    for row in rows:
        true = 1000 + (strength[row.model] - 1) * 400 / np.log(10)
        assert row.low < row.elo < row.high
        assert abs(row.elo - true) < 40
    assert ratings([], {}) == []
    (best, worst) = ratings([Vote(0, "ada", "a", "a", None, "", 1, 0)], {0: Pair([], [], [], "x", "y")})
    assert best.model == "x"
    assert np.isfinite([best.elo, worst.elo, best.low, best.high]).all()


def test_pairs_on_which_reward_models_disagree_come_first(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", create=True)
    project.add(pairs(5))

    def scorer(loved: dict[str, float]) -> Any:
        return lambda prompts, texts: np.array([loved.get(text, 0.0) for text in texts], np.float32)

    assert prioritise_by_disagreement(project, [scorer({"A3": 5.0, "A1": 5.0}), scorer({"B3": 5.0, "A1": 5.0})]) == 5
    assert project.next("ada").prompt == said("user", "P3")
    project.database.close()


def test_the_queue_is_filled_from_rollouts(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"step": step, "prompt": said("user", f"P{p}"), "completion": f"s{step} p{p} r{reward}", "reward": reward}
        for step in (1, 2)
        for p in range(3)
        for reward in (0.0, 1.0, 0.5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "steps.parquet")
    found = rollout_pairs(tmp_path, limit=4)
    assert (found[0].a[0]["content"], found[0].b[0]["content"]) == ("s2 p2 r1.0", "s2 p2 r0.0")
    assert len(found) == 4
    with pytest.raises(MissingArtifactError):
        rollout_pairs(tmp_path / "none", limit=1)
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="bad"):
        rollout_pairs(tmp_path / "bad.parquet", limit=1)


def test_gold_must_be_said(tmp_path: Path) -> None:
    file = tmp_path / "gold.jsonl"
    file.write_text(json.dumps({"prompt": "p", "chosen": "x", "rejected": "y"}))
    assert read_gold(file)[0].gold == "a"
    file.write_text(json.dumps({"prompt": "p", "a": "x", "b": "y"}))
    with pytest.raises(FormatError, match="gold"):
        read_gold(file)


def test_an_older_database_is_backed_up_and_goes_on(tmp_path: Path) -> None:
    project = Project(tmp_path, create=True)
    project.add(pairs(2))
    project.vote("ada", project.next("ada").id, "left", 3, "because")
    project.database.close()
    old = sqlite3.connect(tmp_path / "labels.sqlite3", isolation_level=None)
    old.execute("DROP VIEW active_votes")
    for table, column in (
        *(("pairs", "gold"), ("pairs", "priority"), ("annotators", "role")),
        *(("votes", "aspects"), ("votes", "correction"), ("votes", "shown_order"), ("votes", "ranks")),
        *(("votes", "rating"), ("pairs", "kind"), ("pairs", "more"), ("assignments", "shown_order")),
    ):
        old.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    old.execute("CREATE VIEW active_votes AS SELECT * FROM votes WHERE id NOT IN (SELECT vote FROM withdrawals)")
    old.execute("PRAGMA user_version = 1")
    old.close()
    again = Project(tmp_path)
    (vote,) = again.votes()
    assert (vote.reason, vote.strength, dict(vote.aspects), vote.correction) == ("because", 3, {}, "")
    again.vote("ada", again.next("ada").id, "tie", correction="x")
    again.database.close()
    copy = sqlite3.connect(tmp_path / "labels.sqlite3.v1")
    assert copy.execute("PRAGMA user_version").fetchone() == (1,)
    assert copy.execute("SELECT reason FROM votes").fetchall() == [("because",)]
    copy.close()
    assert len(list(tmp_path.glob("labels.sqlite3.v*"))) == 1
