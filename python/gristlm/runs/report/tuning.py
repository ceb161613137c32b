"""What tuning changed: each measure before and after, of the stages on conversations and on preferences."""

from __future__ import annotations

from gristlm.runs.report.markup import Html, note, percent, score, section, table
from gristlm.runs.report.run_files import RunFiles

STAGES = ("finetune", "preference")
# Measure: count in the manifest, what it is called, whether it is a share of one.
MEASURES = (
    ("heldout_loss", "Held-out loss", False),
    ("heldout_accuracy", "Held-out pairs whose chosen answer it prefers more than before", True),
    ("heldout_margin", "Margin of implicit rewards on held-out pairs", False),
    ("sampled_kl", "KL to the model it began with, nats per answer of its own", False),
    ("heldout_kl", "Log-ratio to it on held-out answers, nats per answer", False),
    ("answer_tokens", "Tokens of an answer to a held-out prompt", False),
    ("answers_ended", "Answers that end by themselves", True),
    ("pretrain_bits_per_byte", "Bits per byte on what pretraining held out", False),
    ("cloze_accuracy", "Cloze questions answered right", True),
    ("choice_accuracy", "Multiple-choice questions answered right", True),
)


def tuning(run: RunFiles) -> Html:
    """Returns the section with a table of every stage's figures before and after."""
    stages = [name for name in STAGES if run.stages[name].count("steps") is not None]
    rows = []
    for key, name, share in MEASURES:
        values = [run.stages[stage].count(f"{key}_{when}") for stage in stages for when in ("before", "after")]
        if any(value is not None for value in values):
            rows.append((name, *((percent if share else score)(value) for value in values)))
    if not rows:
        states = ", ".join(f"{name}: {run.stages[name].state}" for name in STAGES)
        return section("tuning", "Tuning", note(f"{states}."))
    header = ("measure", *(f"{stage}, {when}" for stage in stages for when in ("before", "after")))
    return section(
        "tuning",
        "Tuning",
        table("Before and after", header, rows),
        note(
            "Answers are greedy, to the first held-out prompts, and cut at max_sample_tokens: where fewer end by "
            "themselves, they are longer than shown. Bits per byte tell what general ability tuning cost."
        ),
    )
