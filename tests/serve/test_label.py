"""Labelling: what was clicked is what is exported, and nobody sees or does more than they should."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from gristlm.errors import FormatError, InputError, MissingArtifactError, StorageError
from gristlm.serve.label import export
from gristlm.serve.label.accounts import Accounts, check_password, hash_password
from gristlm.serve.label.pairs import Pair, read_pairs
from gristlm.serve.label.project import Project

PEOPLE = {"ada": "correct horse", "grace": "battery staple"}


def pairs(count: int) -> list[Pair]:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    return [
        Pair(said("user", f"Prompt {n}"), said("assistant", f"A{n}"), said("assistant", f"B{n}"), "old", "new")
        for n in range(count)
    ]


def exported(server: Any, kind: str = "preferences") -> list[dict[str, Any]]:
    text = server.client.get("/api/export", params={"kind": kind}, headers=server.owner()).raise_for_status().text
    return [json.loads(line) for line in text.splitlines()]


def text_of(messages: list[dict[str, str]]) -> str:
    (message,) = messages
    return message["content"]


def test_votes_are_exported_as_they_were_meant(label: Callable[..., Any]) -> None:
    server, _ = label(pairs(12))
    page = server.page().enter()
    preferred: dict[str, str] = {}
    for number in range(12):
        shown = page.next()
        assert set(shown) == {"id", "prompt", "left", "right"}  # blind
        side = "left" if number % 2 else "right"
        preferred[text_of(shown["prompt"])] = text_of(shown[side])
        page.post(
            "/api/vote", pair=shown["id"], choice=side, strength=number % 5 + 1, reason="because"
        ).raise_for_status()
    assert page.next() is None
    rows = exported(server)
    assert {text_of(row["prompt"]): text_of(row["chosen"]) for row in rows} == preferred
    for number, row in enumerate(rows):
        assert {text_of(row["chosen"])[0], text_of(row["rejected"])[0]} == {"A", "B"}
        assert row["chosen_model"] == ("old" if text_of(row["chosen"]).startswith("A") else "new")
        assert row["chosen_side"] == ("left" if number % 2 else "right")
        assert row["margin"] == pytest.approx((number % 5 + 1) / 5)
        assert row["reason"] == "because"


def test_sides_are_drawn_by_lot_and_stay(label: Callable[..., Any]) -> None:
    server, _ = label(pairs(40))
    page = server.page().enter()
    left = Counter()
    for _ in range(40):
        shown = page.next()
        assert page.next() == shown  # loading the page again changes nothing
        left[text_of(shown["left"])[0]] += 1
        page.post("/api/vote", pair=shown["id"], choice="skip").raise_for_status()
    assert min(left.values()) >= 5  # fails by chance once in ten million
    assert exported(server) == []
    assert {row["left"] for row in exported(server, "votes")} == {"a", "b"}


def test_ties_are_votes_but_no_preferences(label: Callable[..., Any]) -> None:
    server, _ = label(pairs(4))
    page = server.page().enter()
    for choice in ("tie", "both_bad", "skip", "left"):
        page.post("/api/vote", pair=page.next()["id"], choice=choice).raise_for_status()
    assert len(exported(server)) == 1
    assert [row["vote"] for row in exported(server, "votes")][:3] == ["tie", "both_bad", "skip"]
    assert page.client.get("/api/next").json()["progress"] == {"pairs": 4, "done": 3, "yours": 4}


def test_undo_brings_the_pair_back_on_the_same_sides(label: Callable[..., Any]) -> None:
    server, project = label(pairs(3))
    page = server.page().enter()
    assert page.post("/api/undo").json()["undone"] is False
    first = page.next()
    page.post("/api/vote", pair=first["id"], choice="left")
    second = page.next()
    assert page.post("/api/undo").json()["undone"] is True
    assert page.next() == first
    page.post("/api/vote", pair=first["id"], choice="right").raise_for_status()
    assert page.next() == second
    (row,) = exported(server)
    assert row["chosen"] == first["right"]
    stored = project.database.rows("SELECT choice FROM votes ORDER BY id")
    assert [vote["choice"] for vote in stored] == ["left", "right"]  # what was undone is still known


def test_only_what_was_shown_can_be_judged_once(label: Callable[..., Any]) -> None:
    server, _ = label(pairs(2))
    page = server.page().enter()
    first = page.next()["id"]
    assert page.post("/api/vote", pair=first + 1, choice="left").status_code == 409
    assert page.post("/api/vote", pair=first, choice="left").status_code == 200
    assert page.post("/api/vote", pair=first, choice="right").status_code == 409
    for wrong in (
        {"choice": "best"},
        {"strength": 6},
        {"strength": 0},
        {"pair": -1},
        {"reason": "x" * 10_001},
        {"who": "a"},
    ):
        body = {"pair": page.next()["id"], "choice": "left"} | wrong
        assert page.post("/api/vote", **body).status_code == 400, wrong
    assert len(exported(server)) == 1


@pytest.mark.parametrize("overlap", [1, 2])
def test_each_pair_is_judged_by_as_many_as_asked(label: Callable[..., Any], overlap: int) -> None:
    server, _ = label(pairs(10), overlap=overlap, annotators=PEOPLE)
    pages = {}
    for name, password in PEOPLE.items():
        pages[name] = server.page()
        assert pages[name].sign_in(name, password).status_code == 200
    judged: dict[str, set[int]] = {name: set() for name in PEOPLE}
    open_pages = dict(pages)
    while open_pages:
        for name, page in list(open_pages.items()):
            shown = page.next()
            if shown is None:
                del open_pages[name]
                continue
            judged[name].add(shown["id"])
            page.post("/api/vote", pair=shown["id"], choice="left").raise_for_status()
    assert len(judged["ada"] & judged["grace"]) == (10 if overlap == 2 else 0)
    assert len(judged["ada"] | judged["grace"]) == 10
    figures = server.client.get("/api/progress", headers=server.owner()).json()
    assert [one["votes"] for one in figures["annotators"]] == [len(judged["ada"]), len(judged["grace"])]
    assert figures["progress"]["done"] == 10
    own = pages["ada"].client.get("/api/export").text
    assert {json.loads(line)["annotator"] for line in own.splitlines()} == {"ada"}
    assert "old" not in own  # still blind
    assert len(exported(server)) == 10 * overlap


def test_an_annotator_needs_the_password(label: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    server, project = label(annotators=PEOPLE)
    page = server.page()
    assert 'id="login"' in page.load().text  # the page is there to sign in on
    assert page.client.get("/api/next").status_code == 401
    assert page.client.get("/api/export").status_code == 401
    assert page.post("/api/vote", pair=1, choice="left").status_code == 401
    assert page.sign_in("ada", "wrong horse").status_code == 401
    assert page.sign_in("nobody", "correct horse").status_code == 401
    assert page.client.post("/api/login", json={"name": "ada", "password": PEOPLE["ada"]}).status_code == 403  # CSRF
    assert page.sign_in("ada", PEOPLE["ada"]).status_code == 200
    assert page.client.get("/api/next").json()["annotator"] == "ada"
    assert page.post("/api/logout").status_code == 200
    assert page.client.get("/api/next").status_code == 401
    stored = " ".join(str(tuple(row)) for row in project.database.rows("SELECT * FROM annotators"))
    assert PEOPLE["ada"] not in stored


def test_guessing_passwords_is_slowed_down(label: Callable[..., Any]) -> None:
    server, _ = label(annotators={"ada": PEOPLE["ada"]})
    page = server.page()
    statuses = [page.sign_in("ada", f"guess {n}").status_code for n in range(6)]
    assert statuses == [401] * 5 + [429]
    assert page.sign_in("ada", PEOPLE["ada"]).status_code == 429


def test_the_token_alone_is_no_annotator(label: Callable[..., Any]) -> None:
    server, _ = label(annotators=PEOPLE)
    page = server.page().enter()
    assert page.client.get("/api/next").status_code == 401
    assert page.client.get("/api/export").status_code == 200
    assert page.client.get("/api/progress").status_code == 200
    assert page.sign_in("ada", PEOPLE["ada"]).status_code == 200
    assert page.next() is not None


def test_sessions_outlive_the_server(label: Callable[..., Any]) -> None:
    first, _ = label(annotators=PEOPLE)
    page = first.page()
    page.sign_in("ada", PEOPLE["ada"])
    secrets = {name.rpartition("_")[0]: value for name, value in page.client.cookies.items()}
    second, project = label()
    again = second.page()
    port = second.url.rpartition(":")[2]
    for name, value in secrets.items():
        again.client.cookies.set(f"{name}_{port}", value)
    again.csrf = page.csrf
    assert again.post("/api/vote", pair=again.next()["id"], choice="left").status_code == 200
    assert all(
        value not in str(tuple(row))
        for row in project.database.rows("SELECT * FROM sessions")
        for value in secrets.values()
    )


def test_a_changed_password_ends_sessions(label: Callable[..., Any]) -> None:
    from gristlm.serve.label.accounts import Accounts

    server, project = label(annotators=PEOPLE)
    page = server.page()
    page.sign_in("ada", PEOPLE["ada"])
    Accounts(project.database).add("ada", "another password")
    assert page.client.get("/api/next").status_code == 401


def test_passwords_are_salted_and_checked() -> None:
    cost = (4, 8, 1)
    one, two = hash_password("pass word", cost), hash_password("pass word", cost)
    assert one != two
    assert check_password("pass word", one)
    assert not check_password("pass word ", one)


def test_many_annotators_at_once_lose_nothing(label: Callable[..., Any]) -> None:
    _, project = label(pairs(12), overlap=50)
    failures: list[Exception] = []

    def judge(name: str) -> None:
        try:
            while (shown := project.next(name)) is not None:
                project.vote(name, shown.id, "left")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=judge, args=(f"annotator {n}",)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Counter(vote.pair for vote in project.votes()) == dict.fromkeys(project.pairs(), 50)


def test_finetune_and_rlhf_read_the_export(label: Callable[..., Any], tmp_path: Path) -> None:
    finetune = pytest.importorskip("gristlm.finetune.data")
    _, project = label(pairs(3))
    for strength in (1, None, 5):
        shown = project.next("ada")
        project.vote("ada", shown.id, "left", strength, "why not")
    file = tmp_path / "preferences.jsonl"
    file.write_text(export.to_jsonl(export.preferences(project)), encoding="utf-8")
    read = finetune.read(file)
    assert read.format == "preference"
    assert [text_of(list(pair.chosen)) for pair in read.examples] == [
        text_of(row["chosen"]) for row in export.preferences(project)
    ]
    data = pytest.importorskip("gristlm.rlhf.data")
    reader = next(value for name, value in vars(data).items() if name in ("read_pairs", "read_preferences"))
    assert [pair.margin for pair in reader(file)] == pytest.approx([0.2, 0.0, 1.0])


def test_a_pairs_file_is_read_in_both_forms_and_once(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}]
    file.write_text(
        json.dumps({"prompt": "p", "chosen": "x", "rejected": "y", "extra": 1})
        + "\n\n"
        + json.dumps({"prompt": messages, "a": "x", "b": [{"role": "assistant", "content": "y"}], "model_a": "m"})
    )
    first, second = read_pairs(file)
    assert first.prompt == [{"role": "user", "content": "p"}]
    assert (second.prompt, second.b, second.model_a) == (messages, [{"role": "assistant", "content": "y"}], "m")
    project = Project(tmp_path / "project", create=True)
    assert [project.add([first, second]), project.add([first, second])] == [2, 0]
    project.database.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "object"),
        ('{"prompt": "p", "a": "x"}', "'a' and 'b'"),
        ('{"a": "x", "b": "y"}', "prompt"),
        ('{"prompt": "p", "a": "x", "b": "x"}', "same"),
        ('{"prompt": "p", "a": "x", "b": " "}', "empty"),
        ('{"prompt": "p", "a": "x", "b": 3}', "'b'"),
        ('{"prompt": [{"role": "king", "content": "p"}], "a": "x", "b": "y"}', "king"),
        ('{"prompt": "\\ud800", "a": "x", "b": "y"}', "surrogate"),
        ("[" * 100_000, "not JSON"),
        ("\xff", "not JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "pairs.jsonl"
    good = json.dumps({"prompt": "p", "a": "x", "b": "y"})
    file.write_bytes(f"{good}\n{line}\n".encode("latin-1"))
    with pytest.raises(FormatError, match=r"pairs\.jsonl:2") as caught:
        read_pairs(file)
    assert said in str(caught.value)


def test_what_is_no_project_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(StorageError, match="no labelling project"):
        Project(tmp_path / "nowhere")
    (tmp_path / "labels.sqlite3").write_bytes(b"something else" * 100)
    with pytest.raises(FormatError, match=r"labels\.sqlite3"):
        Project(tmp_path)
    newer = Project(tmp_path / "newer", create=True)
    newer.database.rows("PRAGMA user_version = 99")
    newer.database.close()
    with pytest.raises(FormatError, match="newer"):
        Project(tmp_path / "newer")


def test_two_checkpoints_make_pairs_and_go_on_where_they_stopped(checkpoint: Path, tmp_path: Path) -> None:
    answering = pytest.importorskip("gristlm.serve.label.answering")
    prompts = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"prompt": f"Is number {n} even?"}) for n in range(5)]
    prompts.write_text("\n".join([*lines, json.dumps({"prompt": "even " * 400})]))  # the last does not fit
    speakers = (answering.Speaker("x", checkpoint), answering.Speaker("y", checkpoint))
    whole = Project(tmp_path / "whole", create=True)
    assert answering.PairMaker(whole, speakers, prompts).make() == 5
    cut = Project(tmp_path / "cut", create=True)
    cut.add(list(whole.pairs().values())[:2])
    maker = answering.PairMaker(cut, speakers, prompts)
    maker.start()
    maker._thread.join()
    assert not maker.making
    assert {pair.digest for pair in cut.pairs().values()} == {pair.digest for pair in whole.pairs().values()}
    assert {(pair.model_a, pair.model_b) for pair in cut.pairs().values()} == {("x", "y")}
    assert answering.find_prompts(checkpoint) == answering.BUILT_IN
    for project in (whole, cut):
        project.database.close()
    with pytest.raises(InputError):
        answering.PairMaker(cut, speakers, checkpoint / "config.json")


def test_fifty_annotators_over_http_lose_nothing(label: Callable[..., Any]) -> None:
    people = {f"annotator{n}": "correct horse" for n in range(50)}
    server, project = label(pairs(4), overlap=50)
    accounts = Accounts(project.database)
    with project.database.transaction() as connection:  # one scrypt hash for all: 50 would take a while
        accounts_made = [(name, hash_password("correct horse", (4, 8, 1)), 0.0) for name in people]
        connection.executemany("INSERT INTO annotators (name, password, created_at) VALUES (?, ?, ?)", accounts_made)
    confirmed: Counter[int] = Counter()
    failures: list[object] = []
    lock = threading.Lock()

    def judge(name: str) -> None:
        try:
            page = server.page()
            page.load()
            page.client.cookies.set(f"gristlm_session_{server.url.rsplit(':', 1)[1]}", accounts.open(name))
            while shown := page.next():
                page.post("/api/vote", pair=shown["id"], choice="left", reason=name).raise_for_status()
                with lock:
                    confirmed[shown["id"]] += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=judge, args=(name,)) for name in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert confirmed == Counter(vote.pair for vote in project.votes()) == dict.fromkeys(project.pairs(), 50)
    assert all(vote.annotator == vote.reason for vote in project.votes())
