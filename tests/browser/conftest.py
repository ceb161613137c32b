"""A browser whose console errors fail the test; every page is photographed when its test ends."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from servers import api, checkpoint, label, slow, start_server  # noqa: F401

SCREENSHOTS = Path(__file__).parents[2] / "target" / "screenshots"
Opened = Callable[..., contextlib.AbstractContextManager[Any]]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, or whichever is on the path."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, request: pytest.FixtureRequest) -> Opened:
    """Opens pages: `with opened(expected=" 401 ", **options) as page`.

    Anything on the console fails the test but `expected`: the browser logs refused requests, of which some are.
    `page.picture(name)` keeps a screenshot; one is kept at the end in any case.
    """
    test = re.sub(r"\W+", "-", request.node.name).strip("-")
    count = 0

    @contextlib.contextmanager
    def opened(*, expected: str = " 401 ", **options: Any) -> Iterator[Any]:
        nonlocal count
        count += 1
        number = count
        context = chromium.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)

        def picture(name: str) -> None:
            page.screenshot(path=SCREENSHOTS / f"{test}-{number}-{name}.png", full_page=True)

        page.picture = picture
        try:
            yield page
            assert [error for error in errors if expected not in error] == []
        finally:
            with contextlib.suppress(Exception):  # the browser may be gone with the page
                picture("end")
            context.close()

    return opened
