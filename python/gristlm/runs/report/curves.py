"""Loss, bits per byte, reward and KL over the steps of each training stage."""

from __future__ import annotations

from collections.abc import Sequence

from gristlm.runs.report.alarms import alarms, limit_of
from gristlm.runs.report.chart import Reference, Series, line_chart
from gristlm.runs.report.markup import Html, note, score, section, table, tag
from gristlm.runs.report.run_files import RunFiles, number

# A chart: stage, title, unit, and its lines: name, colour slot 1 to 4, and its metric.
Line = tuple[str, int, str]
CHARTS: Sequence[tuple[str, str, str, Sequence[Line]]] = (
    (
        "pretrain",
        "Pretraining loss",
        "nats per token",
        (("train", 1, "loss"), ("held out", 2, "heldout_loss")),
    ),
    (
        "pretrain",
        "Bits per byte",
        "baselines on held-out documents",
        (("train", 1, "bits_per_byte"), ("held out", 2, "heldout_bits_per_byte")),
    ),
    (
        "finetune",
        "Finetuning loss",
        "nats per answer token",
        (("train", 1, "loss"), ("held out", 2, "heldout_loss")),
    ),
    ("preference", "Preference loss", "loss", (("train", 1, "loss"), ("held out", 2, "heldout_loss"))),
    (
        "preference",
        "Preference accuracy",
        "share of pairs",
        (("train", 1, "accuracy"), ("held out", 2, "heldout_accuracy")),
    ),
    ("reward", "Reward model loss", "loss", (("train", 1, "loss"), ("held out", 2, "heldout_loss"))),
    (
        "reward",
        "Reward model accuracy",
        "share of pairs",
        (("train", 1, "accuracy"), ("held out", 2, "heldout_accuracy")),
    ),
    (
        "rlhf",
        "Reward",
        "mean reward",
        (("sampled", 1, "reward"), ("held out", 2, "heldout_reward")),
    ),
    ("rlhf", "KL to the model it began with", "nats per answer", (("sampled", 1, "kl"), ("held out", 2, "heldout_kl"))),
    ("rlhf", "Answer length", "tokens", (("sampled", 1, "completion_tokens"),)),
    ("rlhf", "Entropy", "nats per sampled token", (("sampled", 1, "entropy"),)),
    ("rlhf", "Repetition", "share of token triples said before", (("sampled", 1, "repetition"),)),
)


def curves(run: RunFiles) -> Html:
    """Returns the section with every chart that has something to show."""
    charts = [*(_chart(run, *chart) for chart in CHARTS), _parts(run), *_arms(run), *_truths(run)]
    trained = ("pretrain", "finetune", "preference", "reward", "rlhf")
    missing = [f"{name}: {run.stages[name].state}" for name in trained if run.stages[name].state != "complete"]
    return section(
        "curves",
        "Training",
        tag("div", *charts, class_="charts") if any(charts) else note("There are no metrics to draw."),
        _by_source(run),
        alarms(run),
        note(", ".join(missing) + ".") if missing else "",
    )


def _chart(run: RunFiles, stage: str, title: str, unit: str, lines: Sequence[Line]) -> Html:
    series = [Series(name, run.stages[stage].series(metric), slot) for name, slot, metric in lines]
    references: list[Reference] = []
    if title == "Bits per byte":
        levels = [
            (name, number(run.summary.get(f"bits_per_byte_{key}")))
            for name, key in (("byte unigram", "unigram"), ("zstd -19", "zstd"))
        ]
        references = [Reference(name, value) for name, value in levels if value is not None]
    limit = limit_of(run.stages["rlhf"], lines[0][2]) if stage == "rlhf" else None
    if limit is not None:
        references.append(Reference(*limit))
    return line_chart(title, series, x="step", y=unit, references=references)


def _by_source(run: RunFiles) -> Html:
    """Returns the table of what pretraining measured of each source's held-out documents, first and last."""
    stage, prefix = run.stages["pretrain"], "source_bits_per_byte/"
    names = dict.fromkeys(name for row in stage.metrics for name in row if name.startswith(prefix))
    points = {name.removeprefix(prefix): stage.series(name) for name in names}
    rows = [
        (tag("bdi", name), *(f"{score(value)} (step {step:,.0f})" for step, value in (line[0], line[-1])))
        for name, line in points.items()
        if line
    ]
    header = ("source", "measured first", "measured last")
    return table("Held-out bits per byte of each source", header, rows) if rows else Html("")


def _arms(run: RunFiles) -> list[Html]:
    """Returns the charts of RLHF with one line per arm."""
    arms = list(run.arms.items())[:4]
    return [
        line_chart(
            f"{title}, by arm",
            [Series(name, files.series(metric), slot) for slot, (name, files) in enumerate(arms, 1)],
            x="step",
            y=unit,
        )
        for stage, title, unit, ((_, _, metric), *_) in CHARTS
        if stage == "rlhf"
    ]


def _truths(run: RunFiles) -> list[Html]:
    """Returns, for RLHF and each arm of it, the criterion and both rewards at the checks, against the KL divergence."""
    charts = []
    for name, files in {"": run.stages["rlhf"], **run.arms}.items():
        kl = dict(files.series("check_kl_k1"))
        lines = (("truth", 1, "criterion"), ("reward", 2, "reward"), ("second reward", 3, "second_reward"))
        series = [
            Series(line, [(kl[step], value) for step, value in files.series(f"check_{metric}") if step in kl], slot)
            for line, slot, metric in lines
        ]
        what = "Truth and rewards" if series[0].points else "Both rewards"
        title = f"{what} as the policy moves away" + (f": {name}" if name else "")
        if series[0].points or series[2].points:
            charts.append(line_chart(title, series, x="KL to the start, nats per answer", y="mean at each check"))
    return charts


def _parts(run: RunFiles) -> Html:
    """Returns the chart of what the reward is mixed from, where it is logged as `reward/<name>`."""
    stage = run.stages["rlhf"]
    names = list(dict.fromkeys(name for row in stage.metrics for name in row if name.startswith("reward/")))[:4]
    parts = [Series(name.removeprefix("reward/"), stage.series(name), slot) for slot, name in enumerate(names, 1)]
    return line_chart("Parts of the reward", parts, x="step", y="mean of each") if len(parts) > 1 else Html("")
