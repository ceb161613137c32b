"""The data card: where the text came from, under which licences, in which languages, and what was dropped and why."""

from __future__ import annotations

from gristlm.runs.report.diversity import diversity, in_words
from gristlm.runs.report.markup import Html, details, figure, join, note, percent, section, size, table, tag
from gristlm.runs.report.run_files import Row, RunFiles, mapping, number, sequence

MAX_ROWS = 40
EXAMPLE_CHARACTERS = 300


def data_card(run: RunFiles) -> Html:
    """Returns the section on the documents."""
    if not run.documents:
        return section("data", "Data", note(f"Collecting: {run.stages['documents'].state}."))
    total, sources = mapping(run.documents.get("total")), mapping(run.documents.get("sources"))
    return section(
        "data",
        "Data",
        _sources(sources, total),
        tag(
            "div",
            _shares("Licences", "licence", mapping(total.get("licences"))),
            _shares("Languages", "language", mapping(total.get("languages"))),
            class_="columns",
        ),
        diversity(run.documents),
        _drops(total, mapping(run.documents.get("examples"))),
    )


def _sources(sources: Row, total: Row) -> Html:
    rows = [_source(tag("bdi", name), mapping(body)) for name, body in list(sources.items())[:MAX_ROWS]]
    if len(sources) > MAX_ROWS:
        rows.append((f"{len(sources) - MAX_ROWS} more sources", "", "", "", ""))
    rows.append(_source("All", total))
    return table("Sources", ("source", "found", "kept", "text kept", "dropped"), rows, class_="totals")


def _source(name: object, body: Row) -> tuple[object, ...]:
    found, kept = mapping(body.get("found")), mapping(body.get("kept"))
    dropped = sum(number(mapping(count).get("documents")) or 0 for count in mapping(body.get("dropped")).values())
    documents = (number(found.get("documents")), number(kept.get("documents")))
    return (name, figure(documents[0]), figure(documents[1]), size(number(kept.get("bytes"))), figure(dropped))


def _shares(caption: str, heading: str, counts: Row) -> Html:
    amounts = {name: number(mapping(count).get("bytes")) or 0.0 for name, count in counts.items()}
    whole = sum(amounts.values()) or 1.0
    rows = [
        (
            tag("bdi", in_words(heading, name) or "not stated"),
            figure(number(mapping(counts[name]).get("documents"))),
            size(amount),
            percent(amount / whole),
        )
        for name, amount in sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    ]
    if len(rows) > MAX_ROWS:
        rows = [*rows[:MAX_ROWS], (tag("bdi", f"{len(rows) - MAX_ROWS} more"), "", "", "")]
    return table(f"{caption} of what was kept", (heading, "documents", "text", "share"), rows) if rows else Html("")


def _drops(total: Row, examples: Row) -> Html:
    reasons = mapping(total.get("dropped"))
    if not reasons:
        return note("Nothing was dropped.")
    rows = [
        (tag("bdi", reason), figure(number(mapping(count).get("documents"))), size(number(mapping(count).get("bytes"))))
        for reason, count in reasons.items()
    ]
    shown = [
        details(join("Examples: ", tag("bdi", reason)), *map(_example, sequence(each)))
        for reason, each in examples.items()
        if sequence(each)
    ]
    return join(table("Dropped, by reason", ("reason", "documents", "text"), rows), *shown)


def _example(example: object) -> Html:
    body = mapping(example)
    where = " · ".join(str(body[key]) for key in ("source", "uri", "detail") if body.get(key))
    text, twin = (str(body.get(key) or "")[:EXAMPLE_CHARACTERS] for key in ("text", "twin"))
    return tag(
        "blockquote",
        tag("p", tag("bdi", where), class_="note"),
        tag("pre", text, dir="auto") if text else "",
        join(tag("p", "kept in its place:", class_="note"), tag("pre", twin, dir="auto")) if twin else "",
    )
