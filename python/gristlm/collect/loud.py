"""What a person should look at: a filter that dropped nothing of what it saw, or all of it, or emptied a source."""

from __future__ import annotations

from gristlm.collect import contamination, optout
from gristlm.collect.config import CollectConfig
from gristlm.collect.report import Tally

DROPPING = ("gopher_quality", "gopher_repetition", "c4", "fineweb")
MODEL = "quality_model"
FEW = 100
"""Of fewer documents, nothing dropped says nothing (ours)."""


def warnings(config: CollectConfig, tally: Tally) -> list[str]:
    """Returns a sentence for what dropped or cut nothing, or everything, and each source that came to nothing."""
    dropped = {name: count.documents for name, count in tally.by_name("dropped").items()}
    filters = _filters(config)
    seen = tally.total("found").documents - sum(count for name, count in dropped.items() if name not in filters)
    said = []
    for name in filters:
        count = dropped.get(name, 0)
        if count == 0 and seen >= FEW:
            said.append(f"{name} dropped nothing of {seen:,} documents; is it set as you mean it?")
        elif count and count == seen:
            said.append(f"{name} dropped all {seen:,} documents that it saw; is it meant for this text?")
        seen -= count
    cutting = "repeated_bytes" if config.repeated_bytes is not None else "repeated_units"
    if getattr(config, cutting) is not None and seen >= FEW and cutting not in tally.by_name("changes"):
        said.append(f"{cutting} cut nothing from {seen:,} documents; is it set as you mean it?")
    if (hit := dropped.get(contamination.REASON, 0)) and not seen:
        said.append(f"{contamination.REASON}: all {hit:,} documents share a run of words with evaluation_sets")
    if config.evaluation_sets:
        sets = contamination.load(config.evaluation_sets, config.contamination_ngram)
        if sets.too_short:
            said.append(
                f"{sets.too_short:,} of the {len(sets.texts):,} rows of evaluation_sets have fewer than {sets.ngram} "
                "words (contamination_ngram), so they were not looked for"
            )
    for source in tally.sources():
        whole = tally.total("found", source=source).documents
        if whole and not tally.total("kept", source=source).documents:
            reason, most_of = next(iter(tally.by_name("dropped", source).items()), ("", None))
            most = f", {most_of.documents:,} of them as {reason!r}" if most_of else ""
            said.append(f"nothing is left of the {whole:,} documents from {source}{most}")
    return said


def _filters(config: CollectConfig) -> list[str]:
    """Returns the reasons of the filters that are on, in the order in which documents pass them."""
    rules = [rule if isinstance(rule, str) else rule[0] for rule in config.rules]
    on = {
        optout.REASON: bool(config.opt_out),
        "licence": bool(config.licences),
        **{rule: True for rule in rules if rule in DROPPING},
        MODEL: config.quality_model is not None,
        "language": bool(config.languages),
        "near duplicate": config.near_duplicate_threshold is not None,
    }
    return [name for name, wanted in on.items() if wanted]
