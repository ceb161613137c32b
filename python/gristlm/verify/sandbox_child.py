"""The process that runs code of strangers: it confines itself for good, then runs it.

A script of the standard library alone, started as `python -I -S sandbox_child.py`. It gives up, in this order:
resources (rlimits), capabilities, files (Landlock: the standard library may be read, the working directory written,
nothing else opened), and system calls (seccomp: no process, no program, no network, no signal to others). Linux on
x86-64 and arm64; elsewhere, or where the kernel lacks one of these, it says so and runs nothing.
"""

import ctypes
import json
import os
import platform
import resource
import struct
import sys
import sysconfig

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SIGKILL, _EPERM, _ENOSYS = 9, 1, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_FILE, _MAKE_LINK = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_NEWEST_CALL = 450  # calls that came to Linux later are not allowed: nobody looked at them
_CLONE_THREAD = 0x10000
# System calls refused, by machine: the kernel's name for it, clone, clone3, prlimit64, and the others.
_MACHINES = {
    "x86_64": (0xC000003E, 56, 435, 302, (
        # processes
        57, 58, 59, 322, 109, 112, 272, 308, 101, 312, 310, 311, 440, 448,
        # signals to others
        62, 200, 234, 129, 297, 434, 438, 424,
        # network, and io_uring, which goes round this filter
        41, 49, 50, 43, 288, 42, 425, 426, 427,
        # files beyond what Landlock governs
        90, 91, 268, 92, 93, 94, 260, 76, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199, 133, 259, 303,
        304, 300,
        # memory that no limit counts
        319, 447, 29, 30, 31, 64, 66, 68, 240,
        # the machine
        165, 166, 155, 161, 430, 432, 433, 429, 428, 442, 167, 168, 169, 246, 320, 175, 313, 176, 321, 298,
        323, 250, 248, 249, 164, 227, 305, 159, 170, 171, 172, 173, 154, 179, 443, 163, 103, 153, 135, 141,
        144, 142, 203, 314, 251, 237, 238, 256, 279,
    )),
    "aarch64": (0xC00000B7, 220, 435, 261, (
        # processes
        221, 281, 154, 157, 97, 268, 117, 272, 270, 271, 440, 448,
        # signals to others
        129, 130, 131, 138, 240, 434, 438, 424,
        # network, and io_uring, which goes round this filter
        198, 200, 201, 202, 242, 203, 425, 426, 427,
        # files beyond what Landlock governs
        52, 53, 55, 54, 45, 88, 5, 6, 7, 14, 15, 16, 33, 264, 265, 262,
        # memory that no limit counts
        279, 447, 194, 196, 195, 190, 191, 186, 180,
        # the machine
        40, 39, 41, 51, 430, 432, 433, 429, 428, 442, 224, 225, 142, 104, 294, 105, 273, 106, 280, 241, 282,
        219, 217, 218, 170, 112, 266, 171, 161, 162, 60, 443, 89, 116, 58, 92, 140, 119, 118, 122, 274, 30,
        235, 237, 238, 239,
    )),
}  # fmt: skip


class Refused(Exception):  # noqa: N818 - a verdict
    """This machine cannot confine a process."""


def main() -> None:
    """Reads `{"code", "tests", "token", …limits}`, confines itself, runs both, and writes the token if they pass."""
    request = json.loads(sys.stdin.buffer.readline())
    verdict = os.fdopen(int(sys.argv[1]), "w")
    try:
        _confine(request)
    except (Refused, OSError) as error:
        print(json.dumps({"refused": str(error)}), file=verdict, flush=True)
        return
    print(json.dumps({"ready": True}), file=verdict, flush=True)
    token, space = request.pop("token"), {"__name__": "answer"}
    for name in ("code", "tests"):
        exec(compile(request[name], f"<{name}>", "exec"), space)  # noqa: S102 - what this process is for
    print(json.dumps({"token": token}), file=verdict, flush=True)


def _confine(limits: dict[str, int]) -> None:
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        raise Refused(f"{sys.platform} on {platform.machine()}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    for kind, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"], limits["cpu_seconds"] + 1))  # told, then ended
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Refused("no_new_privs")
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    if libc.capset(header, none):
        raise Refused("capabilities cannot be dropped")
    _restrict_files(libc)
    _restrict_calls(libc)


def _restrict_files(libc: ctypes.CDLL) -> None:
    """Landlock (kernel 5.13): everything it governs is refused but what is named here."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        raise Refused("the kernel has no Landlock (Linux 5.13 or newer, with it switched on)")
    governed = (1 << 13) - 1 | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    ruleset = libc.syscall(_LANDLOCK_CREATE, struct.pack("=Q", governed), ctypes.c_size_t(8), ctypes.c_uint(0))
    if ruleset < 0:
        raise Refused("Landlock refuses a ruleset")
    paths = sysconfig.get_paths()
    readable = {paths["stdlib"], paths["platstdlib"], "/lib", "/lib64", "/usr/lib", "/usr/share/zoneinfo"}
    for path in sorted(readable):
        _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
    for path in ("/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/zero"):
        _allow(libc, ruleset, path, _READ_FILE)
    _allow(libc, ruleset, "/dev/null", _READ_FILE | _WRITE_FILE)
    own = _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE | _MAKE_LINK
    _allow(libc, ruleset, ".", (own | _REFER | _TRUNCATE) & governed)
    if libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0)):
        raise Refused("Landlock refuses its ruleset")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = struct.pack("=Qi", rights, place)
    if libc.syscall(_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0)):
        raise Refused(f"Landlock refuses {path}")
    os.close(place)


def _restrict_calls(libc: ctypes.CDLL) -> None:
    """A seccomp filter (Linux 3.17): the calls of `_MACHINES` fail with EPERM."""
    machine, clone, clone3, prlimit, refused = _MACHINES[platform.machine()]
    allow, kill = _step(0x06, 0x7FFF0000), _step(0x06, 0x80000000)
    denied, unknown = _step(0x06, 0x00050000 | _EPERM), _step(0x06, 0x00050000 | _ENOSYS)
    program = [
        _step(0x20, 4), _step(0x15, machine, 1, 0), kill,  # another machine's numbers
        _step(0x20, 0), _step(0x25, _NEWEST_CALL, 0, 1), unknown,
        _step(0x15, clone3, 0, 1), unknown,  # its flags cannot be seen; the C library falls back to clone
        _step(0x15, clone, 0, 3), _step(0x20, 16), _step(0x45, _CLONE_THREAD, 1, 0), denied, _step(0x20, 0),
        _step(0x15, prlimit, 0, 3), _step(0x20, 16), _step(0x15, 0, 1, 0), denied, _step(0x20, 0),
        *(step for call in refused for step in (_step(0x15, call, 0, 1), denied)),
        allow,
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(program))
    filter_ = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    if libc.prctl(_PR_SET_SECCOMP, 2, filter_, 0, 0):
        raise Refused("the kernel has no seccomp filters")


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


if __name__ == "__main__":
    main()
