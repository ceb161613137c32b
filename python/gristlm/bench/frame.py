"""The frame of every bench: prove equal, then time, interleaved in one process, and say where.

Contenders take turns (A B A B …), so that whatever disturbs the machine disturbs all of them; the least disturbed round
of each counts. CPU seconds are of the whole process, so threads count in full.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import gristlm
from gristlm.bench import chart

OURS = "gristlm"
ROUNDS = 3
State = TypeVar("State")


@dataclasses.dataclass(frozen=True)
class Row:
    """One library at one task."""

    task: str
    library: str
    megabytes: float
    """Size of the text, in millions of bytes."""
    cpu_seconds: float
    wall_seconds: float
    ratio: float
    """Our speed over this library's, by CPU seconds: above 1 we are faster."""
    note: str = ""

    @property
    def megabytes_per_second(self) -> float:
        """MB of text per CPU second."""
        return self.megabytes / max(self.cpu_seconds, 1e-9)

    @property
    def megabytes_per_wall_second(self) -> float:
        """MB of text per second on the clock."""
        return self.megabytes / max(self.wall_seconds, 1e-9)


@dataclasses.dataclass(frozen=True)
class Contender(Generic[State]):
    """A library at a task: `prepare` is not timed and runs before every round, `run` is."""

    library: str
    prepare: Callable[[], State]
    run: Callable[[State], object]
    result: Callable[[object], object] = lambda value: value
    """Brings the result into the form that is compared; not timed."""
    note: str = ""


@dataclasses.dataclass
class BenchTable:
    """What was measured, where, and by what command."""

    area: str
    text: str
    machine: str
    cores: int
    versions: dict[str, str]
    command: str
    rows: list[Row] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    """Peers that took no part, or not in a task, and why."""

    @classmethod
    def begin(cls, area: str, text: str) -> BenchTable:
        """Returns an empty table for this machine."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        versions = {"python": platform.python_version(), OURS: gristlm.__version__}
        return cls(area, text, _processor(), cores, versions, " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))

    def compare(
        self, task: str, num_bytes: int, contenders: Sequence[Contender[State]], *, rounds: int = ROUNDS
    ) -> None:
        """Adds a row for each contender; the first is us. One whose result differs from ours is left out, by name."""
        first, *others = contenders
        expected = first.result(first.run(first.prepare()))
        equal = [first]
        for other in others:
            same = other.result(other.run(other.prepare())) == expected
            if same:
                equal.append(other)
            else:
                self.skipped[f"{other.library}: {task}"] = "its result differs from ours"
        best: dict[str, tuple[float, float]] = {}
        for _ in range(rounds):
            for contender in equal:
                cpu, wall = _time(contender)
                least = best.get(contender.library, (float("inf"), float("inf")))
                best[contender.library] = (min(cpu, least[0]), min(wall, least[1]))
        ours = best[first.library][0]
        for contender in equal:
            cpu, wall = best[contender.library]
            row = Row(task, contender.library, num_bytes / 1e6, cpu, wall, cpu / max(ours, 1e-9), contender.note)
            self.rows.append(row)

    def to_text(self) -> str:
        """Returns the table for a terminal."""
        lines = [
            f"{self.area}: {self.text}",
            f"{self.machine}, {self.cores} cores; " + ", ".join(f"{name} {v}" for name, v in self.versions.items()),
            "",
            f"{'task':<34} {'library':<12} {'MB/CPU s':>10} {'MB/s':>10} {'we are':>9}",
        ]
        task = ""
        for row in self.rows:
            ratio = "" if row.library == OURS else f"{row.ratio:.2f}x"
            shown = row.task if row.task != task else ""
            speeds = f"{row.megabytes_per_second:>10.1f} {row.megabytes_per_wall_second:>10.1f}"
            lines.append(f"{shown:<34} {row.library:<12} {speeds} {ratio:>9}  {row.note}".rstrip())
            task = row.task
        lines += ["", *(f"left out: {name}: {why}" for name, why in self.skipped.items()), f"command: {self.command}"]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Returns everything as JSON."""
        body = dataclasses.asdict(self)
        for row, source in zip(body["rows"], self.rows, strict=True):
            row["megabytes_per_cpu_second"] = source.megabytes_per_second
            row["megabytes_per_wall_second"] = source.megabytes_per_wall_second
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"

    def to_svg(self) -> str:
        """Returns a bar chart of MB per CPU second as SVG."""
        groups: dict[str, list[tuple[str, float]]] = {}
        for row in self.rows:
            groups.setdefault(row.task, []).append((row.library, row.megabytes_per_second))
        return chart.bars(f"{self.area}: MB per CPU second", f"{self.machine}, {self.text}", groups, highlight=OURS)


def _time(contender: Contender[State]) -> tuple[float, float]:
    state = contender.prepare()
    gc.collect()
    gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        contender.run(state)
        return time.process_time() - cpu, time.perf_counter() - wall
    finally:
        gc.enable()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
