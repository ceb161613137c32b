"""The labelling page in a real browser: what people do, and what must not happen to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("playwright.sync_api")

from gristlm.serve.label.pairs import Pair

pytestmark = pytest.mark.browser

XSS = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "</div></main><svg onload=window.hacked=1>",
    "[a](javascript:window.hacked=1) <a href='javascript:window.hacked=1'>a</a>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
)


def pairs(count: int) -> list[Pair]:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    return [
        Pair(said("user", f"Prompt {n}"), said("assistant", f"A{n}"), said("assistant", f"B{n}")) for n in range(count)
    ]


def link(server: Any) -> str:
    return f"{server.url}/?token={server.access.token}"


def status(page: Any, text: str) -> None:
    page.get_by_role("status").filter(has_text=re.compile(text)).wait_for()


def exported(server: Any, kind: str = "preferences") -> list[dict[str, Any]]:
    text = server.client.get("/api/export", params={"kind": kind}, headers=server.owner()).text
    return [json.loads(line) for line in text.splitlines()]


def test_a_pair_is_judged_by_key_and_by_mouse(opened: Any, label: Callable[..., Any]) -> None:
    server, _ = label(pairs(7))
    chosen: list[str] = []
    with opened() as page:
        page.goto(link(server))
        prompt, left, right = (
            page.locator(name) for name in ("[data-prompt]", "[data-side=left]", "[data-side=right]")
        )
        for number, (key, side) in enumerate((("1", left), ("2", right), ("3", None))):
            prompt.filter(has_text=f"Prompt {number}").wait_for()
            if side is not None:
                chosen.append(side.inner_text())
            page.keyboard.press(key)
        prompt.filter(has_text="Prompt 3").wait_for()
        page.keyboard.press("u")
        prompt.filter(has_text="Prompt 2").wait_for()
        page.keyboard.press("4")
        prompt.filter(has_text="Prompt 3").wait_for()
        page.get_by_label("4", exact=True).check()
        page.keyboard.press("r")
        page.keyboard.type("1 and 2 are keys elsewhere")
        page.keyboard.press("Escape")
        chosen.append(left.inner_text())
        page.get_by_role("button", name="Left is better").click()
        prompt.filter(has_text="Prompt 4").wait_for()
        assert page.get_by_label(re.compile("Reason")).input_value() == ""
        page.keyboard.press("s")
        prompt.filter(has_text="Prompt 5").wait_for()
        page.get_by_role("button", name="Both bad").click()
        prompt.filter(has_text="Prompt 6").wait_for()
        page.get_by_role("button", name="Equally good").click()
        status(page, "Nothing left")
        assert page.locator("#count").inner_text() == "7 judged by you, 6 of 7 pairs done"
    rows = exported(server)
    assert [row["chosen"][0]["content"] for row in rows] == chosen
    assert (rows[2]["strength"], rows[2]["reason"]) == (4, "1 and 2 are keys elsewhere")
    assert [row["vote"] for row in exported(server, "votes")][2:] == [
        "both_bad",
        rows[2]["chosen"][0]["content"][0].lower(),
        "skip",
        "both_bad",
        "tie",
    ]


def test_what_people_and_models_write_stays_text(opened: Any, label: Callable[..., Any]) -> None:
    given = [
        Pair(
            [{"role": "system", "content": text}, {"role": "user", "content": text}],
            [{"role": "assistant", "content": text}],
            [{"role": "assistant", "content": f"{text} "}],
        )
        for text in XSS
    ]
    server, _ = label(given, annotators={"ada@x+y.z": "correct horse"})
    with opened() as page:
        page.goto(server.url)
        page.get_by_label("Name").fill(XSS[1])
        page.get_by_label("Password").fill("x")
        page.get_by_role("button", name="Sign in").click()
        status(page, "wrong")
        page.get_by_label("Name").fill("ada@x+y.z")
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Sign in").click()
        for number, text in enumerate(XSS):
            page.locator("[data-prompt] .text").first.filter(has_text=text).wait_for()
            assert page.locator("[data-side=left]").text_content().strip() == text
            assert page.locator("[data-prompt] :not(div), [data-side] :not(div)").count() == 0
            page.get_by_label(re.compile("Reason")).fill(text)
            page.get_by_role("button", name="Right is better").click()
            page.locator("#count").filter(has_text=f"{number + 1} judged").wait_for()
        assert page.evaluate("window.hacked") is None
        page.goto(f"{server.url}/progress")
        page.get_by_role("cell", name="ada@x+y.z").wait_for()


def test_two_annotators_and_their_agreement(opened: Any, label: Callable[..., Any]) -> None:
    people = {"ada": "correct horse", "grace": "battery staple"}
    server, _ = label(pairs(4), overlap=2, annotators=people)
    for name, password in people.items():
        with opened() as page:
            page.goto(server.url)
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(password)
            page.keyboard.press("Enter")
            for number in range(4):
                page.locator("[data-prompt]").filter(has_text=f"Prompt {number}").wait_for()
                wanted = "A" if number < 3 or name == "ada" else "B"
                page.keyboard.press("1" if page.locator("[data-side=left]").inner_text().startswith(wanted) else "2")
            status(page, "Nothing left")
            if name == "grace":
                page.get_by_role("link", name="Progress").click()
                page.get_by_role("row", name=re.compile("ada and grace 4 0.00")).wait_for()
                page.get_by_text("Krippendorff").wait_for()
                page.go_back()
                page.get_by_role("button", name="Sign out").click()
                page.get_by_role("button", name="Sign in").wait_for()
    assert len(exported(server)) == 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone(opened: Any, label: Callable[..., Any], scheme: str) -> None:
    long = [{"role": "assistant", "content": "wide" * 200}]
    server, _ = label([Pair([{"role": "user", "content": "x" * 500}], long, [*long, *long])])
    with opened(viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        page.goto(link(server))
        page.locator("[data-prompt] .text").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        left, right = (page.locator(f"[data-side={side}]").bounding_box() for side in ("left", "right"))
        assert right["y"] > left["y"] + left["height"]


def test_everything_about_a_pair_is_said_and_reaches_training(
    opened: Any, label: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    finetune = pytest.importorskip("gristlm.finetune")
    rlhf = pytest.importorskip("gristlm.rlhf")
    server, project = label(pairs(3))
    project.set_guidelines("# Be fair\n\n- **honest** <script>window.hacked = 1</script>")
    with opened() as page:
        page.goto(link(server))
        page.get_by_role("link", name="Guidelines").click()
        page.get_by_role("heading", name="Be fair").wait_for()
        page.locator("strong", has_text="honest").wait_for()
        page.go_back()
        for number in range(3):
            page.locator("[data-prompt]").filter(has_text=f"Prompt {number}").wait_for()
            page.get_by_label("Helpful").select_option("left")
            page.get_by_label("5, far").check()
            if number == 0:
                page.get_by_text("Write the better answer").click()
                page.get_by_label("The better answer").fill("Better: 1 and 2 are no keys here")
                page.picture("judging")
            page.get_by_role("button", name="Left is better").click()
        status(page, "Nothing left")
        assert page.evaluate("window.hacked") is None
    rows = exported(server)
    assert len(rows) == 4  # three votes and a correction
    file = tmp_path / "preferences.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = {"epochs": 1, "global_batch_size": 4, "num_threads": 1, "learning_rate": 1e-3}
    inputs = {"checkpoint": checkpoint, "data": file}
    tuned = finetune.run(finetune.FinetuneConfig(method="dpo", **how), inputs, tmp_path / "dpo")
    rewarded = rlhf.train_reward(rlhf.RewardConfig(**how), inputs, tmp_path / "reward")
    assert tuned.kind == "finetune"
    assert rewarded is not None
    for stage in ("dpo", "reward"):
        rows = [json.loads(line) for line in (tmp_path / stage / "metrics.jsonl").read_text().splitlines()]
        assert any(row.get("loss", 0) > 0 for row in rows)


def test_rankings_and_ratings_by_mouse_and_key(opened: Any, label: Callable[..., Any]) -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    asked = [{"role": "user", "content": "Which?"}]
    several = [
        Pair(asked, said(f"best {n}"), said(f"next {n}"), kind="ranking", more=[(said(f"worst {n}"), None)])
        for n in range(2)
    ]
    single = [Pair([{"role": "user", "content": f"How? {n}"}], said(f"so {n}"), [], kind="rating") for n in range(2)]
    server, _ = label([*several, *single])
    with opened() as page:
        page.goto(link(server))
        store = page.get_by_role("button", name="Store this order")
        for number in range(2):
            page.get_by_role("heading", name="Which answer is best").wait_for()
            page.locator(".said", has_text=f"best {number}").wait_for()
            assert store.is_disabled()
            places = {
                word: page.locator(".several section", has=page.locator(".said", has_text=word))
                for word in ("best", "next", "worst")
            }
            for word in ("best", "next", "worst"):
                if number == 0:
                    places[word].get_by_role("button", name=re.compile("Next best")).click()
                else:
                    page.keyboard.press(places[word].locator("kbd").inner_text())
            page.picture(f"ranking-{number}")
            if number == 0:
                places["worst"].get_by_role("combobox").select_option("rank 2")  # as good as the next
                store.click()
            else:
                page.keyboard.press("Enter")
            status(page, "Stored")
        page.get_by_role("heading", name="How good is this answer?").wait_for()
        page.picture("rating")
        page.get_by_role("button", name=re.compile("^Very good")).click()
        page.locator(".said", has_text="so 1").wait_for()
        page.keyboard.press("2")
        status(page, "Nothing left")
        page.keyboard.press("u")
        page.locator(".said", has_text="so 1").wait_for()
        page.keyboard.press("1")
        status(page, "Nothing left")
        page.get_by_role("link", name="Progress").click()
        page.get_by_role("heading", name=re.compile("Ratings")).wait_for()
        page.picture("progress")
        with page.expect_download() as download:
            page.get_by_role("link", name="Export preferences").click()
        rows = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows] == [
        *(("best 0", "next 0"), ("best 0", "worst 0")),
        *(("best 1", "next 1"), ("best 1", "worst 1"), ("next 1", "worst 1")),
    ]
    assert [row["rating"] for row in exported(server, "ratings")] == [5, 1]
