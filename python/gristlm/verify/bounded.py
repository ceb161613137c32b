"""Calls that may run away, made in a process of their own that is ended when they do.

A catastrophic regular expression holds the interpreter for hours and no thread can stop it. Here a call gets seconds
of CPU (so a busy machine changes no verdict) and bytes of memory; the process lives on between calls, so one costs
about as much as writing a line and reading one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import select
import subprocess
import sys
import threading

from gristlm.errors import InputError, MissingExtraError, TrainingError

_START_SECONDS = 120.0  # to import what the function needs, on a machine that is busy
_WALL_PER_CPU = 20.0


class Exceeded(Exception):  # noqa: N818 - a verdict, not a failure
    """The call used up its time or memory."""


class Bounded:
    """A function of JSON-able arguments, `"module:function"`, whose calls are bounded. Safe to use from any thread."""

    def __init__(self, function: str, *, cpu_seconds: int = 2, memory_bytes: int = 2 << 30) -> None:
        """Starts nothing yet: the first call does."""
        self._function, self._cpu_seconds, self._memory_bytes = function, cpu_seconds, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __call__(self, *arguments: object) -> object:
        """Returns what the function does.

        Raises:
            Exceeded: it used up its CPU seconds or memory.
            InputError: the function raised it.
            MissingExtraError: it needs a package that is not installed.
            TrainingError: no process could be started.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            reply = self._ask(json.dumps(arguments).encode() + b"\n", self._cpu_seconds * _WALL_PER_CPU)
            if reply is None or "exceeded" in reply:
                self._end()
                raise Exceeded
        if "error" in reply:
            raise InputError(str(reply["error"]))
        return reply["value"]

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [
                sys.executable,
                "-m",
                "gristlm.verify.worker",
                self._function,
                str(self._cpu_seconds),
                str(self._memory_bytes),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        atexit.register(self._end)
        reply = self._ask(b"", _START_SECONDS)
        if reply is None or "missing" in reply:
            self._end()
            if reply is None:
                raise TrainingError(f"the process for {self._function} did not start")
            raise MissingExtraError(str(reply["missing"]))

    def _ask(self, line: bytes, seconds: float) -> dict[str, object] | None:
        """Returns the reply to a line; None if the process ended or was silent for `seconds`."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[process.stdin.write(rest) :]
        except BrokenPipeError:
            return None
        reply = b""
        while not reply.endswith(b"\n"):
            if not select.select([process.stdout], [], [], seconds)[0]:
                return None
            piece = process.stdout.read(1 << 16)
            if not piece:
                return None
            reply += piece
        found: dict[str, object] = json.loads(reply)
        return found

    def _end(self) -> None:
        process, self._process = self._process, None
        atexit.unregister(self._end)
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
