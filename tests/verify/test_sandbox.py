"""Code that tests are run on: what passes, what fails, and what it cannot do."""

from __future__ import annotations

import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gristlm.errors import ConfigError
from gristlm.verify import sandbox
from gristlm.verify.sandbox import Limits, code_of, run_tests

GOOD = "def add(a, b):\n    return a + b\n"
TESTS = "assert add(1, 2) == 3\n"


def confined() -> bool:
    try:
        return run_tests("", "").passed
    except ConfigError:
        return False


pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64") or not confined(),
    reason="the kernel cannot confine a process (Landlock, seccomp)",
)


@pytest.mark.parametrize(
    ("code", "tests", "reason"),
    [
        (GOOD, TESTS, "passed"),
        ("import math, json, re, collections, itertools, datetime, random, asyncio\n" + GOOD, TESTS, "passed"),
        ("print('hello')\n" + GOOD, TESTS, "passed"),
        (
            "import threading\ndone = []\nt = threading.Thread(target=done.append, args=(1,))\nt.start()\nt.join()",
            "assert done == [1]",
            "passed",
        ),
        ("open('a.txt', 'w').write('x')", "assert open('a.txt').read() == 'x'", "passed"),
        ("import asyncio\nasync def two():\n    return 2", "assert asyncio.run(two()) == 2", "passed"),
        ("def add(a, b):\n    return a - b\n", TESTS, "failed"),
        ("def add(a, b)", TESTS, "failed"),
        ("", TESTS, "failed"),
        ("import sys\nsys.exit(0)", TESTS, "failed"),
        ("import os\nos._exit(0)", TESTS, "failed"),
        ("raise KeyboardInterrupt", TESTS, "failed"),
    ],
)
def test_verdicts(code: str, tests: str, reason: str) -> None:
    outcome = run_tests(code, tests)
    assert outcome.reason == reason, outcome.output


def test_the_code_of_an_answer() -> None:
    assert code_of("Sure:\n```python\nx = 1\n```\nand\n```\ny = 2\n```") == "x = 1\n"
    assert code_of("x = 1") == "x = 1"


# Each tries something and raises AssertionError if it worked.
ATTEMPTS = {
    "fork": "import os\nos.fork()",
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "subprocess": "import subprocess\nsubprocess.run(['/bin/true'])",
    "system": "import os\nassert os.system('true') != 0\nraise OSError",
    "exec": "import os\nos.execv('/bin/true', ['true'])",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', 80), timeout=1)",
    "unix socket": "import socket\nsocket.socket(socket.AF_UNIX)",
    "read a file outside": "open('/etc/passwd')",
    "read its environment": "open('/proc/self/environ')",
    "list a folder outside": "import os\nos.listdir('/')",
    "write outside": "open('/tmp/gristlm-escaped', 'w')",
    "write above": "open('../gristlm-escaped', 'w')",
    "a link outside": "import os\nos.symlink('/etc/passwd', 'p')\nopen('p')",
    "remove outside": "import os\nos.remove({victim!r})",
    "chmod outside": "import os\nos.chmod({victim!r}, 0)",
    "truncate outside": "import os\nos.truncate({victim!r}, 0)",
    "kill its parent": "import os\nos.kill(os.getppid(), 9)",
    "signal everybody": "import os\nos.kill(-1, 9)",
    "raise its limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "limits of its parent": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "leave its session": "import os\nos.setsid()",
    "memory file": "import os\nos.memfd_create('x')",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_it_cannot_do(attempt: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    body = textwrap.indent(ATTEMPTS[attempt].format(victim=str(victim)), "    ")
    code = f"try:\n{body}\nexcept (OSError, ValueError):\n    refused = True\nelse:\n    refused = False"
    outcome = run_tests(code, "assert refused")
    assert outcome.passed, outcome
    assert victim.read_text() == "whole"
    assert not Path("/tmp/gristlm-escaped").exists()


ANY = {"failed", "time"}
FORGED = r"""
import os
for fd in range(3, 64):
    try:
        os.write(fd, b'{"token": 1}\n' * 9)
    except OSError:
        pass
os._exit(0)
"""
SMALL = Limits(
    wall_seconds=3.0, cpu_seconds=1, memory_bytes=256 << 20, output_bytes=10_000, file_bytes=1 << 20, files=50
)


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        ("while True: pass", {"time"}),
        ("import time\ntime.sleep(1000)", {"time"}),
        ("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", {"time", "failed"}),
        ("x = bytearray(1 << 34)", {"failed"}),
        ("x = []\nwhile True: x.append(bytes(1 << 20))", {"failed"}),
        ("x = 9 ** 9 ** 9 ** 9", {"time", "failed"}),
        ("while True: print('x' * 1000)", {"output"}),
        ("import os\nwhile True: os.write(2, b'x' * 1000)", {"output"}),
        ("f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 16))", {"files", "failed"}),
        ("n = 0\nwhile True:\n    open(str(n), 'w').close()\n    n += 1", {"files", "time"}),
        ("import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()", ANY),
        ("def f(): f()\nf()", {"failed"}),
        ("import ctypes\nctypes.string_at(0)", {"failed"}),
        (FORGED, {"failed"}),
    ],
)  # fmt: skip
def test_what_ends_it(code: str, reasons: set[str]) -> None:
    outcome = run_tests(code, "", SMALL)
    assert outcome.reason in reasons, outcome
    assert len(outcome.output) <= SMALL.output_bytes


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    run_tests("open('a', 'w').write('x')\nimport os\nos.mkdir('b')", "")
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_confine_it_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text(sandbox.CHILD.read_text().replace("platform.machine() not in", "platform.machine() in"))
    monkeypatch.setattr(sandbox, "CHILD", child)
    with pytest.raises(ConfigError, match=r"runs nothing.*missing: linux on"):
        run_tests(GOOD, TESTS)


def test_the_room_needs_no_torch() -> None:
    code = "import sys, gristlm.verify.sandbox; assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
