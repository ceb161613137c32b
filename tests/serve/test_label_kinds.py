"""Rankings, single ratings, and votes that come from elsewhere."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gristlm.errors import FormatError, InputError
from gristlm.serve.label import export
from gristlm.serve.label.agreement import interval, judgements, krippendorff_alpha, rated
from gristlm.serve.label.figures import figures
from gristlm.serve.label.imported import import_votes
from gristlm.serve.label.pairs import read_pairs
from gristlm.serve.label.project import Project

ROWS: list[dict[str, Any]] = [
    {"prompt": "P0", "answers": ["one", "two", "three", "four"], "models": ["m1", "m2", "m3", "m4"]},
    {"prompt": "P1", "answer": "single", "model": "m1"},
    {"prompt": "P2", "a": "left", "b": "right", "model_a": "m1", "model_b": "m2"},
]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", ROWS)


def judge(page: Any) -> None:
    """Puts the answers in the order of their names' first letters, ranks two the same, and rates with a 4."""
    shown = page.next()
    texts = [answer[0]["content"] for answer in shown["answers"]]
    assert sorted(texts) == sorted(ROWS[0]["answers"])
    ranks = [{"one": 1, "two": 2, "three": 2, "four": 4}[text] for text in texts]
    page.post("/api/vote", pair=shown["id"], choice="ranked", ranks=ranks).raise_for_status()
    shown = page.next()
    assert shown["kind"] == "rating"
    page.post("/api/vote", pair=shown["id"], choice="rated", rating=4, correction="better").raise_for_status()


def test_a_ranking_and_a_rating_are_exported_as_they_were_meant(label: Callable[..., Any], given: Path) -> None:
    server, project = label(read_pairs(given))
    judge(server.page().enter())
    said = [
        (row["chosen"][0]["content"], row["rejected"][0]["content"], row.get("chosen_model"))
        for row in export.preferences(project)
    ]
    assert sorted(said[:-1]) == [
        *(("one", "four", "m1"), ("one", "three", "m1"), ("one", "two", "m1")),
        *(("three", "four", "m3"), ("two", "four", "m2")),
    ]
    assert said[-1] == ("better", "single", None)
    (rating,) = export.ratings(project)
    assert (rating["label"], rating["rating"], rating["completion"]) == (True, 4, [ROWS[1] and said_by("single")])
    assert [row["ranks"] for row in export.all_votes(project) if "ranks" in row] == [[1, 2, 2, 4]]
    models = figures(project, models=True)["models"]
    assert isinstance(models, list)
    assert models[0]["model"] == "m1"
    assert figures(project, models=True)["rated"] == [{"model": "m1", "mean": 4.0, "count": 1}]
    page = server.page()
    page.client.headers = server.owner()
    assert page.client.get("/api/export?kind=ratings").json()["rating"] == 4


def said_by(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("place", "vote"),
    [
        (0, {"choice": "left"}),
        (0, {"choice": "ranked", "ranks": [1, 2, 3]}),
        (0, {"choice": "ranked", "ranks": [1, 2, 3, 5]}),
        (0, {"choice": "skip", "ranks": [1, 2, 3, 4]}),
        (1, {"choice": "rated"}),
        (1, {"choice": "tie"}),
        (1, {"choice": "skip", "rating": 3}),
        (2, {"choice": "rated", "rating": 3}),
        (2, {"choice": "left", "rating": 3}),
    ],
)
def test_a_vote_must_fit_the_question(tmp_path: Path, given: Path, place: int, vote: dict[str, Any]) -> None:
    project = Project(tmp_path / "project", create=True)
    project.add([read_pairs(given)[place]])
    shown = project.next("ada")
    assert shown is not None
    with pytest.raises(InputError):
        project.vote("ada", shown.id, **vote)
    assert project.votes() == []
    project.database.close()


