"""Code of a model, run against unit tests in a process that can do nothing else.

The process has a wall clock and CPU seconds, memory, a cap on output and on files, no network, no other process, and
sees no file but the standard library and a temporary folder of its own (`sandbox_child`). Where the kernel cannot do
that (anything but Linux 5.13 or newer on x86-64 or arm64), nothing is run and a `ConfigError` says why: there is no
mode without.

What it is not: code and tests share one interpreter, so an answer that sets out to fool the tests (an `__eq__` that
always agrees) can. Read the rollouts of a reward that rises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gristlm.errors import ConfigError

CHILD = Path(__file__).with_name("sandbox_child.py")
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_LOOK_SECONDS = 0.1  # between looks at the folder and the clock
_START_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What code may use.

    Attributes:
        wall_seconds: from the start of the code to its end.
        cpu_seconds: of all threads.
        memory_bytes: of address space.
        output_bytes: standard output and error together; more ends the run.
        file_bytes: of all files in its folder; more ends the run.
        files: of them.
    """

    wall_seconds: float = 10.0
    cpu_seconds: int = 5
    memory_bytes: int = 512 << 20
    output_bytes: int = 64 << 10
    file_bytes: int = 16 << 20
    files: int = 1000


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: "passed", "failed", "time", "output" or "files"; and the beginning of its output."""

    reason: str
    output: str

    @property
    def passed(self) -> bool:
        """Whether the code and every test ran to their end."""
        return self.reason == "passed"


DEFAULT = Limits()


def code_of(response: str) -> str:
    """Returns the Python code of an answer: its first fenced block, or all of it where there is none."""
    fenced = _FENCE.search(response)
    return fenced[1] if fenced else response


def run_tests(code: str, tests: str, limits: Limits = DEFAULT) -> Outcome:
    """Runs `code`, then `tests` in the same namespace; both are Python source, and an exception is a failure.

    `sys.exit`, `os._exit` and the like before the end of the tests are failures too.

    Raises:
        ConfigError: this machine cannot confine a process.
    """
    token = secrets.token_hex(16)
    request: dict[str, object] = {"code": code, "tests": tests, "token": token}
    request |= {name: getattr(limits, name) for name in ("cpu_seconds", "memory_bytes", "file_bytes")}
    folder = Path(tempfile.mkdtemp(prefix="gristlm-sandbox-"))
    verdict, theirs = os.pipe()
    process = None
    try:
        process = subprocess.Popen(  # noqa: S603 - our own script, no shell
            [sys.executable, "-I", "-S", str(CHILD), str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)},
            pass_fds=(theirs,),
            start_new_session=True,
            bufsize=0,
        )
        os.close(theirs)
        theirs = -1
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.close()
        return _watch(process, verdict, token, folder, limits)
    finally:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        for end in (verdict, theirs):
            if end >= 0:
                os.close(end)
        shutil.rmtree(folder, ignore_errors=True)


def _watch(process: subprocess.Popen[bytes], verdict: int, token: str, folder: Path, limits: Limits) -> Outcome:
    """Returns the outcome; the caller ends what is left of the process."""
    assert process.stdout is not None
    out, said, output = process.stdout.fileno(), b"", b""
    open_ends = {out, verdict}
    deadline = time.monotonic() + _START_SECONDS
    started = False
    while open_ends:
        for end in select.select(list(open_ends), [], [], _LOOK_SECONDS)[0]:
            piece = os.read(end, 1 << 16)
            if not piece:
                open_ends.discard(end)
            elif end == out:
                output += piece
            else:
                said += piece
        if not started and b"\n" in said:
            first = json.loads(said.partition(b"\n")[0])
            if "refused" in first:
                raise ConfigError(
                    f"reward 'code' runs nothing where it cannot confine it; missing: {first['refused']}. "
                    "It needs Linux 5.13 or newer with Landlock and seccomp, on x86-64 or arm64"
                )
            started, deadline = True, time.monotonic() + limits.wall_seconds
        shown = output[: limits.output_bytes].decode(errors="replace")
        if len(output) > limits.output_bytes or len(said) > limits.output_bytes:
            return Outcome("output", shown)
        if _too_many(folder, limits):
            return Outcome("files", shown)
        if time.monotonic() > deadline:
            return Outcome("time", shown)
    code = process.wait()
    passed = code == 0 and any(
        line == json.dumps({"token": token}) for line in said.decode(errors="replace").split("\n")
    )
    return Outcome("passed" if passed else "time" if code == -signal.SIGXCPU else "failed", shown)


def _too_many(folder: Path, limits: Limits) -> bool:
    files, size = 0, 0
    for place, folders, names in os.walk(folder):
        files += len(names) + len(folders)
        if files > limits.files:
            return True
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - os.walk gives text
    return size > limits.file_bytes
