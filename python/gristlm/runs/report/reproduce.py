"""What the run cost, and how to make it again: its recipe, seeds and versions."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gristlm.runs.report.markup import Html, details, duration, note, section, size, table, tag
from gristlm.runs.report.run_files import RunFiles, mapping

# A stage's table in a recipe, where it is not the directory's name.
TABLES = {"documents": "collect"}


def costs(run: RunFiles) -> Html:
    """Returns the section on time and memory of each stage."""
    done = {name: stage for name, stage in run.stages.items() if stage.manifest is not None}
    if not done:
        return section("costs", "Time and memory", note("No stage is complete."))
    seconds = {name: stage.measured("seconds") or 0.0 for name, stage in done.items()}
    longest = max(seconds.values()) or 1.0
    rows = [
        (
            name,
            _bar(seconds[name] / longest),
            duration(seconds[name]),
            duration(stage.measured("cpu_seconds")),
            size(stage.measured("peak_memory_bytes")),
        )
        for name, stage in done.items()
    ]
    processor = sum(stage.measured("cpu_seconds") or 0.0 for stage in done.values())
    peak = max(stage.measured("peak_memory_bytes") or 0.0 for stage in done.values())
    rows.append(("All", Html(""), duration(sum(seconds.values())), duration(processor), size(peak)))
    missing = [f"{name}: {stage.state}" for name, stage in run.stages.items() if stage.manifest is None]
    return section(
        "costs",
        "Time and memory",
        table("Per stage", ("stage", "", "time", "CPU time", "peak memory"), rows, class_="totals costs"),
        note(", ".join(missing) + ".") if missing else "",
    )


def reproduce(run: RunFiles) -> Html:
    """Returns the section with the recipe and the versions."""
    manifests = {name: stage.manifest for name, stage in run.stages.items() if stage.manifest is not None}
    if not manifests:
        return section("reproduce", "Reproduce", note("No stage is complete."))
    recipe = to_toml({name: manifest.config for name, manifest in manifests.items()})
    versions: dict[str, set[str]] = {}
    for manifest in manifests.values():
        for package, version in manifest.versions.items():
            versions.setdefault(package, set()).add(version)
    rows = [(package, ", ".join(sorted(found))) for package, found in versions.items()]
    return section(
        "reproduce",
        "Reproduce",
        tag(
            "p",
            "Save the recipe below as ",
            tag("code", "recipe.toml"),
            " and run it; on the same machine and versions it gives the digests above.",
        ),
        tag("pre", tag("code", "gristlm run recipe.toml --output runs/again"), class_="command"),
        details("recipe.toml: every setting as it was used", tag("pre", tag("code", recipe))),
        table("Versions", ("package", "version"), rows, numeric=False),
    )


def to_toml(configs: Mapping[str, Mapping[str, object]]) -> str:
    """Returns a recipe with the resolved settings of each stage; the model's, that pretraining carries, stand apart."""
    tables: dict[str, Mapping[str, object]] = {}
    for stage, config in configs.items():
        rest = dict(config)
        if stage == "pretrain" and isinstance(rest.get("model"), Mapping):
            tables["model"] = mapping(rest.pop("model"))
        tables[TABLES.get(stage, stage)] = rest
    return "\n".join(_table(name, body) for name, body in tables.items())


def _table(name: str, body: Mapping[str, object]) -> str:
    plain = [f"{_key(key)} = {_toml(value)}" for key, value in body.items() if value is not None]
    return "\n".join([f"[{name}]", *plain, ""])


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value if item is not None) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value).replace("\x7f", "\\u007f")  # a JSON string, integer or truth value is TOML, but for DEL


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _toml(name)


def _bar(share: float) -> Html:
    filled = tag("rect", width=f"{100 * share:.1f}", height="10")
    return tag(
        "svg",
        filled,
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{100 * share:.0f} %",
    )
