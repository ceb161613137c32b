"""Main content of pages: what stays, what goes, what the page says about itself."""

import pickle
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

import gristlm


class _Blocks(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.blocks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "pre":
            self.depth += 1
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self.depth -= 1

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.blocks[-1] += data


def code_blocks(html: str) -> list[str]:
    """The text of every `<pre>`, without the line break before its end tag."""
    parser = _Blocks()
    parser.feed(html)
    return [block.removesuffix("\n") for block in parser.blocks]


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def f1(text: str, truth: str) -> float:
    """The harmonic mean of precision and recall of the words, as bags."""
    got, wanted = words(text), words(truth)
    shared = sum((got & wanted).values())
    return 2 * shared / max(1, sum(got.values()) + sum(wanted.values()))


ARTICLE = """<!doctype html>
<html lang="en-GB"><head><meta charset="utf-8">
<title>How rivers bend | The Example Gazette</title>
<meta property="article:published_time" content="2021-03-04T08:00:00Z">
<meta name="author" content="Ada Example">
<link rel="canonical" href="https://gazette.example/rivers">
<link rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">
</head><body>
<header class="site-header"><a href="/">The Example Gazette</a>
<nav><ul><li><a href="/news">News</a></li><li><a href="/sport">Sport</a></li></ul></nav></header>
<div id="cookie-banner"><p>We use cookies to improve your experience. <button>Accept all</button></p></div>
<div class="layout">
<div class="story">
<h1>How rivers bend<a class="headerlink" href="#x">¶</a></h1>
<div class="share-bar"><a href="https://social.example/share">Share on Social</a></div>
<p>A river on a plain does not run straight: it <em>meanders</em>, because the outer bank of each bend is worn away,
while the inner one grows. See <a href="/physics">the physics</a> of it.</p>
<h2>Three stages</h2>
<ol><li>Erosion on the outside</li><li>Deposition inside<ul><li>sand</li><li>gravel</li></ul></li></ol>
<p>The effect is easily simulated:</p>
<div class="highlight-python"><pre>def bend(x):
    return  x * 2   # two  spaces

print(bend(21))
</pre></div>
<table><tr><th>River</th><th>Sinuosity</th></tr><tr><td>Example</td><td>1.9 | high</td></tr></table>
<blockquote><p>No man steps in the same river twice.</p></blockquote>
<p style="display: none">Invisible ink.</p>
</div>
<aside><h3>Related stories</h3><p>Ten bridges you must see before the flood takes them away, and why.</p></aside>
<div class="comments" id="comments"><h3>2 comments</h3><p>First! What a lovely piece about rivers this was.</p></div>
</div>
<footer>© The Example Gazette. All rights reserved.</footer>
<script>var tracking = "do not show";</script>
</body></html>"""


def test_an_article_keeps_its_text_and_loses_the_rest() -> None:
    page = gristlm.extract_text(ARTICLE)
    assert page is not None
    assert page.text == (
        "How rivers bend\n\n"
        "A river on a plain does not run straight: it meanders, because the outer bank of each bend is worn away, "
        "while the inner one grows. See the physics of it.\n\n"
        "Three stages\n\n"
        "1. Erosion on the outside\n2. Deposition inside\n  - sand\n  - gravel\n\n"
        "The effect is easily simulated:\n\n"
        "def bend(x):\n    return  x * 2   # two  spaces\n\nprint(bend(21))\n\n"
        "River | Sinuosity\nExample | 1.9 | high\n\n"
        "No man steps in the same river twice."
    )


def test_markdown_has_headings_lists_code_tables_and_quotes() -> None:
    page = gristlm.extract_text(ARTICLE)
    assert page is not None
    assert page.markdown == (
        "# How rivers bend\n\n"
        "A river on a plain does not run straight: it *meanders*, because the outer bank of each bend is worn away, "
        "while the inner one grows. See the physics of it.\n\n"
        "## Three stages\n\n"
        "1. Erosion on the outside\n2. Deposition inside\n  - sand\n  - gravel\n\n"
        "The effect is easily simulated:\n\n"
        "```python\ndef bend(x):\n    return  x * 2   # two  spaces\n\nprint(bend(21))\n```\n\n"
        "| River | Sinuosity |\n| --- | --- |\n| Example | 1.9 \\| high |\n\n"
        "> No man steps in the same river twice."
    )


def test_metadata_is_what_the_page_declares() -> None:
    page = gristlm.extract_text(ARTICLE, url="https://gazette.example/rivers?utm_source=x")
    assert page is not None
    assert (page.title, page.author, page.date) == ("How rivers bend", "Ada Example", "2021-03-04")
    assert (page.language, page.url, page.licence) == ("en-GB", "https://gazette.example/rivers", "CC-BY-SA-4.0")
    assert pickle.loads(pickle.dumps(page)) == page


def test_metadata_from_json_ld_and_from_the_caller() -> None:
    html = """<script type="application/ld+json">{"@graph": [{"@type": "WebSite"}, {"@type": "Article", "author":
    [{"name": "Ada"}, {"name": "Bob"}], "datePublished": "2020-01-31", "license": "https://x.example/terms"}]}</script>
    <title>A title</title><p>Some text that is long enough to be read.</p>"""
    page = gristlm.extract_text(html, url="https://x.example/a")
    assert page is not None
    assert (page.author, page.date, page.licence) == ("Ada, Bob", "2020-01-31", "https://x.example/terms")
    assert (page.title, page.url, page.language) == ("A title", "https://x.example/a", None)


def test_what_a_page_does_not_say_is_none() -> None:
    page = gristlm.extract_text("<p>Only a paragraph, by nobody, from never.</p>")
    assert page == gristlm.cleaning.ExtractedPage(
        text="Only a paragraph, by nobody, from never.",
        markdown="Only a paragraph, by nobody, from never.",
        title=None,
        author=None,
        date=None,
        language=None,
        url=None,
        licence=None,
    )


@pytest.mark.parametrize(
    "html", ["", " \n", b"", "<html></html>", "<nav><a href=/>Home</a></nav>", "<script>x</script>"]
)
def test_a_page_without_content_is_none(html: str | bytes) -> None:
    assert gristlm.extract_text(html) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "shift_jis", "koi8-r", "utf-16"])
