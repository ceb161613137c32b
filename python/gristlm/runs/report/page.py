"""The page: head, contents, and the sections in their order."""

from __future__ import annotations

from pathlib import Path

from gristlm.runs.report.curves import curves
from gristlm.runs.report.data_card import data_card
from gristlm.runs.report.lineage_graph import lineage
from gristlm.runs.report.markup import Html, join, tag, text
from gristlm.runs.report.reproduce import costs, reproduce
from gristlm.runs.report.run_files import RunFiles
from gristlm.runs.report.samples import samples
from gristlm.runs.report.scores import scores
from gristlm.runs.report.summary import summary
from gristlm.runs.report.tokenizer import tokenizer
from gristlm.runs.report.tuning import tuning

STYLE = Path(__file__).parent / "page.css"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SECTIONS = (
    ("data", "Data", data_card),
    ("tokenizer", "Tokenizer", tokenizer),
    ("curves", "Training", curves),
    ("tuning", "Tuning", tuning),
    ("scores", "Evaluation", scores),
    ("samples", "Samples", samples),
    ("costs", "Time and memory", costs),
    ("lineage", "Lineage", lineage),
    ("reproduce", "Reproduce", reproduce),
)


def render(run: RunFiles) -> Html:
    """Returns the whole report as one HTML document."""
    title = f"{run.path.resolve().name}: gristlm report"
    style = Html(STYLE.read_text(encoding="utf-8"))
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}">'),
        Html('<meta name="color-scheme" content="light dark">'),
        tag("title", title),
        tag("style", style),
    )
    main = _main(run)
    footer = tag("footer", _footer(run))
    return join(Html("<!doctype html>\n"), tag("html", head, tag("body", main, footer), lang="en"), Html("\n"))


def _main(run: RunFiles) -> Html:
    contents = tag(
        "nav", *(tag("a", name, href=f"#{identifier}") for identifier, name, _ in SECTIONS), aria_label="Contents"
    )
    return tag("main", summary(run), contents, *(make(run) for _, _, make in SECTIONS), id="main")


def live(run: RunFiles) -> Html:
    """Returns the report as a page of a server: style and script are files, and a step's documents can be asked for."""
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'),
        tag("title", f"{run.path.resolve().name}: gristlm report, live"),
        Html('<link rel="stylesheet" href="/report.css"><script type="module" src="/report.js"></script>'),
    )
    main = _main(run)
    lookup = Html(
        '<section id="steps" aria-labelledby="steps-heading"><h2 id="steps-heading">Documents of a step</h2>'
        '<p class="note">Click a point of a pretraining chart, or give a step.</p>'
        '<form id="step-form"><label for="step-number">Step</label> <input id="step-number" type="number" min="1" '
        'required> <button type="submit">Show its documents</button></form><p id="step-status" role="status"></p>'
        '<div class="scroll"><table id="step-documents" hidden><caption>Documents, by tokens</caption><thead><tr>'
        '<th scope="col">document</th><th scope="col">licence</th><th scope="col">source</th><th scope="col">uri</th>'
        '<th scope="col">tokens</th></tr></thead><tbody></tbody></table></div></section>'
    )
    samples = Html(
        '<section id="live-samples" aria-labelledby="live-heading" hidden>'
        '<h2 id="live-heading">Samples as it trains</h2>'
        '<p class="note">What the newest checkpoints say, greedily; the newest first.</p>'
        '<div id="live-sample-list"></div></section>'
    )
    footer = tag("footer", tag("p", id="live", role="status"), _footer(run))
    return join(
        Html("<!doctype html>\n"), tag("html", head, tag("body", main, samples, lookup, footer), lang="en"), Html("\n")
    )


def _footer(run: RunFiles) -> str:
    version = next((s.manifest.versions.get("gristlm") for s in run.stages.values() if s.manifest), None)
    return f"Written by gristlm{f' {version}' if version else ''} from the manifests, metrics and scores of this run."
