"""Building HTML: everything that is not `Html` already is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

NONE = "–"  # noqa: RUF001
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # not allowed in HTML


class Html(str):
    """Markup that this package wrote; any other string is text."""

    __slots__ = ()


def text(value: object) -> Html:
    """Returns `value` as escaped text, or as it is where it is markup; control characters become U+FFFD."""
    return value if isinstance(value, Html) else Html(html.escape(_CONTROL.sub("�", str(value)), quote=True))


def join(*parts: object) -> Html:
    """Returns the parts one after the other."""
    return Html("".join(text(part) for part in parts))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """Returns an element; `class_` is class, `aria_label` is aria-label, an attribute that is None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def table(
    caption: str,
    header: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    numeric: bool = True,
    class_: str | None = None,
) -> Html:
    """Returns a table that scrolls by itself on a narrow screen; the first cell of a row is its heading.

    Args:
        caption: what the table shows.
        header: a heading per column.
        rows: the cells.
        numeric: the cells after the first are numbers, set to the right.
        class_: a class beside `numbers`.
    """
    classes = " ".join(name for name in ("numbers" if numeric else "", class_ or "") if name) or None
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    body = tag(
        "tbody", *(tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows)
    )
    whole = tag("table", tag("caption", caption), head, body, class_=classes)
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def details(summary: object, *children: object) -> Html:
    """Returns a part that opens on a click."""
    return tag("details", tag("summary", summary), *children)


def section(identifier: str, heading: str, *children: object) -> Html:
    """Returns a section of the page with its heading."""
    return tag(
        "section",
        tag("h2", heading, id=f"{identifier}-heading"),
        *children,
        id=identifier,
        aria_labelledby=f"{identifier}-heading",
    )


def note(*children: object) -> Html:
    """Returns a line of explanation."""
    return tag("p", *children, class_="note")


def figure(value: float | None, digits: int = 3) -> str:
    """Returns a number for people: thousands apart, `digits` significant ones below 1,000; a dash for none."""
    if value is None:
        return NONE
    if value == 0 or abs(value) >= 1000 or (value == int(value) and abs(value) < 1e6):
        return f"{value:,.0f}"
    shown = f"{value:.{digits}g}"
    return f"{value:.2e}" if "e" in shown else shown


def score(value: float | None) -> str:
    """Returns a measured figure with three significant digits, zeros kept, so that a row of them lines up."""
    if value is None or value == 0 or not 1e-3 <= abs(value) < 1000:
        return figure(value)
    return f"{value:#.3g}".rstrip(".")


def amount(value: float | None) -> str:
    """Returns a number of things for people, in millions or billions where there are that many."""
    for unit, scale in (("B", 1e9), ("M", 1e6)):
        if value is not None and value >= scale:
            return f"{value / scale:.3g} {unit}"
    return figure(value)


def size(num_bytes: float | None) -> str:
    """Returns an amount of bytes in B, kB, MB or GB."""
    if num_bytes is None:
        return NONE
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes:.0f} B"


def duration(seconds: float | None) -> str:
    """Returns a time in s, min or h."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


def percent(share: float | None) -> str:
    """Returns a share of one in percent: whole ones, two digits below ten, and never 0 or 100 for what only is near."""
    if share is None:
        return NONE
    value = 100 * share
    if 0 < value < 0.001 or 99.9 < value < 100:
        shown = "<\N{NO-BREAK SPACE}0.001" if value < 1 else ">\N{NO-BREAK SPACE}99.9"
    elif 0 < value < 9.95:
        shown = f"{value:.2g}"
    else:
        shown = f"{value:.1f}" if 99 < value < 100 else f"{value:.0f}"
    return f"{shown}\N{NO-BREAK SPACE}%"