def test_bytes_are_decoded_by_what_they_declare(encoding: str) -> None:
    text = {"shift_jis": "日本語の文章です。", "koi8-r": "Русский текст"}.get(encoding, "Größe “naïve”")
    declared = "" if encoding.startswith("utf-") else f"<meta charset={encoding}>"
    page = gristlm.extract_text(f"<html><head>{declared}</head><body><p>{text}</p>".encode(encoding))
    assert page is not None
    assert page.text == text


def test_undeclared_bytes_are_guessed() -> None:
    text = "Съешь же ещё этих мягких французских булок, да выпей чаю."
    page = gristlm.extract_text(f"<p>{text}</p>".encode("windows-1251"))
    assert page is not None
    assert page.text == text


def test_a_suspect_name_around_the_whole_text_is_not_believed() -> None:
    body = "".join(f"<p>Paragraph number {i} has enough words to count as text.</p>" for i in range(20))
    page = gristlm.extract_text(f"<body><div class='menu-open sidebar-layout'>{body}</div></body>")
    assert page is not None
    assert page.text.count("Paragraph number") == 20


def test_sections_named_like_boilerplate_are_content_when_they_hold_code_or_are_chapters() -> None:
    body = "".join(f"<p>Paragraph number {i} has enough words to count as text.</p>" for i in range(20))
    page = gristlm.extract_text(
        f"<main>{body}<section id='comments'><h2>Comments in code</h2><p>They start with a hash.</p></section>"
        "<aside class='sidebar'><p>Try this:</p><pre>print(1)</pre></aside><aside><p>Read also that.</p></aside></main>"
    )
    assert page is not None
    assert page.text.endswith("Comments in code\n\nThey start with a hash.\n\nTry this:\n\nprint(1)")


def test_marks_beside_headings_go_and_variants_of_code_stay_apart() -> None:
    page = gristlm.extract_text(
        "<h2>Path<a class=mark href='#path'>#</a></h2><p>See <a href='#more'>more</a>.</p>"
        "<pre><code>import a</code><code>require('a')</code><button>copy</button></pre>"
    )
    assert page is not None
    assert page.markdown == "## Path\n\nSee more.\n\n```\nimport a\nrequire('a')\n```"


def test_a_page_of_links_keeps_them() -> None:
    page = gristlm.extract_text("<h1>Index</h1><ul>" + "<li><a href=/x>Chapter</a></li>" * 9 + "</ul>")
    assert page is not None
    assert page.text.count("Chapter") == 9


def test_a_page_of_links_that_also_says_something_keeps_what_it_says() -> None:
    said = "The modules in this chapter give new ways to import other modules. " * 3
    links = "<ul>" + "<li><a href=/x>A chapter of its own</a></li>" * 99 + "</ul>"
    for page in (
        f"<main><h1>Importing</h1><p>{said}</p>{links}</main>",
        f"<div><h1>Importing</h1><p>{said}</p>{links}</div>",
    ):
        found = gristlm.extract_text(page)
        assert found is not None
        assert said.strip() in found.text
        assert "A chapter" not in found.text


def test_documentation_pages_match_their_source(development_data: Path) -> None:
    """Words against the reStructuredText the pages were made from; code byte for byte."""
    scores, lost = [], []
    for path in sorted((development_data / "pages").glob("*.html")):
        html = path.read_text()
        page = gristlm.extract_text(html)
        assert page is not None, path.name
        source = path.with_suffix(".rst").read_text()
        lost += [(path.name, block) for block in code_blocks(html) if block.strip() and block not in page.text]
        # A page that is mostly a generated table of contents has no source to compare with.
        if "toctree::" not in source:
            scores.append(f1(page.text, source))
    assert lost == []
    assert sum(scores) / len(scores) > 0.9
    assert sum(score > 0.8 for score in scores) >= 0.95 * len(scores)


