"""The chat page in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from servers import serving, write_checkpoint

from gristlm.serve.security import Access

pytestmark = pytest.mark.browser

HOSTILE = """# Title <script>window.hacked = 1</script>

<img src=x onerror='window.hacked = 1'> **bold** and *it*, `code <b>`, ~~old~~ [a](javascript:window.hacked=1)
[b](https://example.org/x) [c](data:text/html,<script>window.hacked=1</script>) ![d](https://example.org/d.png)

1. one
   - inner **b**
2. two

> quoted

| a | b |
|---|---|
| <svg onload=window.hacked=1> | 2 |

```html
</code></pre><script>window.hacked = 1</script>
```
<iframe srcdoc='<script>parent.hacked=1</script>'>"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A server of two checkpoints, and where its feedback goes."""
    from gristlm.serve.app import create_app
    from gristlm.serve.engine import Engine
    from gristlm.serve.feedback import Feedback

    folder = tmp_path_factory.mktemp("two")
    engines = {
        name: Engine(name, write_checkpoint(folder / name, seed=seed)) for seed, name in enumerate(("old", "new"))
    }
    access = Access()
    with serving(create_app(engines, access, Feedback(folder / "feedback")), access) as server:
        yield server, folder / "feedback"
    for engine in engines.values():
        engine.close()


def enter(page: Any, server: Any) -> None:
    server.access.token_used = False
    page.goto(f"{server.url}/?token={server.access.token}")
    assert page.url == f"{server.url}/"
    page.locator("#model option").first.wait_for(state="attached")


def say(page: Any, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def done(page: Any) -> None:
    page.get_by_role("status").filter(has_text="complete").wait_for()
    page.get_by_role("button", name="Send").wait_for()


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_markdown_is_shown_and_html_is_text(opened: Any, two: Any) -> None:
    server, _ = two
    with opened() as page:
        enter(page, server)
        shown = page.evaluate(
            "async (source) => { const { render } = await import('/markdown.js'); const box = document.createElement"
            "('div'); box.className = 'markdown'; box.append(render(source)); document.getElementById('messages')"
            ".append(box); return [...box.querySelectorAll('*')].map((one) => one.localName); }",
            HOSTILE,
        )
        page.picture("markdown")
        wanted = {"h3", "p", "strong", "em", "code", "del", "a", "ol", "ul", "li", "blockquote", "table", "pre", "br"}
        assert wanted <= set(shown)
        assert not {"script", "img", "svg", "iframe", "b"} & set(shown)
        box = page.locator(".markdown").last
        links = box.locator("a").evaluate_all("(all) => all.map((one) => [one.textContent, one.href, one.rel])")
        assert [link[:2] for link in links] == [
            ["b", "https://example.org/x"],
            ["d", "https://example.org/d.png"],
        ]
        assert all("noopener" in link[2] for link in links)
        assert box.locator("pre").text_content() == "</code></pre><script>window.hacked = 1</script>"
        assert box.get_by_role("cell").first.text_content() == "<svg onload=window.hacked=1>"
        assert box.locator("ol > li").count() == 2
        assert box.locator("ol ul strong").text_content() == "b"
        assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize(
    "source",
    [
        "*" * 30_000,
        "[" * 30_000,
        "`" * 9_999 + " " + "`" * 9_998,
        "> " * 5_000,
        "- " * 5_000,
        "_a " * 9_000,
        "|" * 9_000,
    ],
)
def test_hostile_markdown_is_read_in_bounded_time(opened: Any, two: Any, source: str) -> None:
    with opened() as page:
        enter(page, two[0])
        seconds = page.evaluate(
            "async (source) => { const { render } = await import('/markdown.js'); const begun = performance.now();"
            " render(source + '\\n|-|\\n'); return (performance.now() - begun) / 1000; }",
            source,
        )
        assert seconds < 5


def test_an_answer_streams_and_is_made_again_edited_and_kept(opened: Any, two: Any) -> None:
    server, _ = two
    with opened(expected=" 400 ") as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        enter(page, server)
        say(page, "<img src=x onerror='window.hacked = 1'>")
        done(page)
        answer = page.locator(".assistant .markdown")
        first = answer.text_content()
        assert first
        assert page.locator(".user .text").text_content() == "<img src=x onerror='window.hacked = 1'>"
        page.locator(".assistant").get_by_role("button", name="Copy", exact=True).first.click()
        page.get_by_role("button", name="Copied").wait_for()
        page.get_by_role("button", name="Regenerate").click()
        page.wait_for_function("(first) => document.querySelector('.assistant')?.textContent !== first", arg=first)
        done(page)
        assert answer.count() == 1
        page.get_by_role("button", name="Edit").click()
        page.get_by_label("Edit your message").fill("Is number 7 even?")
        page.get_by_role("button", name="Save and answer").click()
        done(page)
        assert page.locator(".user .text").all_text_contents() == ["Is number 7 even?"]
        for number in range(5):  # longer than the model reads: the oldest turns are left out, and it is said
            say(page, f"And number {number}?")
            page.locator(".turn.user").nth(number + 1).wait_for()
            done(page)
        page.get_by_text("has read the last").first.wait_for()
        assert page.locator(".error").count() == 0
        page.get_by_role("button", name="New conversation").click()
        assert page.locator(".turn").count() == 0
        say(page, "Another")
        done(page)
        page.reload()
        page.locator(".user .text").filter(has_text="Another").wait_for()
        names = page.get_by_role("navigation", name="Conversations").locator(".open")
        assert names.all_text_contents() == ["Another", "<img src=x onerror='window.hacked = 1'>"]
        names.nth(1).click()
        page.locator(".user .text").filter(has_text="And number 4?").wait_for()
        page.picture("conversation")
        page.get_by_role("button", name="Delete Another").click()
        assert names.count() == 1
        assert page.evaluate("window.hacked") is None


def test_settings_and_the_system_prompt_are_sent(opened: Any, two: Any) -> None:
    with opened() as page:
        enter(page, two[0])
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("System prompt").fill("Be brief.")
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Longest answer").fill("32")
        page.get_by_label("Seed").fill("7")
        page.picture("settings")
        page.get_by_label("Model", exact=True).select_option("new")
        with page.expect_request("**/v1/chat/completions") as sent:
            say(page, "Hello")
        body = sent.value.post_data_json
        assert body["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ]
        assert (body["temperature"], body["max_tokens"], body["seed"], body["model"]) == (0, 32, 7, "new")
        done(page)
        page.reload()
        page.get_by_role("button", name="Settings").click()
        assert page.get_by_label("Temperature").input_value() == "0"
        assert page.get_by_label("System prompt").input_value() == "Be brief."


def test_two_models_side_by_side_and_judgements_that_training_reads(opened: Any, two: Any) -> None:
    finetune = pytest.importorskip("gristlm.finetune.data")
    server, folder = two
    with opened(expected=" 400 ", viewport={"width": 1280, "height": 800}) as page:
        enter(page, server)
        page.get_by_label("Compare with").select_option("new")
        say(page, "Number 7")
        done(page)
        answers = page.locator(".assistant")
        assert answers.count() == 2
        boxes = [answers.nth(side).bounding_box() for side in (0, 1)]
        assert boxes[0]["y"] == boxes[1]["y"]
        texts = page.locator(".assistant .markdown").all_text_contents()
        page.get_by_label("Answer of new").get_by_role("button", name="Prefer this").click()
        page.get_by_role("button", name="Preferred").wait_for()
        page.get_by_role("status").filter(has_text="Stored").wait_for()
        page.picture("side-by-side")
        (row,) = rows(folder / "preferences.jsonl")
        assert (row["chosen_model"], row["rejected_model"]) == ("new", "old")
        assert row["prompt"] == [{"role": "user", "content": "Number 7"}]
        with page.expect_request("**/v1/chat/completions") as sent:
            page.get_by_label("Compare with").select_option("")
            say(page, "Go on")
        said = sent.value.post_data_json["messages"][1]["content"]
        assert said == row["chosen"][0]["content"]
        assert texts[1][:3].strip()[:1] in said
        done(page)
        page.get_by_role("button", name="Good answer").last.click()
        page.get_by_label("Reason").fill("it is <b>right</b>")
        page.get_by_role("button", name="Save reason").click()
        page.wait_for_function("() => !document.querySelector('.reason')")
        page.get_by_role("button", name="Bad answer").last.click()
        page.get_by_role("button", name="Save reason").click()
        page.wait_for_function("() => !document.querySelector('.reason')")
        page.get_by_role("button", name="Bad answer", pressed=True).wait_for()
    page_rows = rows(folder / "ratings.jsonl")
    assert [(row["label"], row["reason"]) for row in page_rows] == [(False, "it is <b>right</b>")]
    assert finetune.read(folder / "ratings.jsonl").format == "label"
    assert finetune.read(folder / "preferences.jsonl").format == "preference"


def test_it_stops_and_says_what_went_wrong(opened: Any, slow: Any) -> None:
    server, engine = slow
    with opened(expected=" 500 ") as page:
        enter(page, server)
        page.get_by_label("Message", exact=True).fill("Go on for long.")
        page.get_by_role("button", name="Send").click()
        page.wait_for_function("() => document.querySelector('.assistant .markdown')?.textContent.length > 3")
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Send").wait_for()
        kept = page.locator(".assistant .markdown").text_content()
        page.wait_for_timeout(300)
        made = engine.batch.made
        page.wait_for_timeout(300)
        assert engine.batch.made == made < 150
        assert page.locator(".assistant .markdown").text_content() == kept
        engine.batch.failing = True
        say(page, "And now?")
        page.locator(".error").filter(has_text="the model broke").wait_for()
        engine.batch.failing = False
        say(page, "And now?")
        page.wait_for_function("() => document.querySelectorAll('.assistant').length > 1")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Send").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_is_usable_by_keyboard_and_screen_reader(opened: Any, two: Any, scheme: str) -> None:
    with opened(viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        enter(page, two[0])
        say(page, "wide" * 40)
        done(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Conversations").click()
        page.get_by_role("navigation", name="Conversations").wait_for()
        page.picture("list")
        page.keyboard.press("Escape")
        assert page.get_by_role("button", name="Conversations", expanded=False).count() == 1
        assert page.get_by_role("log", name="Conversation").get_attribute("aria-busy") == "false"
        page.get_by_label("Message", exact=True).focus()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Send"
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, select, textarea')].filter((one) => one.checkVisibility()"
            " && !one.textContent.trim() && !one.labels?.length && !one.ariaLabel).map((one) => one.outerHTML)"
        )
        assert unnamed == []
        assert page.get_by_role("heading", level=1).count() == 1
        assert re.search("log|main", page.locator("main").get_attribute("role") or "main")
