"""The first pass on Ray Data: spans of units, and parts of large ones, read on any worker, with one machine's result.

Each span is read by `gather`, into a folder of its own under the output, which every worker must be able to reach. A
span whose worker was killed is read on by another from its last whole part; so is a run that was killed as a whole.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from gristlm.collect.cluster import Job, Workers
from gristlm.collect.config import CollectConfig
from gristlm.collect.document import Part, Sized, Source, Unit
from gristlm.collect.gather import finished, gather
from gristlm.collect.report import Tally
from gristlm.collect.sources import from_config
from gristlm.errors import ConfigError, GristlmError
from gristlm.runs.files import write_atomic

FOLDER = "spread"
SPAN_BYTES, MAX_SPAN_BYTES = 8_000_000, 64_000_000
SPANS = 256  # so many at least, of a large input, so that all workers have something to do until the end
SPAN_UNITS = 1000
_PLAN = "plan.json"


class Span:
    """The units of a source from one number up to another, or a part of one."""

    def __init__(self, source: Source, first: int, last: int, part: Part = ()) -> None:
        """Takes units `first` to `last` - 1 of `source`; with `part`, of each that part alone."""
        self._source, self._first, self._last, self._part = source, first, last, part

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._source.name

    def units(self) -> Iterator[Unit]:
        """Lists the units of this span."""
        for unit in itertools.islice(self._source.units(), self._first, self._last):
            if self._part and unit.read_part is not None:
                yield dataclasses.replace(unit, read=functools.partial(unit.read_part, self._part))
            else:
                yield unit


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
            {"number": number, "span": [*span[:3], *span[3]], "config": settings, "output": str(output_dir.absolute())}
            for number, span in enumerate(spans)
        ],
    )
    parts, tally = list[Path](), Tally(config.examples_per_reason)
    for number in range(len(spans)):
        more, counted, _ = finished(folder / f"span-{number:05d}", config)
        parts += more
        tally.merge(counted)
    return parts, tally


def _plan(sources: Sequence[Source]) -> list[tuple[int, int, int, Part]]:
    """Returns (source, first unit, last unit + 1, part) of each span; the workers have no say in it."""
    whole = sum(unit.bytes for source in sources if isinstance(source, Sized) for unit in source.units())
    most = max(SPAN_BYTES, min(MAX_SPAN_BYTES, whole // SPANS))
    spans = list[tuple[int, int, int, Part]]()
    for number, source in enumerate(sources):
        first, size, index = 0, 0, -1
        for index, unit in enumerate(source.units()):
            parts = unit.divide(most) if unit.divide is not None and unit.bytes > most else ()
            if parts:
                if index > first:
                    spans.append((number, first, index, ()))
                spans += [(number, index, index + 1, part) for part in parts]
                first, size = index + 1, 0
                continue
            size += unit.bytes
            if size >= most or index + 1 - first >= SPAN_UNITS:
                spans.append((number, first, index + 1, ()))
                first, size = index + 1, 0
        if index + 1 > first:
            spans.append((number, first, index + 1, ()))
    return spans or [(0, 0, 0, ())]


def _read(job: Job) -> Job:
    """Reads one span, on a worker."""
    output = Path(job["output"])
    config = CollectConfig(**job["config"])
    source, first, last, *part = job["span"]
    try:
        gather(
            [Span(from_config(config, output)[source], first, last, tuple(part))],
            config,
            output / FOLDER / f"span-{int(job['number']):05d}",
        )
    except GristlmError as error:
        return {"error": str(error)}
    return {}
