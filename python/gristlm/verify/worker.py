"""The process that `gristlm.verify.bounded` asks: one JSON line in, one JSON line out, with limits on itself.

`python -m gristlm.verify.worker MODULE:FUNCTION CPU_SECONDS MEMORY_BYTES`; imports the function, says "ready", then
answers each list of arguments with `{"value": …}`, or `{"error": …}` where the function raised InputError.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import signal
import sys
import time

from gristlm.errors import InputError, MissingExtraError

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Serves until its standard input ends."""
    name, cpu_seconds, memory_bytes = arguments[0], int(arguments[1]), int(arguments[2])
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the function prints is no reply
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    module, _, function = name.partition(":")
    try:
        call = getattr(importlib.import_module(module), function)
    except MissingExtraError as error:
        print(json.dumps({"missing": str(error)}), file=replies, flush=True)
        return
    _limit_memory(memory_bytes)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        _limit_time(cpu_seconds)
        try:
            reply = {"value": call(*given)}
        except InputError as error:
            reply = {"error": str(error)}
        except (MemoryError, RecursionError):
            reply = {"exceeded": True}
        print(json.dumps(reply), file=replies, flush=True)


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows: the wall clock alone bounds it
        return
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(cpu_seconds: int) -> None:
    """Lets the process use so many more seconds of CPU: then the system ends it, even within one C call."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + cpu_seconds, hard))


if __name__ == "__main__":
    main(sys.argv[1:])
