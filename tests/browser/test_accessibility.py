"""Every page, in both colour schemes, on a desk and a phone: names, roles, contrast, sizes, the keyboard's way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pyarrow")
pytest.importorskip("playwright.sync_api")

from gristlm.serve.label.pairs import Pair
from gristlm.serve.report import create_app
from gristlm.serve.security import Access

pytestmark = pytest.mark.browser
SWEEP = (Path(__file__).parent / "sweep.js").read_text(encoding="utf-8")
SCREENS = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
LOOKS = [("light", "phone"), ("dark", "desk")]
ORDER = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const at = one.getBoundingClientRect();
  const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  const name = one.id || one.textContent.trim().slice(0, 30) || one.name;
  return one === document.body ? null : [name, marked, at.bottom > 0];
}"""


def walk(page: Any, most: int = 60) -> list[str]:
    """Goes through the page with the tab key: what it reaches can be seen and is marked."""
    page.evaluate("document.body.tabIndex = -1, document.body.focus(), document.body.removeAttribute('tabindex')")
    reached: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(ORDER)
        if found is None or found[0] in reached:
            break
        assert found[1], f"{found[0]} is not marked when it has the focus"
        assert found[2], f"{found[0]} has the focus out of sight"
        reached.append(found[0])
    return reached


def swept(page: Any) -> list[str]:
    wrong: list[str] = page.evaluate(SWEEP)
    return wrong


@pytest.mark.parametrize(("scheme", "screen"), LOOKS)
def test_the_chat_page(opened: Any, api: Any, scheme: str, screen: str) -> None:
    with opened(color_scheme=scheme, viewport=SCREENS[screen]) as page:
        api.access.token_used = False
        page.goto(f"{api.url}/?token={api.access.token}")
        page.locator("#model option").first.wait_for(state="attached")
        assert swept(page) == []
        page.get_by_label("Message", exact=True).fill("# Hello `code`")
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text="complete").wait_for()
        page.get_by_role("button", name="Settings").click()
        page.get_by_role("button", name="Good answer").click()
        page.get_by_label("Reason").wait_for()
        assert swept(page) == []
        page.picture("open")
        order = walk(page)
        assert order.index("model") < order.index("toggle-settings") < order.index("text") < order.index("send")


@pytest.mark.parametrize(("scheme", "screen"), LOOKS)
def test_the_labelling_pages(opened: Any, label: Callable[..., Any], scheme: str, screen: str) -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    asked = [{"role": "user", "content": "Which is better?"}]
    server, project = label(
        [
            Pair(asked, said("This one. " * 20), said("That one. " * 30), "old", "new"),
            Pair(asked, said("x"), said("y"), kind="ranking", more=[(said("z"), None)]),
            Pair(asked, said("alone"), [], "old", kind="rating"),
        ]
    )
    project.set_guidelines("# Be fair\n\nSee `this`.\n\n- one\n- two")
    with opened(color_scheme=scheme, viewport=SCREENS[screen]) as page:
        page.goto(f"{server.url}/?token={server.access.token}")
        page.locator("[data-side=left] .text").wait_for()
        assert swept(page) == []
        page.picture("pair")
        order = walk(page)
        choices = [
            next(one for one in order if one.startswith(start)) for start in ("Left", "Right", "Equally", "Both")
        ]
        assert [one for one in order if one in choices] == choices
        page.get_by_role("button", name="Left is better").click()
        page.get_by_role("heading", name="Which answer is best").wait_for()
        assert swept(page) == []
        page.picture("ranking")
        for _ in range(3):
            page.get_by_role("button", name="Next best").nth(_).click()
        page.get_by_role("button", name="Store this order").click()
        page.get_by_role("heading", name="How good").wait_for()
        assert swept(page) == []
        page.picture("rating")
        page.keyboard.press("4")
        page.get_by_role("status").filter(has_text="Nothing left").wait_for()
        assert swept(page) == []
        for name, ready in (("guidelines", "strong, li"), ("progress", "#ratings td")):
            page.goto(f"{server.url}/{name}")
            page.locator(ready).first.wait_for()
            assert swept(page) == []
            page.picture(name)
            assert walk(page)


@pytest.mark.parametrize(("scheme", "screen"), LOOKS)
def test_the_live_report(opened: Any, start_server: Any, tmp_path: Path, scheme: str, screen: str) -> None:
    (tmp_path / "pretrain").mkdir()
    rows = [{"step": step, "loss": 5 / step, "bits_per_byte": 3 / step} for step in range(1, 4)]
    (tmp_path / "pretrain" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    access = Access()
    server = start_server(create_app(tmp_path, access, lambda: (lambda step: None, 0)), access)  # type: ignore[arg-type,return-value]
    with opened(color_scheme=scheme, viewport=SCREENS[screen]) as page:
        page.goto(f"{server.url}/?token={access.token}")
        page.get_by_text("Live: drawn anew").wait_for()
        assert swept(page) == []
        assert walk(page)


def test_signing_in(opened: Any, label: Callable[..., Any]) -> None:
    server, _ = label(annotators={"ada": "correct horse"})
    with opened(viewport=SCREENS["phone"], color_scheme="dark") as page:
        page.goto(server.url)
        page.get_by_label("Name").wait_for()
        assert swept(page) == []
        page.picture("sign-in")
        order = walk(page)
        assert order.index("name") < order.index("password") < order.index("Sign in")
