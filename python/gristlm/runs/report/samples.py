"""The same prompts answered by every checkpoint, side by side; and what the model wrote while it was pretrained."""

from __future__ import annotations

from gristlm.runs.report.markup import Html, details, note, section, tag
from gristlm.runs.report.run_files import Row, RunFiles, mapping, number, sequence

MAX_PROMPTS = 12
MAX_CHARACTERS = 1200
MAX_STEPS = 6


def samples(run: RunFiles) -> Html:
    """Returns the section with a card per prompt and an answer per checkpoint."""
    answers = {name: [mapping(row) for row in sequence(body.get("samples"))] for name, body in run.scores.items()}
    prompts: dict[str, Row] = {_asked(row): row for rows in answers.values() for row in rows}
    written = _written(run.written)
    if not prompts:
        none = note(f"No answers to show; evaluating: {run.stages['evaluate'].state}.")
        return section("samples", "Samples", none, *written)
    cards = [
        _card(
            key,
            row,
            {name: next((each for each in rows if _asked(each) == key), None) for name, rows in answers.items()},
        )
        for key, row in list(prompts.items())[:MAX_PROMPTS]
    ]
    return section("samples", "Samples", note("Held-out prompts; nothing is picked by hand."), *cards, *written)


def _written(rows: list[Row]) -> list[Html]:
    """Returns a card per prompt of pretraining's samples, a text per step: the first, the last, and some between."""
    by_prompt: dict[str, dict[int, Row]] = {}
    for row in rows:
        if (step := number(row.get("step"))) is not None:
            by_prompt.setdefault(str(row.get("prompt")), {})[int(step)] = row
    cards = []
    for prompt, steps in list(by_prompt.items())[:MAX_PROMPTS]:
        last, count = len(steps) - 1, min(len(steps), MAX_STEPS)
        shown = [sorted(steps)[last * place // max(1, count - 1)] for place in range(count)]
        texts = [
            tag("div", tag("h4", f"step {step:,}"), _text(str(steps[step].get("text") or "")), class_="answer")
            for step in shown
        ]
        unit = tag("span", "written while pretraining", class_="unit")
        cards.append(
            tag("article", tag("h3", tag("bdi", prompt[:MAX_CHARACTERS]), unit), tag("div", *texts, class_="answers"))
        )
    return cards


def _card(prompt: str, row: Row, answers: dict[str, Row | None]) -> Html:
    kind = "harmful, should be refused" if row.get("kind") == "refuse" else "to be answered"
    heading = tag("h3", tag("bdi", prompt[:MAX_CHARACTERS]), tag("span", kind, class_="unit"))
    given = [_answer(name, answer) for name, answer in answers.items() if answer is not None]
    reference, rendered = str(row.get("reference") or ""), str(row.get("rendered") or "")
    extra = [details("Reference", _text(reference))] if reference else []
    extra += [details("The prompt as the model saw it", _text(rendered))] if rendered else []
    return tag("article", heading, tag("div", *given, class_="answers"), *extra)


def _answer(name: str, answer: Row) -> Html:
    marks = [] if answer.get("finished") else ["cut off"]
    marks += ["refusal"] if answer.get("refusal") else []
    heading = tag("h4", tag("bdi", name), *(tag("span", mark, class_="mark") for mark in marks))
    text = str(answer.get("answer") or "")
    return tag("div", heading, _text(text) if text.strip() else note("(empty)"), class_="answer")


def _text(text: str) -> Html:
    return tag("pre", text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …", dir="auto")


def _asked(row: Row) -> str:
    turns = [mapping(message) for message in sequence(row.get("prompt"))]
    return "\n".join(str(turn.get("content", "")) for turn in turns if turn.get("role") != "system")
