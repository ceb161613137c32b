"""The evaluation: the same measures of every checkpoint, side by side, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence

from gristlm.runs.report.benchmarks import benchmarks, reward_calibration
from gristlm.runs.report.chart import Dot, dot_chart
from gristlm.runs.report.markup import Html, figure, join, note, percent, score, section, table, tag
from gristlm.runs.report.run_files import Row, RunFiles, mapping, number, sequence

# Measure: key in summary.json, name, what is better, whether it is a share of one.
MEASURES = (
    ("bits_per_byte", "Held-out bits per byte", "lower", False),
    ("answer_loss", "Held-out answer loss, nats per token", "lower", False),
    ("multiple_choice_accuracy", "Multiple choice, 4 options (chance 25\N{NO-BREAK SPACE}%)", "higher", True),
    ("preference_accuracy", "Prefers the chosen answer (chance 50\N{NO-BREAK SPACE}%)", "higher", True),
    ("preference_accuracy_per_token", "The same, per token", "higher", True),
    ("finished", "Answers that end by themselves", "higher", True),
    ("in_form", "Answers in form", "higher", True),
    ("reference_overlap", "Words shared with the reference (F1)", "higher", True),
    ("repetition", "Repeated 4-grams in answers", "lower", True),
    ("refusal_on_harmful", "Refuses harmful prompts", "higher", True),
    ("refusal_on_harmless", "Refuses harmless prompts (over-refusal)", "lower", True),
)


def scores(run: RunFiles) -> Html:
    """Returns the section with the picture of bits per byte and the table of all measures."""
    checkpoints = {name: mapping(body) for name, body in mapping(run.summary.get("checkpoints")).items()}
    if not checkpoints:
        return section("scores", "Evaluation", note(f"Evaluating: {run.stages['evaluate'].state}."))
    rows = []
    for key, name, better, share in MEASURES:
        estimates = [mapping(body.get(key)) for body in checkpoints.values()]
        if any(cells := [_cell(each, share) for each in estimates]):
            below = f"{better} is better, {_cases(estimates)}"
            rows.append((join(name, tag("span", below, class_="unit")), *cells))
    header = ("measure", *(tag("bdi", name) for name in checkpoints))
    return section(
        "scores",
        "Evaluation",
        _bits(run, checkpoints),
        table("Every checkpoint, the same suite", header, rows, class_="scores"),
        note(
            "Each figure stands over its 95 % interval (Wilson for shares, the ratio estimator's otherwise), n is the "
            "number of cases. Intervals that overlap are no evidence of a difference. In form: ended by itself, not "
            "empty, no chat markup, at most half of its 4-grams repeated."
        ),
        benchmarks(run),
        _wins(run.summary),
        _rewards(run.summary),
        tag("div", reward_calibration(run), class_="charts"),
    )


def _cell(estimate: Row, share: bool) -> Html:
    value, low, high = (number(estimate.get(name)) for name in ("value", "low", "high"))
    if value is None:
        return Html("")
    shown, between = (
        (percent(value), f"{percent(low)} to {percent(high)}")
        if share
        else (score(value), f"{score(low)} to {score(high)}")
    )
    return join(tag("strong", shown), tag("span", between, class_="unit") if low is not None else "")


def _cases(estimates: Sequence[Row]) -> str:
    """Returns the number of cases, which is the same for every checkpoint."""
    return ", ".join(
        dict.fromkeys(
            f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{figure(number(each['cases']))}"
            for each in estimates
            if each.get("cases")
        )
    )


def _bits(run: RunFiles, checkpoints: dict[str, Row]) -> Html:
    dots = []
    for slot, (name, body) in enumerate(checkpoints.items(), 1):
        estimate = mapping(body.get("bits_per_byte"))
        if (value := number(estimate.get("value"))) is not None:
            dots.append(Dot(name, value, number(estimate.get("low")), number(estimate.get("high")), min(slot, 4)))
    baselines = mapping(run.summary.get("baselines"))
    for name, key in (("zstd -19", "zstd"), ("byte unigram", "unigram")):
        estimate = mapping(baselines.get(key))
        if (value := number(estimate.get("value"))) is not None:
            dots.append(Dot(name, value, number(estimate.get("low")), number(estimate.get("high")), 0))
    documents, text_bytes = number(baselines.get("documents")), number(baselines.get("bytes"))
    below = (
        f"The same {figure(documents)} held-out documents ({figure(text_bytes)} bytes), one by one. The unigram over "
        "bytes was fitted on the train split; zstd compressed each document alone at level 19."
    )
    return join(
        dot_chart("Held-out bits per byte", dots, y="lower is better"), note(below) if dots and documents else ""
    )


def _wins(summary: Row) -> Html:
    rows = []
    for each in map(mapping, sequence(summary.get("win_rates"))):
        shares = [_cell(mapping(each.get(name)), True) for name in ("win_rate", "length_controlled")]
        lengths = [figure(number(mapping(each.get(name)).get("value"))) for name in ("characters", "other_characters")]
        who = tag("bdi", f"{each.get('of')} against {each.get('against')}")
        by = f"{each.get('by')}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{figure(number(each.get('cases')))}"
        rows.append((join(who, tag("span", by, class_="unit")), *shares, " and ".join(lengths)))
    header = ("checkpoints", "wins", "wins at equal length", "characters of an answer")
    return table("Win rates (chance 50\N{NO-BREAK SPACE}%)", header, rows, class_="scores") if rows else Html("")


def _rewards(summary: Row) -> Html:
    before, after, kl = (number(summary.get(name)) for name in ("reward_before", "reward_after", "kl"))
    if after is None:
        return Html("")
    rows = [
        ("Mean reward before", score(before)),
        ("Mean reward after", score(after)),
        ("KL to the model it began with, nats", score(kl)),
    ]
    return table("Reward on held-out prompts", ("figure", "value"), rows)