_STORY = "".join(
    f"<p>Paragraph {n} of the story says something new about bread, salt, water and ovens.</p>" for n in range(16)
)


@pytest.mark.parametrize(
    "beside",
    [
        '<div class="comments"><p>{}</p></div>'.format("I baked it too, and mine was flat and sour. " * 60),
        '<div class="jp-relatedposts"><h3>Related</h3><p>Ten more ways with rye.</p></div>',
        '<section class="x-gallery"><p>{}</p></section>'.format("Picture of a loaf, by somebody. " * 90),
        "<div><h4>Recommended for you</h4><p>How to choose a knife.</p></div>",
        "<p><b>Read more:</b></p>",
        '<p class="byline">By A. Baker</p>',
        '<span class="sr-only">Media caption</span>',
        '<div class="cookie-banner"><p>We use cookies to make this site better for you.</p></div>',
        '<ul class="share"><li>Post</li><li>Mail</li></ul>',
        "".join(
            f'<div class="card"><h3><a href="/{n}">Story {n}</a></h3><p>What it is about, in a line.</p></div>'
            for n in range(4)
        ),
    ],
    ids=["comments", "related", "gallery", "labelled", "label", "byline", "unseen", "cookies", "share", "teasers"],
)
def test_what_stands_beside_a_story_goes_and_the_story_stays(beside: str) -> None:
    page = gristlm.extract_text(
        f"<body><article><h1>Bread</h1>{_STORY}{beside}<p>The last word of the story.</p></article></body>"
    )
    assert page is not None
    told = [line for line in page.text.split("\n\n") if line]
    assert told == [
        "Bread",
        *(f"Paragraph {n} of the story says something new about bread, salt, water and ovens." for n in range(16)),
        "The last word of the story.",
    ]


def test_a_page_of_nothing_but_comments_or_teasers_keeps_them() -> None:
    thread = gristlm.extract_text(f'<body><div class="comments">{_STORY}</div></body>')
    assert thread is not None
    assert "Paragraph 15" in thread.text
    front = gristlm.extract_text(
        "<body><main>"
        + "".join(f'<article><h2><a href="/{n}">Story {n}</a></h2><p>A line on it.</p></article>' for n in range(5))
        + "</main></body>"
    )
    assert front is not None
    assert "Story 4" in front.text


def test_a_first_paragraph_beside_the_box_of_the_rest_is_part_of_the_text() -> None:
    opening = "The opening stands alone, for an advert was put between it and what follows it."
    page = gristlm.extract_text(f"<body><div class='text'><p>{opening}</p><div>{_STORY}</div></div></body>")
    assert page is not None
    assert page.text.startswith(opening)


def test_a_page_that_is_utf_8_against_its_own_word_is_read_as_utf_8() -> None:
    told = "谷歌在二零一四年收购的人工智能公司开发出一款能够用自己的记忆学习新知识的系统。" * 3
    for wrong in ("gb2312", "iso-8859-1"):
        page = gristlm.extract_text(f'<meta charset="{wrong}"><p>{told}</p>'.encode())
        assert page is not None
        assert page.text == told
    right = gristlm.extract_text(f'<meta charset="gb2312"><p>{told}</p>'.encode("gb2312"))
    assert right is not None
    assert right.text == told


def test_code_inside_what_looks_like_a_side_matter_is_kept_byte_for_byte() -> None:
    code = "if x:\n\treturn  [a,\n   b]   # as it is"
    page = gristlm.extract_text(
        f'<body><main>{_STORY}<div class="widget meta"><pre><code>{code}</code></pre></div></main></body>'
    )
    assert page is not None
    assert code in page.text


def test_footnotes_in_asides_are_part_of_the_text_and_other_asides_are_not() -> None:
    page = gristlm.extract_text(
        f"<main>{_STORY}<aside class='footnote-list brackets'><aside class='footnote brackets' role='note'>"
        "<p>The oven was wood-fired.</p></aside></aside><aside role='doc-footnote'><p>Rye, mostly.</p></aside>"
        "<aside><p>Buy our knives.</p></aside></main>"
    )
    assert page is not None
    assert page.text.endswith("The oven was wood-fired.\n\nRye, mostly.")


def test_the_foot_of_a_page_goes_however_little_the_page_says() -> None:
    foot = "<div class='footer'>© The Bakers. This page is licensed under a licence of which much is said here.</div>"
    page = gristlm.extract_text(f"<body><div><h1>Bread</h1><p>There is one kind only.</p></div>{foot}</body>")
    assert page is not None
    assert page.text == "Bread\n\nThere is one kind only."
    alone = gristlm.extract_text(f"<body>{foot}</body>")
    assert alone is not None
    assert alone.text.startswith("© The Bakers")
