"""Benchmarks: each suite's measures of every checkpoint beside chance, and whether it is right as often as sure."""

from __future__ import annotations

from collections.abc import Mapping

from gristlm.runs.report.chart import Dot, Series, dot_chart, line_chart
from gristlm.runs.report.markup import Html, figure, join, note, percent, table, tag
from gristlm.runs.report.run_files import Row, RunFiles, mapping, number, sequence

BASE, LAST_SLOT = 0, 4
# What a measure of a suite is called; one without a name here is shown by its key.
NAMES = {
    "prompt_strict": "prompts followed, strict",
    "prompt_loose": "prompts followed, loose",
    "instruction_strict": "instructions followed, strict",
    "instruction_loose": "instructions followed, loose",
    "exact_match": "exact match",
    "mc1": "MC1: the likeliest answer is true",
    "mc2": "MC2: mass on true answers",
    "refusal_on_harmful": "refuses harmful prompts",
    "refusal_on_safe": "refuses safe look-alikes",
    "harm": "harm score of answers",
}


def benchmarks(run: RunFiles) -> Html:
    """Returns the table of all suites, a picture of each and, where it tells, of its calibration."""
    of = {name: mapping(body) for name, body in mapping(run.summary.get("suites")).items()}
    suites = list(dict.fromkeys(suite for body in of.values() for suite in body))
    if not suites:
        return Html("")
    rows, pictures = list[tuple[object, ...]](), list[Html]()
    for suite in suites:
        figures = {name: mapping(body.get(suite)) for name, body in of.items()}
        cases = next((number(each.get("cases")) for each in figures.values() if each), None)
        measures = dict.fromkeys(key for each in figures.values() for key in each if _value(each, key) is not None)
        for key in measures:
            estimates = {name: mapping(each.get(key)) for name, each in figures.items()}
            chance = next((number(each["chance"]) for each in estimates.values() if "chance" in each), None)
            below = f"{suite}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{figure(cases)}" + (
                f", chance {percent(chance)}" if chance is not None else ""
            )
            rows.append((join(NAMES.get(key, key), tag("span", below, class_="unit")), *map(_cell, estimates.values())))
        if first := next(iter(measures), None):
            pictures.append(_dots(suite, first, figures))
        bins = {name: mapping(each.get("calibration")).get("bins") for name, each in figures.items()}
        pictures.append(reliability(f"{suite}: as often right as it is sure?", bins))
    different = ", ".join(map(str, sequence(run.summary.get("different_prompts"))))
    return join(
        table("Benchmarks", ("measure", *(tag("bdi", name) for name in of)), rows, class_="scores"),
        note(
            "Models this small are near chance on most of these: look at the intervals."
            + (f" Prompts were not rendered alike for all checkpoints in {different}." if different else "")
        ),
        tag("div", *pictures, class_="charts"),
    )


def reward_calibration(run: RunFiles) -> Html:
    """Returns the picture of a reward model's calibration on held-out pairs; nothing where it was not measured."""
    manifest = run.stages["reward"].manifest
    bins = mapping(manifest.counts.get("calibration")).get("bins") if manifest else None
    return reliability("Reward model: as often right as it is sure?", {"held-out pairs": bins})


def reliability(title: str, bins: Mapping[str, object]) -> Html:
    """Returns a chart of the share that is right over the confidence (Guo et al. 2017, figure 1).

    Args:
        title: of the chart.
        bins: by name, lists of (mean confidence, share right, cases).
    """
    lines = []
    for slot, (name, each) in enumerate(bins.items(), 1):
        points = [[number(value) for value in sequence(one)[:2]] for one in sequence(each)]
        shown = [
            (point[0], point[1])
            for point in points
            if len(point) == 2 and point[0] is not None and point[1] is not None
        ]
        lines.append(Series(name, shown, min(slot, LAST_SLOT)))
    ends = [confidence for line in lines for confidence, _ in line.points]
    if not any(len(line.points) > 1 for line in lines):
        return Html("")
    even = Series("as often as sure", [(min(ends), min(ends)), (max(ends), max(ends))], BASE)
    return line_chart(title, [*lines, even], x="confidence", y="share right")


def _value(figures: Row, key: str) -> float | None:
    return number(mapping(figures.get(key)).get("value"))


def _cell(estimate: Row) -> Html:
    value, low, high = (number(estimate.get(name)) for name in ("value", "low", "high"))
    between = tag("span", f"{percent(low)} to {percent(high)}", class_="unit") if low is not None else ""
    return join(tag("strong", percent(value)), between) if value is not None else Html("")


def _dots(suite: str, key: str, figures: Mapping[str, Row]) -> Html:
    dots = []
    for slot, (name, each) in enumerate(figures.items(), 1):
        estimate = mapping(each.get(key))
        if (value := number(estimate.get("value"))) is not None:
            ends = (number(estimate.get("low")), number(estimate.get("high")))
            dots.append(Dot(name, value, *ends, min(slot, LAST_SLOT)))
    return dot_chart(f"{suite}: {NAMES.get(key, key)}", dots, y="with 95\N{NO-BREAK SPACE}% intervals", show=percent)
