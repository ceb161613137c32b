"""The first pass on Ray Data: spans of units read on any worker, with the result of one machine, byte for byte.

Each span is read by `gather`, into a folder of its own under the output, which every worker must be able to reach. A
span whose worker was killed is read on by another from its last whole part; so is a run that was killed as a whole.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from gristlm.collect.cluster import Job, Workers
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import Source, Unit
from gristlm.collect.gather import finished, gather
from gristlm.collect.report import Tally
from gristlm.collect.sources import from_config
from gristlm.errors import ConfigError, GristlmError
from gristlm.runs.files import write_atomic

FOLDER = "spread"
SPAN_BYTES = 64_000_000
SPAN_UNITS = 1000
_PLAN = "plan.json"


class Span:
    """The units of a source from one number up to another."""

    def __init__(self, source: Source, first: int, last: int) -> None:
        """Takes units `first` to `last` - 1 of `source`."""
        self._source, self._first, self._last = source, first, last

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    def units(self) -> Iterator[Unit]:
        """Lists the units of this span."""
        return itertools.islice(self._source.units(), self._first, self._last)


def check(config: CollectConfig) -> None:
    """Refuses what cannot be spread.

    Raises:
        ConfigError: `max_bytes_per_source` is set, which only one reader can count.
    """
    if config.max_bytes_per_source is not None:
        raise ConfigError("max_bytes_per_source needs one reader; leave it out, or leave out --ray")


def gather_on_ray(config: CollectConfig, output_dir: Path, workers: Workers) -> tuple[list[Path], Tally]:
    """Returns what `gather` returns, read by the workers of a Ray cluster.

    Args:
        config: as `gather` takes it.
        output_dir: the artifact's folder, on a file system that all workers share.
        workers: of the cluster.

    Raises:
        InputError: a worker could not go on (`strict`).
    """
    spans = _plan(from_config(config, output_dir))
    folder = output_dir / FOLDER
    folder.mkdir(exist_ok=True)
    plan = folder / _PLAN
    planned = json.dumps(spans)
    if not plan.is_file() or plan.read_text() != planned:  # the files are not those that an earlier call read in part
        shutil.rmtree(folder)
        folder.mkdir()
        write_atomic(plan, planned)
    settings = config.model_copy(update={"num_threads": 1}).model_dump(mode="json")
    workers.run(
        "collect",
        _read,
        [
            {"number": number, "span": list(span), "config": settings, "output": str(output_dir.absolute())}
            for number, span in enumerate(spans)
        ],
    )
    parts, tally = list[Path](), Tally(config.examples_per_reason)
    for number in range(len(spans)):
        more, counted, _ = finished(folder / f"span-{number:05d}", config)
        parts += more
        tally.merge(counted)
    return parts, tally


def _plan(sources: Sequence[Source]) -> list[tuple[int, int, int]]:
    """Returns (source, first unit, last unit + 1) of each span, about `SPAN_BYTES` of input or `SPAN_UNITS` long."""
    spans = list[tuple[int, int, int]]()
    for number, source in enumerate(sources):
        first, size, index = 0, 0, -1
        for index, unit in enumerate(source.units()):
            size += unit.bytes
            if size >= SPAN_BYTES or index + 1 - first >= SPAN_UNITS:
                spans.append((number, first, index + 1))
                first, size = index + 1, 0
        if index + 1 > first:
            spans.append((number, first, index + 1))
    return spans or [(0, 0, 0)]


def _read(job: Job) -> Job:
    """Reads one span, on a worker."""
    output = Path(job["output"])
    config = CollectConfig(**job["config"])
    source, first, last = (int(each) for each in job["span"])
    try:
        gather(
            [Span(from_config(config, output)[source], first, last)],
            config,
            output / FOLDER / f"span-{int(job['number']):05d}",
        )
    except GristlmError as error:
        return {"error": str(error)}
    return {}