def test_undo_brings_a_ranking_back_in_the_same_order(tmp_path: Path, given: Path) -> None:
    project = Project(tmp_path / "project", create=True)
    project.add(read_pairs(given))
    first = project.next("ada")
    assert first is not None
    project.vote("ada", first.id, "ranked", ranks=[1, 2, 3, 4])
    assert project.undo("ada")
    assert project.next("ada") == first
    project.database.close()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_votes_go_from_one_project_to_another_once(
    label: Callable[..., Any], given: Path, tmp_path: Path, suffix: str
) -> None:
    server, project = label(read_pairs(given))
    page = server.page().enter()
    judge(page)
    shown = page.next()
    body = {"choice": "right", "strength": 4, "reason": "why", "aspects": {"helpful": "left"}}
    page.post("/api/vote", pair=shown["id"], **body).raise_for_status()
    rows = export.all_votes(project)
    file = tmp_path / f"votes.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
        export.to_parquet(rows, file)
    else:
        file.write_text(export.to_jsonl(rows))
    other = Project(tmp_path / "other", create=True)
    assert import_votes(other, file) == (3, 0)
    assert import_votes(other, file) == (0, 3)
    assert export.all_votes(other) == rows
    assert export.preferences(other) == export.preferences(project)
    preferences = tmp_path / "preferences.jsonl"
    preferences.write_text(export.to_jsonl([row for row in export.preferences(project) if "chosen_side" in row]))
    assert import_votes(other, preferences) == (0, 1)  # the same pair, its answers the other way round
    third = Project(tmp_path / "third", create=True)
    assert import_votes(third, preferences) == (1, 0)
    (row,) = export.preferences(third)
    assert (row["margin"], row["reason"], row["annotator"]) == (0.8, "why", "owner")
    assert row["aspects"] == export.preferences(project)[-1]["aspects"]
    for opened in (other, third):
        opened.database.close()


