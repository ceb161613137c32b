"""Pages made to hang or crash a parser: a clear error or a quick answer, never more."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gristlm
from gristlm.errors import InputError

MILLION = 1_000_000


@pytest.mark.parametrize(
    "html",
    [
        pytest.param("<div>" * MILLION + "end", id="div"),
        pytest.param("<ul><li>" * 500_000 + "end", id="lists"),
        pytest.param("<b>" * MILLION + "end", id="formatting"),
        pytest.param("<table><tr><td>" * 300_000 + "end", id="tables"),
        pytest.param("<blockquote>" * MILLION + "end", id="quotes"),
        pytest.param("<a>" * 40_000 + "<i>" * 40_000 + "</a>" * 40_000 + "end", id="misnested"),
        pytest.param("".join(f"<b id={i}>" for i in range(2000)) + "<p>end</p>" * 50_000, id="reconstructed"),
    ],
)
def test_deep_nesting_is_cut_and_the_text_is_kept(html: str) -> None:
    started = time.process_time()
    page = gristlm.extract_text(html)
    assert page is not None
    assert "end" in page.text
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("html", "message"),
    [
        pytest.param("<p " + " ".join(f"a{i}" for i in range(MILLION)) + ">x", "tag or comment", id="one-tag"),
        pytest.param(("<p " + " ".join(f"a{i}" for i in range(5000)) + ">x") * 100, "tag or comment", id="many-tags"),
        pytest.param("<p>x<!-- - -" * MILLION, "tag or comment", id="a comment without end"),
        pytest.param("<p>x<a b='" + '<a c="' * MILLION, "tag or comment", id="a value without end"),
        pytest.param("<p>x" * MILLION, "2000000 elements", id="nodes"),
        pytest.param("x" * 1001, "1001 bytes", id="long"),
    ],
)
def test_what_would_take_minutes_is_an_error(html: str, message: str) -> None:
    limit = {"max_bytes": 1000} if len(html) == 1001 else {}
    started = time.process_time()
    with pytest.raises(InputError, match=message):
        gristlm.extract_text(html, **limit)
    assert time.process_time() - started < 10


def test_not_a_page_is_an_error() -> None:
    with pytest.raises(InputError, match="html is NoneType"):
        gristlm.extract_text(None)  # type: ignore[arg-type]


def test_lone_surrogates_and_null_bytes_are_read() -> None:
    page = gristlm.extract_text("<p>one \ud800 two</p>")
    assert page is not None
    assert page.text == "one \ufffd two"
    assert gristlm.extract_text(b"\0" * 1000) is None


NAMES = "p|div|b|i|a|table|tr|td|ul|ol|li|pre|code|h1|main|article|form|svg|template|select|br|dl|dt"
TAGS = st.from_regex(NAMES, fullmatch=True)
PIECES = st.one_of(
    TAGS.map(lambda tag: f"<{tag}>"),
    TAGS.map(lambda tag: f"</{tag}>"),
    TAGS.map(lambda tag: f"<{tag} class='nav share' id=toc>"),
    st.sampled_from([" ", "\n", "word", "two words", "&amp;", "<!--", "-->", "<![CDATA[", "]]>", "<", "é中😀"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_tag_soup_is_read(html: str) -> None:
    page = gristlm.extract_text(html)
    assert page is None or page.text.strip()
    assert gristlm.extract_text(html.encode()) == page


@given(st.binary(max_size=200))
def test_any_bytes_are_read(html: bytes) -> None:
    gristlm.extract_text(html)


@pytest.mark.parametrize(
    "page",
    [
        "<div>" + "<p>Related</p>" * 300_000,
        "<div>" + "<p></p>" * 300_000 + "<p>Related</p>" * 300_000,
        ("<div>" * 400 + "<a href='/x'>x</a>" * 20) * 20 + "</div>" * 8_000,
        "<ul>" + ("<li>" + "<b></b>" * 1_000 + "<h2><a href='/'>x</a></h2>") * 300,
        "<p>" + "&a" * 3_000_000,
        "<p>" + "&amp<b>" * 300_000,
        "<p>" + "<a b='&copy=1'>" * 200_000,
        "<p>" + "x< " * 1_000_000,
        "<script></scrip" * 500_000 + "</script>" * 100_000,
        "<style></style>" * 100_000 + "<script><!--<script></script>" * 100_000,
        "".join(f"<x{n:x} y{n:x}=z>" for n in range(200_000)),
    ],
    ids=[
        "labels",
        "labels after nothing",
        "deep boxes of links",
        "wide teasers",
        "references",
        "references before tags",
        "odd attributes",
        "signs",
        "a script without end",
        "raw text",
        "names",
    ],
)
def test_pages_that_make_a_search_long_end(page: str) -> None:
    found = gristlm.extract_text(page)
    assert found is None or len(found.text) <= len(page)
