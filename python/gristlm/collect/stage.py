"""The stage `collect`: sources in; clean documents without duplicates out, each with its source and its licence.

In two passes. The first streams every source through cleaning and language identification into parts on disk
(`gather.py`); the second looks for duplicates over all of them, splits, and writes the shards (`select.py`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from gristlm.collect import loud, spread
from gristlm.collect.card import Card, markdown
from gristlm.collect.cluster import cluster
from gristlm.collect.config import CollectConfig
from gristlm.collect.finished import is_finished
from gristlm.collect.gather import gather
from gristlm.collect.report import Tally
from gristlm.collect.select import select
from gristlm.collect.sources import CRAWL, from_config
from gristlm.errors import InputError
from gristlm.runs import artifact
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_atomic, write_json
from gristlm.runs.progress import say

WORK = "work"
REPORT = "report.json"
CARD = "data_card.md"


def run(config: CollectConfig, inputs: Mapping[str, Path], output_dir: Path, *, ray: str | None = None) -> Manifest:
    """Makes the artifact "documents": `train-NNNNN.parquet`, `heldout-NNNNN.parquet` and `report.json`.

    Args:
        config: the sources and what to keep of them.
        inputs: none; sources are named in the config.
        output_dir: where to write; a run that was cut off goes on, with the same result.
        ray: read, and look for near duplicates, on this Ray cluster ("local" starts one); `output_dir` must be in reach
            of all its workers.

    Raises:
        InputError: a source does not exist, nothing was left to keep, or (strict) something cannot be read.
        ConfigError: `output_dir` holds other work.
        StorageError: the output cannot be written.
    """
    sources = from_config(config, output_dir)
    stage = artifact.begin(output_dir, kind="documents", config=config, inputs={**inputs, **recorded(config)})
    if stage.manifest:
        return stage.manifest
    try:
        for torn in output_dir.glob(".*.tmp"):
            torn.unlink()
        started = time.monotonic()
        if ray is not None:
            spread.check(config)
        with contextlib.nullcontext() if ray is None else cluster(ray, config.num_threads) as workers:
            if workers is None:
                parts, tally = gather(sources, config, output_dir / WORK)
            else:
                parts, tally = spread.gather_on_ray(config, output_dir, workers)
            gathered = time.monotonic()
            counted = Card()
            select(parts, config, tally, output_dir, counted, workers)
        finished = time.monotonic()
        if not tally.total("kept").documents:
            raise InputError(
                f"no document is left of the {tally.total('found').documents:,} that were found. {_drops(tally)}"
            )
        warnings = loud.warnings(config, tally)
        report = {**tally.report(), "warnings": warnings, **counted.figures(tally)}
        write_json(output_dir / REPORT, report)
        write_atomic(output_dir / CARD, markdown(report))
        times = {
            "read_and_clean_seconds": round(gathered - started, 3),
            "deduplicate_and_write_seconds": round(finished - gathered, 3),
        }
        with (output_dir / "metrics.jsonl").open("a") as log:
            log.write(json.dumps(times) + "\n")
        for folder in (WORK, spread.FOLDER):
            shutil.rmtree(output_dir / folder, ignore_errors=True)
        shutil.rmtree(output_dir / CRAWL, ignore_errors=True)
        _summarise(tally, finished - started)
        for warning in warnings:
            say(f"  WARNING: {warning}")
        kept, split = tally.total("kept"), tally.by_name("split")
        return stage.finish(
            counts={
                "documents": kept.documents,
                "bytes": kept.bytes,
                "train_documents": split["train"].documents if "train" in split else 0,
                "heldout_documents": split["heldout"].documents if "heldout" in split else 0,
                "repeated_documents": tally.total("repeated").documents,
                "dropped_documents": tally.total("dropped").documents,
            }
        )
    finally:
        stage.close()


def recorded(config: CollectConfig) -> dict[str, Path]:
    """Returns all files that the config names but plain sources, as inputs: the manifest names their content."""
    lists = {f"opt_out{number or ''}": Path(file) for number, file in enumerate(config.opt_out)}
    if config.quality_model is not None:
        lists["quality_model"] = Path(config.quality_model.path)
    if config.mixture is not None and config.mixture.tokenizer is not None:
        lists["tokenizer"] = Path(config.mixture.tokenizer)
    lists |= {f"evaluation_set{number or ''}": Path(file) for number, file in enumerate(config.evaluation_sets or ())}
    finished = [Path(name) for name in config.sources if is_finished(Path(name))]
    return {**lists, **{f"documents{number or ''}": path for number, path in enumerate(finished)}}


def _summarise(tally: Tally, seconds: float) -> None:
    found, kept = tally.total("found"), tally.total("kept")
    of = f"of {found.documents:,} found, {found.bytes / 1e6:.1f} MB"
    say(f"  kept {kept.documents:,} documents, {kept.bytes / 1e6:.1f} MB, {of}, in {seconds:.1f} s")
    for source in tally.sources():
        count, licences = tally.total("kept", source=source), tally.by_name("licence", source)
        named = ", ".join(f"{name} {count.documents:,}" for name, count in list(licences.items())[:4])
        more = f", {len(licences) - 4} more licences" if len(licences) > 4 else ""
        say(f"    from {source}: {count.documents:,} documents, {count.bytes / 1e6:.1f} MB ({named}{more})")
    say(f"  {_drops(tally)}")
    if again := tally.total("repeated").documents:
        say(f"  repeated by the mixture: {again:,} documents, {tally.total('repeated').bytes / 1e6:.1f} MB")
    split, languages = tally.by_name("split"), tally.by_name("language")
    spoken = ", ".join(
        f"{'source code' if name == 'zxx' else name} {count.documents:,}" for name, count in list(languages.items())[:6]
    )
    say(f"  languages: {spoken}")
    say(
        "  split: "
        + ", ".join(
            f"{name} {count.documents:,} documents, {count.bytes / 1e6:.1f} MB" for name, count in split.items()
        )
    )


def _drops(tally: Tally) -> str:
    reasons = [
        f"{reason} {count.documents:,} ({count.bytes / 1e6:.2f} MB)"
        for reason, count in tally.by_name("dropped").items()
    ]
    return f"dropped: {', '.join(reasons)}" if reasons else "dropped: nothing"
