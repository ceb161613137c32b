"""Line and dot charts as inline SVG, for both colour schemes, with each point's figures in a title and a table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from gristlm.runs.report.markup import Html, details, figure, join, score, table, tag

WIDTH, HEIGHT = 460.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 60.0, 14.0, 12.0, 36.0
LETTER = 8.0  # the width of a bold letter, about
MAX_POINTS = 120  # of a line; more are averaged in runs of equal length
TABLE_ROWS = 12
Points = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Series:
    """A line: its name, its (x, y) points, and the colour slot 1 to 4 that it keeps wherever it appears.

    Slot 0 is what the others are compared with.
    """

    name: str
    points: Points
    slot: int = 1


@dataclasses.dataclass(frozen=True)
class Reference:
    """A level to compare with, drawn as a dashed line."""

    name: str
    value: float


@dataclasses.dataclass(frozen=True)
class Dot:
    """A figure with its interval, one row of a dot chart; slot 0 is a baseline."""

    name: str
    value: float
    low: float | None
    high: float | None
    slot: int = 1


def line_chart(title: str, series: Sequence[Series], *, x: str, y: str, references: Sequence[Reference] = ()) -> Html:
    """Returns a figure with one line per series over a shared axis; nothing where no series has two points."""
    lines = [Series(each.name, thin(each.points), each.slot) for each in series if len(each.points) > 1]
    if not lines:
        return Html("")
    xs = [point[0] for line in lines for point in line.points]
    ys = [point[1] for line in lines for point in line.points] + [reference.value for reference in references]
    x_ticks, y_ticks = _ticks(min(xs), max(xs), 5), _ticks(min(ys), max(ys), 5)
    low_y, high_y = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def across(value: float) -> float:
        return LEFT + (value - min(xs)) / ((max(xs) - min(xs)) or 1) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low_y) / ((high_y - low_y) or 1) * (HEIGHT - TOP - BOTTOM)

    grid = [_horizontal(down(tick), "grid") for tick in y_ticks]
    labels = [_label(LEFT - 6, down(tick) + 4, shown, "end") for tick, shown in _shown(y_ticks)]
    labels += [
        _label(across(tick), HEIGHT - BOTTOM + 16, shown, "middle")
        for tick, shown in _shown(x_ticks)
        if min(xs) <= tick <= max(xs)
    ]
    labels.append(_label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x, "middle"))
    levels = [_level(reference, down(reference.value)) for reference in references]
    drawn = [_line(line, [(across(px), down(py)) for px, py in line.points], x) for line in lines]
    ends = ", ".join(f"{line.name} from {figure(line.points[0][1])} to {figure(line.points[-1][1])}" for line in lines)
    against = "".join(f"; {reference.name} {figure(reference.value)}" for reference in references)
    picture = tag(
        "svg", *grid, *levels, *drawn, *labels,
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", role="img", aria_label=f"{title}: {ends}{against}",
    )  # fmt: skip
    caption = tag(
        "figcaption", tag("strong", title), tag("span", y, class_="unit"), _legend(lines) if len(lines) > 1 else ""
    )
    return tag("figure", caption, picture, _figures(title, lines, x))


def dot_chart(title: str, dots: Sequence[Dot], *, y: str, show: Callable[[float | None], str] = score) -> Html:
    """Returns a figure with one row per dot and its 95 % interval as a line; nothing where there is no dot.

    `show` writes the values.
    """
    if not dots:
        return Html("")
    values = [value for dot in dots for value in (dot.value, dot.low, dot.high) if value is not None]
    ticks = _ticks(min(0.0, *values), max(values), 6)
    row, names, top = 30.0, 24.0 + LETTER * max(len(_short(dot.name)) for dot in dots), 8.0
    height = top + row * len(dots) + 26

    def across(value: float) -> float:
        return names + (value - ticks[0]) / ((ticks[-1] - ticks[0]) or 1) * (WIDTH - names - 50)

    parts: list[Html] = []
    for tick, shown in _shown(ticks) if show is score else [(tick, show(tick)) for tick in ticks]:
        parts.append(
            tag("line", x1=_px(across(tick)), x2=_px(across(tick)), y1=_px(top), y2=_px(height - 24), class_="grid")
        )
        parts.append(_label(across(tick), height - 8, shown, "middle"))
    for place, dot in enumerate(dots):
        middle = top + row * (place + 0.5)
        tone = _tone(dot.slot)
        between = f" (95 % interval {show(dot.low)} to {show(dot.high)})" if dot.low is not None else ""
        parts.append(_label(names - 10, middle + 4, _short(dot.name), "end", "name"))
        if dot.low is not None and dot.high is not None:
            parts.append(
                tag(
                    "line",
                    x1=_px(across(dot.low)),
                    x2=_px(across(dot.high)),
                    y1=_px(middle),
                    y2=_px(middle),
                    class_=f"line {tone}",
                )
            )
        parts.append(
            tag(
                "circle",
                tag("title", f"{dot.name}: {show(dot.value)}{between}"),
                cx=_px(across(dot.value)),
                cy=_px(middle),
                r="5",
                class_=f"dot {tone}",
            )
        )
        parts.append(
            _label(
                across(dot.high if dot.high is not None else dot.value) + 9,
                middle + 4,
                show(dot.value),
                "start",
                "value",
            )
        )
    described = ", ".join(f"{dot.name} {show(dot.value)}" for dot in dots)
    picture = tag(
        "svg", *parts, viewBox=f"0 0 {WIDTH:.0f} {height:.0f}", role="img", aria_label=f"{title}: {described}"
    )
    return tag("figure", tag("figcaption", tag("strong", title), tag("span", y, class_="unit")), picture)


def thin(points: Points, limit: int = MAX_POINTS) -> list[tuple[float, float]]:
    """Returns at most `limit` points: the means of equal runs of them, the last point kept as it is."""
    if len(points) <= limit:
        return list(points)
    run = math.ceil((len(points) - 1) / (limit - 1))
    runs = [points[at : at + run] for at in range(0, len(points) - 1, run)]
    return [(math.fsum(x for x, _ in each) / len(each), math.fsum(y for _, y in each) / len(each)) for each in runs] + [
        points[-1]
    ]


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Returns round numbers that cover [low, high], about `count` of them, steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        low, high = low - (abs(low) / 10 or 0.5), high + (abs(high) / 10 or 0.5)
    raw = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * place, 12) for place in range(first, last + 1)]


def _shown(ticks: Sequence[float]) -> list[tuple[float, str]]:
    """Returns each tick with its label, all with the decimals that their step needs."""
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return [(tick, f"{tick:,.{decimals}f}" if decimals < 5 else f"{tick:.1e}") for tick in ticks]


def _tone(slot: int) -> str:
    return f"s{slot}" if slot else "base"


def _line(line: Series, points: Points, x: str) -> Html:
    tone = _tone(line.slot)
    path = "M" + "L".join(f"{_px(px)} {_px(py)}" for px, py in points)
    hits = [
        tag(
            "circle",
            tag("title", f"{line.name}, {x} {figure(at)}: {figure(value, 4)}"),
            cx=_px(px),
            cy=_px(py),
            r="5",
            class_="hit",
        )
        for (px, py), (at, value) in zip(points, line.points, strict=True)
    ]
    end = tag("circle", cx=_px(points[-1][0]), cy=_px(points[-1][1]), r="4", class_=f"dot {tone}")
    return join(tag("path", d=path, class_=f"line {tone}"), end, *hits)


def _level(reference: Reference, y: float) -> Html:
    name = _label(
        WIDTH - RIGHT, y - 5 if y > TOP + 8 else y + 13, f"{reference.name} {score(reference.value)}", "end", "value"
    )
    return join(_horizontal(y, "reference"), name)


def _horizontal(y: float, class_: str) -> Html:
    return tag("line", x1=_px(LEFT), x2=_px(WIDTH - RIGHT), y1=_px(y), y2=_px(y), class_=class_)


def _label(x: float, y: float, value: str, anchor: str, class_: str = "tick") -> Html:
    return tag("text", value, x=_px(x), y=_px(y), text_anchor=anchor, class_=class_)


def _short(name: str, limit: int = 18) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _legend(lines: Sequence[Series]) -> Html:
    return tag(
        "span", *(tag("span", tag("i", class_=f"key {_tone(line.slot)}"), line.name) for line in lines), class_="legend"
    )


def _figures(title: str, lines: Sequence[Series], x: str) -> Html:
    shown = []
    for line in lines:
        stride = max(1, math.ceil(len(line.points) / TABLE_ROWS))
        places = sorted({*range(0, len(line.points), stride), len(line.points) - 1})
        shown += [(line.name, figure(line.points[at][0]), figure(line.points[at][1], 4)) for at in places]
    return details("Figures", table(title, ("series", x, "value"), shown))


def _px(value: float) -> str:
    return f"{value:.1f}"
