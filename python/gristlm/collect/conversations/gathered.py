"""Chat and preference data of others as the artifact "conversations", with the source and licence of every row.

The rows go the way that documents go (`collect.gather`, `collect.select`): opt-outs, licences, exact duplicates,
mixture, split by a hash of the id, a report of every drop; only the files at the end differ.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq

from gristlm.collect.config import CollectConfig
from gristlm.collect.files.chats import FILES
from gristlm.collect.gather import gather as read
from gristlm.collect.select import SPLITS, select
from gristlm.collect.sources import from_config
from gristlm.collect.stage import REPORT, WORK, recorded
from gristlm.errors import InputError
from gristlm.runs import artifact
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import atomic_path, write_json
from gristlm.runs.progress import say

_SUFFIX = {"train": "", "heldout": "_heldout"}


def gather(config: CollectConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Makes `sft`, `preferences`, `labelled` and `prompts`, each as `.jsonl` and `_heldout.jsonl`, and `report.json`.

    Every row carries `document_id`, `kind` (the format it came in; of a prompt "answer"), `source`, `uri`, `licence`.

    Args:
        config: the sources: files of rows in any format of `gristlm.chat_formats`, archives of them, data sets of the
            hub. Cleaning, near duplicates and languages are for documents and not used here.
        inputs: none.
        output_dir: where to write; a run that was cut off goes on, with the same result.

    Raises:
        InputError: a source does not exist, no row is left, or (strict) one cannot be used.
        ConfigError: `output_dir` holds other work.
    """
    config = config.model_copy(update={"rules": [], "near_duplicate_threshold": None, "languages": []})
    sources = from_config(config, output_dir, chats=True)
    stage = artifact.begin(output_dir, kind="conversations", config=config, inputs={**inputs, **recorded(config)})
    if stage.manifest:
        return stage.manifest
    try:
        work = output_dir / WORK
        parts, tally = read(sources, config, work)
        chosen = output_dir / "chosen"
        shutil.rmtree(chosen, ignore_errors=True)
        chosen.mkdir()
        select(parts, config, tally, chosen)
        if not tally.total("kept").documents:
            drops = ", ".join(f"{reason} {each.documents:,}" for reason, each in tally.by_name("dropped").items())
            raise InputError(f"no conversation is left of {tally.total('found').documents:,} rows: {drops or 'empty'}")
        counts: dict[str, object] = {}
        for split in SPLITS:
            counts |= _write(chosen, split, output_dir)
        write_json(output_dir / REPORT, tally.report())
        shutil.rmtree(work)
        shutil.rmtree(chosen)
        say(f"  {', '.join(f'{name} {count:,}' for name, count in counts.items() if count)}")
        say(f"  dropped: {', '.join(f'{r} {c.documents:,}' for r, c in tally.by_name('dropped').items()) or 'nothing'}")
        return stage.finish(counts={**counts, "dropped_documents": tally.total("dropped").documents})
    finally:
        stage.close()


def _write(chosen: Path, split: str, output_dir: Path) -> dict[str, int]:
    counts = dict.fromkeys(FILES, 0)
    with ExitStack() as stack:
        paths = {name: stack.enter_context(atomic_path(output_dir / f"{name}{_SUFFIX[split]}.jsonl")) for name in FILES}
        files = {name: stack.enter_context(path.open("w", encoding="utf-8")) for name, path in paths.items()}
        for shard in sorted(chosen.glob(f"{split}-*.parquet")):
            with pq.ParquetFile(shard) as opened:
                for batch in opened.iter_batches(batch_size=256):
                    for row in batch.to_pylist():
                        about = {
                            "document_id": row["id"],
                            "kind": json.loads(row["metadata"])["format"],
                            "source": row["source"],
                            "uri": row["uri"],
                            "licence": row["licence"],
                        }
                        for name, examples in json.loads(row["text"]).items():
                            for example in examples:
                                files[name].write(json.dumps({**about, **example}, ensure_ascii=False) + "\n")
                            counts[name] += len(examples)
    return {f"{name}{_SUFFIX[split]}": count for name, count in counts.items()}
