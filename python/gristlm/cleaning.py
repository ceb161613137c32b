"""Cleaning of text: the main content of a page, quality rules, language.

Everything here is the Rust core behind typed results; numpy is all it needs. Bulk calls take `list[str]` or any Arrow
string array (pyarrow, Polars; nothing is copied on the way in), release the GIL and use all cores unless told not to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gristlm import _core
from gristlm.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gristlm._core import _Texts

__all__ = ["CleanResult", "Drop", "ExtractedPage", "LanguageResult", "clean", "extract_text", "identify_language"]

RuleLike = str | tuple[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class ExtractedPage:
    """The main content of one page and what the page says about itself."""

    text: str
    """Plain text: blocks separated by a blank line, list items marked, table cells by `|`, code verbatim."""
    markdown: str
    """The same as Markdown."""
    title: str | None
    """The page's own title, without the site's name where its heading tells them apart."""
    author: str | None
    """Names, joined by `, `."""
    date: str | None
    """The day of publication, `YYYY-MM-DD`."""
    language: str | None
    """BCP 47, as the page declares it (`identify_language` looks at the text instead)."""
    url: str | None
    """The canonical address, or the `url` given."""
    licence: str | None
    """The SPDX identifier where the page's licence link is a known one, else that link; None where there is none."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a rule drops a text."""

    rule: str
    """The rule, such as `gopher_quality`."""
    measure: str
    """What was measured, such as `words`."""
    value: float
    """How much of it the text has."""
    threshold: str
    """The name of the threshold that it misses, such as `min_words`."""
    limit: float
    """The threshold's value."""


@dataclass(frozen=True, slots=True)
class CleanResult:
    """What `clean` made of N texts."""

    texts: list[str]
    """Each text after the last rule that saw it; a dropped one as it was when it was dropped."""
    keep: NDArray[np.bool_]
    """bool[N]: whether the text stays."""
    reasons: list[str | None]
    """Why not: `"gopher_quality: words 12 < min_words 50"`; None for those that stay."""
    changes: dict[str, int]
    """How often each kind of change was made: texts for `encoding` and `unicode`, lines for `c4.*`, places for
    `personal_data.*`."""
    drops: list[Drop | None]
    """The same as `reasons`, as numbers; None for those that stay."""


@dataclass(frozen=True, slots=True)
class LanguageResult:
    """The languages of N texts."""

    languages: list[str]
    """BCP 47 tags; `und` where it cannot be told."""
    confidences: NDArray[np.float32]
    """float32[N], from 0 to 1."""


def extract_text(html: str | bytes, url: str | None = None, *, max_bytes: int = 32 << 20) -> ExtractedPage | None:
    """Returns the main content of a page, or None when it has none.

    Navigation, banners, consent and share boxes, comments, forms and footers go; headings, paragraphs, lists, tables,
    the text of links, and code (verbatim) stay. Bytes are decoded by their byte order mark, their `<meta charset>`,
    as UTF-8, or by a guess, in this order.

    Args:
        html: The page.
        url: Its address, used where the page names no canonical one.
        max_bytes: Pages longer than this are refused.

    Raises:
        InputError: The page is longer than `max_bytes`, has more than two million elements, or tags with tens of
            thousands of attributes. Nesting is cut at 512 levels, as browsers do, without an error.
    """
    if not isinstance(html, (str, bytes)):
        raise InputError(f"html is {type(html).__name__}; give str or bytes")
    if isinstance(html, str):
        html = _without_surrogates(html)
    parts = _core.extract_page(html, url, max_bytes)
    return None if parts is None else ExtractedPage(*parts)


def clean(
    texts: _Texts,
    *,
    rules: Sequence[RuleLike] = ("encoding", "unicode"),
    num_threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> CleanResult:
    """Returns the texts after `rules`, which of them stay, and why the others do not.

    Rules run in the order given; the first that drops a text ends its way.

    `"encoding"` (repairs UTF-8 that was read as windows-1252), `"unicode"` (NFC, no control or invisible characters,
    one kind of line end), `"c4"` (removes lines that are no sentences) and `"personal_data"` (puts placeholders)
    rewrite, and change nothing the second time. `"gopher_quality"`, `"gopher_repetition"`, `"c4"` and `"fineweb"` drop.
    The thresholds are those of Rae et al. 2021 (Gopher, A1.1), Raffel et al. 2020 (C4, 2.2) and Penedo et al. 2024
    (FineWeb, 3.6), chosen for English.

    Args:
        texts: N texts.
        rules: Names, or `(name, {threshold: value})` to change thresholds. The default repairs and drops nothing.
        num_threads: None for all cores. The result does not depend on it.
        progress: Called about twenty times a second with the bytes of text done so far.

    Raises:
        InputError: A rule or threshold does not exist (the nearest is named), or a value is negative or not finite.
    """
    specs = [_spec(rule) for rule in _listed(rules)]
    cleaned, keep, reasons, changes, drops = _core.clean_texts(texts, specs, num_threads, progress)
    return CleanResult(cleaned, keep, reasons, changes, [None if drop is None else Drop(*drop) for drop in drops])


def identify_language(
    texts: _Texts, *, num_threads: int | None = None, progress: Callable[[int], object] | None = None
) -> LanguageResult:
    """Returns the language of each text, of 87, by its script and the n-grams of its words.

    Of a text longer than 768 bytes, four windows of 192 over its length are read.

    Args:
        texts: N texts.
        num_threads: None for all cores. The result does not depend on it.
        progress: Called about twenty times a second with the bytes of text done so far.
    """
    return LanguageResult(*_core.identify_languages(texts, num_threads, progress))


def _listed(rules: Sequence[RuleLike]) -> Iterable[RuleLike]:
    if isinstance(rules, str):
        raise InputError(f"rules is the string {rules!r}; give a list of rules, such as rules=[{rules!r}]")
    return rules


def _spec(rule: RuleLike) -> tuple[str, list[tuple[str, float]]]:
    match rule:
        case str():
            return rule, []
        case (str() as name, Mapping() as thresholds):
            for key, value in thresholds.items():
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise InputError(f"rules: {name!r} has {key}={value!r}; give a number")
            return name, [(str(key), float(value)) for key, value in thresholds.items()]
    raise InputError(f"rules: {rule!r} is no rule; give a name, or (name, {{threshold: value}})")


def _without_surrogates(text: str) -> str:
    """A lone surrogate is no character: as in a browser, U+FFFD stands in its place."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
