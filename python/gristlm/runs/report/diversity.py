"""How diverse the documents are: a picture for each figure of `report.json`'s `diversity` and `by`."""

from __future__ import annotations

import math

from gristlm.runs.report.chart import Dot, Series, dot_chart, line_chart
from gristlm.runs.report.markup import Html, figure, join, note, percent, tag
from gristlm.runs.report.run_files import Row, mapping, number, sequence

MAX_DOTS = 12
LANGUAGES = {"zxx": "source code", "und": "not identified"}  # what these tags of BCP 47 say of a document


def diversity(documents: Row) -> Html:
    """Returns the pictures and figures on diversity; nothing for a report from before they were measured."""
    measured, by = mapping(documents.get("diversity")), mapping(documents.get("by"))
    if not measured:
        return Html("")
    entropies, largest = mapping(measured.get("entropy_bits")), mapping(measured.get("largest_share"))
    pictures = [
        dot_chart(f"Share of text by {axis}", _shares(axis, mapping(by.get(axis))), y="of the bytes kept", show=percent)
        for axis in ("source", "domain", "licence", "language", "year")
        if len(mapping(by.get(axis))) > 1
    ]
    curve = [
        (math.log2(words), types) for words, types in map(_point, sequence(measured.get("type_token"))) if words > 0
    ]
    pictures.append(line_chart("Distinct words", [Series("distinct words", curve)], x="log2 of words read", y="words"))
    near = number(measured.get("near_duplicate_share")) or 0.0
    pictures.append(
        dot_chart(
            "Near duplicates",
            [Dot("near copies", near, None, None), Dot("the rest", 1 - near, None, None)],
            y="of the documents found",
            show=percent,
        )
    )
    said = [
        f"Over {axis}s: entropy {figure(number(entropies.get(axis)))} bits, the largest has "
        f"{percent(number(largest.get(axis)))}."
        for axis in entropies
        if number(entropies[axis]) is not None  # no document has an address of the web: there are no domains
    ]
    return join(note(" ".join(said)), tag("div", *pictures, class_="charts"))


def in_words(axis: str, name: str) -> str:
    """Returns what a name of one axis means, where that is not plain."""
    return LANGUAGES.get(name, name) if axis == "language" else name


def _shares(axis: str, amounts: Row) -> list[Dot]:
    sizes = {name: number(mapping(each).get("bytes")) or 0.0 for name, each in amounts.items()}
    whole = sum(sizes.values()) or 1.0
    return [
        Dot(in_words(axis, name) or "none", size / whole, None, None) for name, size in list(sizes.items())[:MAX_DOTS]
    ]


def _point(point: object) -> tuple[float, float]:
    values = [number(each) or 0.0 for each in sequence(point)]
    return (values[0], values[1]) if len(values) == 2 else (0.0, 0.0)
