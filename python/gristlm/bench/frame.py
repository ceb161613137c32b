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
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Literal, TypeVar

import gristlm
from gristlm.bench import chart

OURS = "gristlm"
ROUNDS = 3
SLOW_SECONDS = 1.0
"""Whoever takes longer than this in the round that shows its result equal is timed by that round alone."""
WIDTH = 118
State = TypeVar("State")
Unit = Literal["MB/s", "docs/s", "ns/call", "µs/doc", "ms", "s", "x", "%"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One library at one task."""

    task: str
    library: str
    megabytes: float
    """Size of the text in millions of bytes, or millions of what the table's unit counts."""
    cpu_seconds: float
    wall_seconds: float
    ratio: float
    """Our speed over this library's, by CPU seconds: above 1 we are faster."""
    note: str = ""
    unit: Unit = "MB/s"
    """What `figure` is in: MB or calls per CPU second, CPU time of a call or of the whole, times as fast as one thread,
    or a share, which then stands where the seconds do."""
    calls: int = 1
    """Calls in the time given."""

    @property
    def figure(self) -> float:
        """The figure of the table, in `unit`."""
        if self.unit == "MB/s":
            return self.megabytes_per_second
        if self.unit == "docs/s":
            return self.calls / max(self.cpu_seconds, 1e-9)
        scale = {"ns/call": 1e9 / self.calls, "µs/doc": 1e6 / self.calls, "ms": 1e3, "s": 1.0, "x": 1.0, "%": 100.0}
        return self.cpu_seconds * scale[self.unit]

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
    """What was measured on; the area says."""
    machine: str
    cores: int
    versions: dict[str, str]
    command: str
    rows: list[Row] = dataclasses.field(default_factory=list)
    unit: str = "MB"
    """What is counted, a million of them: bytes of text, or `Mtok`, tokens."""
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    """Peers that took no part, or not in a task, and why."""

    @classmethod
    def begin(cls, area: str, text: str = "") -> BenchTable:
        """Returns an empty table for this machine."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        versions = {"python": platform.python_version(), OURS: gristlm.__version__}
        return cls(area, text, _processor(), cores, versions, " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))

    def compare(
        self,
        task: str,
        num_bytes: int,
        contenders: Sequence[Contender[State]],
        *,
        rounds: int = ROUNDS,
        unit: Unit = "MB/s",
        calls: int = 1,
    ) -> None:
        """Adds a row for each contender; the first is us. One whose result differs from ours is left out, by name."""
        first, *others = contenders
        result, cpu, wall = _time(first)
        expected = first.result(result)
        del result
        equal = [first]
        best = {first.library: (cpu, wall)}
        for other in others:
            try:
                result, cpu, wall = _time(other)
                why = "" if other.result(result) == expected else "its result differs from ours"
                del result
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # its row's end, not the table's; a panic in Rust is no Exception
                why = f"it fails: {_first_line(error)}"
            if why:
                self.skipped[f"{other.library}: {task}"] = why
                continue
            equal.append(other)
            best[other.library] = (cpu, wall)
        del expected
        for _ in range(rounds - 1):
            for contender in equal:
                least = best[contender.library]
                if contender is not first and least[0] > SLOW_SECONDS:
                    continue
                _, cpu, wall = _time(contender)
                best[contender.library] = (min(cpu, least[0]), min(wall, least[1]))
        ours = best[first.library][0]
        for contender in equal:
            cpu, wall = best[contender.library]
            ratio = cpu / max(ours, 1e-9)
            self.rows.append(
                Row(task, contender.library, num_bytes / 1e6, cpu, wall, ratio, contender.note, unit, calls)
            )

    def to_text(self) -> str:
        """Returns the table for a terminal of 120 columns: a line per task, the others beside us, the fastest first."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = textwrap.wrap(f"{self.area}: {self.text}", WIDTH)
        lines += [*textwrap.wrap(f"{self.machine}, {self.cores} cores; {versions}", WIDTH), ""]
        lines.append(
            f"{'task':<33} {'unit':<8} {OURS:>8}  the others, the fastest first (we are so many times as fast)"
        )
        tasks: dict[str, list[Row]] = {}
        for row in self.rows:
            tasks.setdefault(row.task, []).append(row)
        for task, (ours, *others) in tasks.items():
            unit = f"{self.unit}/s" if ours.unit == "MB/s" else ours.unit
            head = f"{task:<33} {unit:<8} {_short(ours.figure):>8}  "
            shown = [
                f"{row.library} {_short(row.figure)} ({row.ratio:.2f}x{', ' if row.note else ''}{row.note})"
                for row in sorted(others, key=lambda row: row.ratio)
            ]
            lines += _side_by_side(head, shown)
        reasons: dict[str, list[str]] = {}
        for name, why in self.skipped.items():
            reasons.setdefault(why, []).append(name)
        lines.append("")
        for why, names in reasons.items():
            lines += textwrap.wrap(f"left out: {'; '.join(names)}: {why}", WIDTH, subsequent_indent="  ")
        return "\n".join([*lines, f"command: {self.command}"])

    def to_json(self) -> str:
        """Returns everything as JSON."""
        body = dataclasses.asdict(self)
        for row, source in zip(body["rows"], self.rows, strict=True):
            row["megabytes_per_cpu_second"] = source.megabytes_per_second
            row["megabytes_per_wall_second"] = source.megabytes_per_wall_second
            row["figure"] = source.figure
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"

    def to_svg(self) -> str:
        """Returns a bar chart of the speeds as SVG, of the rows that are measured in it."""
        groups: dict[str, list[tuple[str, float]]] = {}
        for row in self.rows:
            if row.unit == "MB/s":
                groups.setdefault(row.task, []).append((row.library, row.megabytes_per_second))
        return chart.bars(
            f"{self.area}: {self.unit} per CPU second", f"{self.machine}, {self.text}", groups, highlight=OURS
        )


def _time(contender: Contender[State]) -> tuple[object, float, float]:
    """Returns the result, CPU seconds and wall seconds."""
    state = contender.prepare()
    gc.collect()
    gc.disable()
    try:
        wall, cpu = time.perf_counter(), time.process_time()
        result = contender.run(state)
        return result, time.process_time() - cpu, time.perf_counter() - wall
    finally:
        gc.enable()


def _short(figure: float) -> str:
    """Three digits that count."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _side_by_side(head: str, shown: Sequence[str]) -> list[str]:
    """Lines of at most WIDTH: `head`, and beside it the entries, as many a line as fit."""
    lines, line = [], head
    for entry in shown:
        if len(line) > len(head) and len(line) + len(entry) > WIDTH:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += entry + "  "
    return [*lines, line.rstrip()]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [repr(error)])[0][:100]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
