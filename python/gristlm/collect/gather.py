"""The first pass: read every source, clean in batches, and lay what is left in `work/part-NNNNN.arrow`.

Beside each part, `part-NNNNN.json` (written last) holds what was counted and the place to go on from, so that a run
that was cut off goes on after its last whole part. A part is a batch of `CollectConfig.batch_bytes`; where one part
ends does not show in the result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from gristlm.collect.batch import SCHEMA, Batch
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import Source
from gristlm.collect.dropped import SCHEMA as DROPPED
from gristlm.collect.dropped import SUFFIX
from gristlm.collect.pace import Pace
from gristlm.collect.reader import Place, Reader, still_there
from gristlm.collect.report import Tally
from gristlm.runs import progress
from gristlm.runs.files import atomic_path, write_json


def gather(sources: Sequence[Source], config: CollectConfig, work: Path) -> tuple[list[Path], Tally]:
    """Reads and cleans everything; returns the parts, in order, and what was counted.

    Raises:
        InputError: `config.strict`, and something could not be read; names it.
    """
    work.mkdir(exist_ok=True)
    parts, tally, place = finished(work, config)
    if not still_there(sources, place):
        parts, tally, place = [], Tally(config.examples_per_reason), Place()
    whole = {part.with_suffix(suffix) for part in parts for suffix in (part.suffix, ".json", SUFFIX)}
    for stale in set(work.iterdir()) - whole:
        stale.unlink()
    reader = Reader(
        sources,
        place,
        limit=config.max_bytes_per_source,
        num_threads=config.num_threads,
        max_bytes=config.batch_bytes,
    )
    items = reader.items()
    pace = Pace(reader, tally)
    with contextlib.closing(items), progress.bar("collect", total=pace.total, unit="MB of input") as bar:
        while not place.done:
            batch = Batch(config)
            for item in items:
                place.source_bytes += batch.add(item)
                if pace.due():
                    bar.update(pace.done, **pace.figures(tally, batch.tally))
                if batch.full:
                    break
            table = batch.cleaned()
            part = work / f"part-{len(parts):05d}.arrow"
            with atomic_path(part) as path, pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
                writer.write_table(table)
            drops = batch.ledger.table()
            with (
                atomic_path(part.with_suffix(SUFFIX)) as path,
                pa.OSFile(str(path), "wb") as sink,
                pa.ipc.new_file(sink, DROPPED) as writer,
            ):
                writer.write_table(drops)
            write_json(part.with_suffix(".json"), {"place": dataclasses.asdict(place), "tally": batch.tally.to_json()})
            parts.append(part)
            tally.merge(batch.tally)
            bar.update(pace.done, **pace.figures(tally))
    return parts, tally


def finished(work: Path, config: CollectConfig) -> tuple[list[Path], Tally, Place]:
    """Returns the whole parts of an earlier, cut-off call, what they counted, and the place after the last."""
    parts: list[Path] = []
    tally, place = Tally(config.examples_per_reason), Place()
    while (part := work / f"part-{len(parts):05d}.arrow").is_file() and part.with_suffix(".json").is_file():
        saved = json.loads(part.with_suffix(".json").read_bytes())
        tally.merge(Tally.from_json(saved["tally"], config.examples_per_reason))
        place = Place(**saved["place"])
        parts.append(part)
    return parts, tally, place
