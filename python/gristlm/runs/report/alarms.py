"""The guards of RLHF against reward hacking: what each watched, how near it came to its limit, what stopped the run."""

from __future__ import annotations

from collections.abc import Sequence

from gristlm.runs.report.markup import Html, figure, note, table
from gristlm.runs.report.run_files import RunFiles, StageFiles, number

# Setting, what it watches, the metric, and whether it fires below its limit.
GUARDS: Sequence[tuple[str, str, str, bool]] = (
    ("max_kl", "KL, nats per answer", "kl", False),
    ("min_entropy", "entropy, nats per token", "entropy", True),
    ("max_length_ratio", "length, times the first step's", "completion_tokens", False),
    ("max_repetition", "repetition, share of token triples", "repetition", False),
)


def alarms(run: RunFiles) -> Html:
    """Returns the table of guards, for RLHF and each arm of it; nothing where none was set and nothing stopped."""
    rows, said = [], []
    for name, files in {"": run.stages["rlhf"], **run.arms}.items():
        if files.manifest is None or (not name and run.arms):
            continue
        counts = files.manifest.counts
        stopped, back = counts.get("stopped"), number(counts.get("rolled_back_to"))
        where = f"{name}: " if name else ""
        if isinstance(stopped, str) and stopped:
            said.append(f"{where}stopped after step {figure(number(counts.get('steps')))}: {stopped}.")
        if back is not None:
            said.append(f"{where}rolled back to step {figure(back)}, the best check.")
        rows += [(f"{where}{what}", *cells) for what, *cells in _watched(files)]
    if not rows and not said:
        return Html("")
    header = ("watched", "setting", "limit", "furthest", "at step", "verdict")
    return Html(
        (table("Guards against reward hacking", header, rows) if rows else Html(""))
        + "".join(note(each) for each in said)
    )


def limit_of(files: StageFiles, metric: str) -> tuple[str, float] | None:
    """Returns the name and the value of the limit on a metric's own scale, None where there is none."""
    for setting, _, watched, _ in GUARDS:
        limit = _setting(files, setting)
        if watched == metric and limit is not None:
            first = files.series(metric)[:1] if setting == "max_length_ratio" else [(0.0, 1.0)]
            return (setting, limit * first[0][1]) if first else None
    return None


def _watched(files: StageFiles) -> list[tuple[str, str, str, str, str, str]]:
    rows = []
    for setting, what, metric, below in GUARDS:
        limit, points = _setting(files, setting), files.series(metric)
        if limit is None or not points:
            continue
        scale = points[0][1] or 1.0 if setting == "max_length_ratio" else 1.0
        step, value = min(points, key=lambda point: point[1] if below else -point[1])
        crossed = value / scale < limit if below else value / scale > limit
        verdict = "alarm" if crossed else "within"
        rows.append((what, setting, figure(limit), figure(value / scale), figure(step), verdict))
    drop, seconds = _setting(files, "max_second_drop"), files.series("check_second_reward")
    if drop is not None and len(seconds) > 1:
        spread = next((std for _, std in files.series("check_second_std") if std), None)
        best, worst, at = seconds[0][1], 0.0, seconds[0][0]
        for step, value in seconds:
            best = max(best, value)
            if best - value > worst:
                worst, at = best - value, step
        if spread is not None:
            verdict = "alarm" if worst / spread > drop else "within"
            what = "fall of the second reward, its standard deviations"
            rows.append((what, "max_second_drop", figure(drop), figure(worst / spread), figure(at), verdict))
    return rows


def _setting(files: StageFiles, name: str) -> float | None:
    return number(files.manifest.config.get(name)) if files.manifest else None