def test_ratings_are_imported_from_labels(tmp_path: Path) -> None:
    file = write(tmp_path / "kto.jsonl", [{"prompt": "P", "completion": "C", "label": label} for label in (True,)])
    project = Project(tmp_path / "project", create=True)
    assert import_votes(project, file) == (1, 0)
    assert [(vote.rating, vote.annotator) for vote in project.votes()] == [(5, "imported")]
    project.database.close()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "P", "a": "x", "b": "y"}, "'vote'"),
        ({"prompt": "P", "a": "x", "b": "y", "vote": "ranked"}, "'vote'"),
        ({"prompt": "P", "answers": ["x", "y", "z"], "ranks": [1, 2, 9]}, "'ranks'"),
        ({"prompt": "P", "answers": ["x", "y", "z"], "ranks": [1, 2, 3], "shown_order": [0, 0, 1]}, "'shown_order'"),
        ({"prompt": "P", "completion": "x"}, "'rating'"),
        ({"prompt": "P", "completion": "x", "label": "yes"}, "'rating'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "strength": 9}, "'strength'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "margin": float("nan")}, "'margin'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "annotator": "n" * 65}, "'annotator'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "aspects": "{"}, "'aspects'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "reason": 3}, "'reason'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "voted_at": -1}, "'voted_at'"),
        ({"prompt": "P", "chosen": "x", "rejected": "y", "left": "c"}, "'left'"),
    ],
)
def test_a_row_that_is_no_vote_is_named_and_nothing_is_added(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    good = {"prompt": "P", "chosen": "good", "rejected": "bad"}
    file = write(tmp_path / "votes.jsonl", [good, row])
    project = Project(tmp_path / "project", create=True)
    with pytest.raises(FormatError, match=rf"votes.jsonl:2: .*{said}"):
        import_votes(project, file)
    assert project.pairs() == {}
    project.database.close()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "P", "answers": ["x", "y"]}, "3 to 9"),
        ({"prompt": "P", "answers": ["x", "y", "x"]}, "same"),
        ({"prompt": "P", "answers": ["x", "y", "z"], "models": ["m"]}, "'models'"),
        ({"prompt": "P", "answers": ["x", "y", 3]}, "answer 3"),
        ({"prompt": "P", "answer": ""}, "empty"),
        ({"prompt": "P"}, "'answers'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read_pairs(write(tmp_path / "rows.jsonl", [row]))


def test_agreement_of_rankings_and_of_ratings(tmp_path: Path, given: Path) -> None:
    project = Project(tmp_path / "project", create=True, overlap=2)
    project.add(read_pairs(given)[:2])
    for name, rating in (("ada", 4), ("grace", 5)):
        shown = project.next(name)
        assert shown is not None
        order = [answer[0]["content"] for answer in shown.answers]
        wanted = ["one", "two", "three", "four"] if name == "ada" else ["two", "one", "three", "four"]
        project.vote(name, shown.id, "ranked", ranks=[wanted.index(text) + 1 for text in order])
        shown = project.next(name)
        assert shown is not None
        project.vote(name, shown.id, "rated", rating=rating)
    table = judgements(project.votes())
    assert [len(set(row.values())) for row in table.values()].count(2) == 1  # of six comparisons they differ in one
    assert len(table) == 6
    assert krippendorff_alpha(rated(project.votes()), interval) == 0.0
    project.database.close()


def test_alpha_of_ratings_is_that_of_the_book() -> None:
    """Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C: interval data, 0.849."""
    observers = {
        "A": "1 2 3 3 2 1 4 1 2 . . .", "B": "1 2 3 3 2 2 4 1 2 5 . 3", "C": ". 3 3 3 2 3 4 2 2 5 1 .",
        "D": "1 2 3 3 2 4 4 1 2 5 1 .",
    }  # fmt: skip
    table: dict[Any, dict[str, str]] = {}
    for name, values in observers.items():
        for unit, value in enumerate(values.split()):
            if value != ".":
                table.setdefault(unit, {})[name] = value
    alpha, nominal = krippendorff_alpha(table, interval), krippendorff_alpha(table)
    assert alpha is not None
    assert nominal is not None
    assert abs(alpha - 0.849) < 5e-4
    assert abs(nominal - 0.743) < 5e-4


def test_a_database_of_schema_2_keeps_its_votes_and_withdrawals(tmp_path: Path) -> None:
    project = Project(tmp_path, create=True)
    project.database.close()
    database = sqlite3.connect(tmp_path / "labels.sqlite3", isolation_level=None)
    database.execute("DROP VIEW active_votes")
    for table, column in (
        *(("pairs", "kind"), ("pairs", "more"), ("assignments", "shown_order")),
        *(("votes", "shown_order"), ("votes", "ranks"), ("votes", "rating")),
    ):
        database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    database.execute("CREATE VIEW active_votes AS SELECT * FROM votes WHERE id NOT IN (SELECT vote FROM withdrawals)")
    database.execute("INSERT INTO pairs (digest, prompt, a, b) VALUES ('d', '[]', '[]', '[1]')")
    database.execute("INSERT INTO assignments VALUES (1, 'ada', 'a', 1.0)")
    for vote in (7, 9):
        database.execute(
            "INSERT INTO votes (id, pair, annotator, left_answer, choice, reason, seconds, voted_at) "
            "VALUES (?, 1, 'ada', 'a', 'left', 'because', 1.0, 2.0)",
            (vote,),
        )
    database.execute("INSERT INTO withdrawals VALUES (7, 3.0)")
    database.execute("PRAGMA user_version = 2")
    database.close()
    again = Project(tmp_path)
    assert [(vote.reason, vote.preferred) for vote in again.votes()] == [("because", "a")]
    assert [tuple(row) for row in again.database.rows("SELECT * FROM withdrawals")] == [(7, 3.0)]
    with pytest.raises(sqlite3.IntegrityError, match="only added"), again.database.transaction() as connection:
        connection.execute("DELETE FROM votes")
    assert (tmp_path / "labels.sqlite3.v2").is_file()
    again.database.close()
