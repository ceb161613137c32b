"""Wikitext to text, through mwparserfromhell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gristlm.errors import missing_extra

if TYPE_CHECKING:
    from mwparserfromhell.wikicode import Wikicode

_GONE_TAGS = frozenset(
    ("ref", "references", "gallery", "table", "timeline", "imagemap", "templatestyles", "score", "div")
)
_VERBATIM = frozenset(("pre", "syntaxhighlight", "source", "code", "math", "nowiki"))
_GONE_LINK = re.compile(
    r"\s*:?\s*[^:\[\]|]{1,40}:(?!\s)[^|]*\.(?:jpe?g|png|svg|gif|webp|tiff?|og[gv]|webm|pdf|djvu)\s*$|\s*(?:file|image|category|media):",
    re.IGNORECASE,
)
_END_SECTIONS = frozenset(
    ("references", "external links", "further reading", "notes", "see also", "bibliography", "sources")
)
_BEHAVIOUR = re.compile(r"__[A-Z]{3,20}__")
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,8})?:\S")


def plain_text(wikitext: str) -> str:
    """Returns the text of an article: headings as in Markdown, paragraphs, lists; no templates, tables, files, notes.

    Sections of links at the end (in English: See also, References and the like) are left out.
    """
    try:
        import mwparserfromhell
    except ImportError as error:
        raise missing_extra("mwparserfromhell", "wiki") from error
    text = _code(mwparserfromhell.parse(wikitext, skip_style_tags=False))
    text = _BEHAVIOUR.sub("", text)
    text = re.sub(r"[ \t]+\n", "\n", text)
    text = re.sub(r"\( *[,;]? *\)", "", text)  # what a template of pronunciation leaves
    text = re.sub(r"(?<=\S)  +", " ", text)
    return _without_end(re.sub(r"\n{3,}", "\n\n", text)).strip()


def _code(code: Wikicode | None) -> str:
    return "" if code is None else "".join(_node(node) for node in code.nodes)


def _node(node: object) -> str:
    from mwparserfromhell import nodes

    match node:
        case nodes.Text():
            return str(node.value)
        case nodes.Wikilink():
            target = str(node.title)
            if _GONE_LINK.match(target) or _LANGUAGE_LINK.match(target):
                return ""
            return _code(node.text) if node.text is not None else target.lstrip(":")
        case nodes.ExternalLink():
            return _code(node.title) if node.title is not None else "" if node.brackets else str(node.url)
        case nodes.Heading():
            return f"{'#' * node.level} {_code(node.title).strip()}"
        case nodes.HTMLEntity():
            return str(node.normalize())
        case nodes.Tag():
            return _tag(node)
    return ""  # templates, arguments, comments


def _tag(node: object) -> str:
    name = str(node.tag).strip().lower()  # type: ignore[attr-defined]
    if name in _GONE_TAGS:
        return ""
    if name == "br":
        return "\n"
    if name in ("li", "dd", "dt") and node.wiki_markup:  # type: ignore[attr-defined]
        return {"*": "- ", "#": "- "}.get(str(node.wiki_markup)[-1], "")  # type: ignore[attr-defined]
    contents = node.contents  # type: ignore[attr-defined]
    return str(contents) if name in _VERBATIM and contents is not None else _code(contents)


def _without_end(text: str) -> str:
    """Returns `text` without the sections of second level at its end that only list links."""
    kept = [
        section
        for section in re.split(r"(?m)^(?=## )", text)
        if section.partition("\n")[0].removeprefix("## ").strip().lower() not in _END_SECTIONS
    ]
    return re.sub(r"(?m)^#{2,6} [^\n]*\n+(?=#{2} |\Z)", "", "".join(kept))
