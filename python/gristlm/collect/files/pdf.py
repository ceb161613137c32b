"""PDF, through pypdfium2 (the extra `files`), in processes of their own.

PDFium unpacks whatever a file tells it to, so a file is read where it can do no harm: in a process that may use
`MAX_MEMORY_BYTES` of address space and, for one file, `MAX_CPU_SECONDS`. A file that ends its process is a drop. There
are as many processes as threads read PDFs at one time, and each serves many files.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, cast

from gristlm.collect.document import Document, Drop
from gristlm.collect.files.pdf_pages import MAX_CPU_SECONDS, MAX_MEMORY_BYTES, MAX_PAGES
from gristlm.collect.files.plain import in_pieces
from gristlm.collect.files.reading import File, seekable
from gristlm.collect.files.refusal import Refusal
from gristlm.collect.files.unpack import COMPRESSED
from gristlm.errors import missing_extra

_RETIRE_BYTES = 256 << 20  # a process that has grown beyond this is not used for another file


def read(file: File) -> Iterator[Document | Drop]:
    """Yields the text of a PDF's pages, as one document or in pieces."""
    if importlib.util.find_spec("pypdfium2") is None:
        raise missing_extra("pypdfium2", "files")
    with _on_disk(file) as path:
        answer = _ask({"path": path, "max_pages": MAX_PAGES, "max_bytes": file.limits.max_document_bytes})
    if "reason" in answer:
        raise Refusal(str(answer["reason"]), str(answer.get("detail", "")), fault=bool(answer.get("fault", True)))
    texts = cast("list[str]", answer["texts"])
    text = "\n\n".join(text for text in texts if text)
    if not text:
        raise Refusal("no text in the pages", f"{len(texts):,} pages, probably scanned", fault=False)
    yield from in_pieces(file, text, title=str(answer["title"]) or file.stem, metadata={"pages": len(texts)})


@contextlib.contextmanager
def _on_disk(file: File) -> Iterator[str]:
    """Yields the path of a file's unpacked content."""
    if file.path is not None and not file.name.lower().endswith(COMPRESSED):
        file.open().close()  # what cannot be opened fails here, as for any other kind
        yield str(file.path)
        return
    with seekable(file) as opened, tempfile.NamedTemporaryFile(suffix=".pdf") as copy:
        shutil.copyfileobj(opened, copy)
        copy.flush()
        yield copy.name


@dataclasses.dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    used: bool = False

    def ask(self, job: Mapping[str, object]) -> dict[str, object] | None:
        """Returns the answer to a job, None where the process ended before it gave one."""
        self.used = True
        try:
            cast("IO[bytes]", self.process.stdin).write(json.dumps(job).encode() + b"\n")
            cast("IO[bytes]", self.process.stdin).flush()
            line = cast("IO[bytes]", self.process.stdout).readline()
            return cast("dict[str, object]", json.loads(line)) if line.endswith(b"\n") else None
        except BrokenPipeError:
            return None

    def close(self) -> int:
        """Ends the process; returns its exit status (negative: the signal that ended it)."""
        with contextlib.suppress(BrokenPipeError):
            cast("IO[bytes]", self.process.stdin).close()
        cast("IO[bytes]", self.process.stdout).close()
        return self.process.wait()


_idle: list[_Worker] = []
_lock = threading.Lock()


def _ask(job: Mapping[str, object]) -> dict[str, object]:
    """Returns the answer to a job, from a process of those that wait, or a new one.

    What ends a process that has read other files is tried once more in a new one, so that the answer is the same
    whatever was read before.
    """
    with _lock:
        worker = _idle.pop() if _idle else None
    worker = worker or _start()
    used = worker.used
    try:
        answer = worker.ask(job)
    except BaseException:
        worker.process.kill()
        worker.close()
        raise
    if answer is None:
        status = worker.close()
        return _ask_new(job) if used else _ended(status)
    _give_back(worker, answer)
    return answer


def _ask_new(job: Mapping[str, object]) -> dict[str, object]:
    worker = _start()
    answer = worker.ask(job)
    if answer is None:
        return _ended(worker.close())
    _give_back(worker, answer)
    return answer


def _give_back(worker: _Worker, answer: Mapping[str, object]) -> None:
    if cast("int", answer["peak_bytes"]) > _RETIRE_BYTES:
        worker.close()
        return
    with _lock:
        _idle.append(worker)


def _ended(status: int) -> dict[str, object]:
    if status == -signal.SIGXCPU:
        return {"reason": "timed out", "detail": f"PDFium took more than {MAX_CPU_SECONDS} s of processor time"}
    limit = f"more than {MAX_MEMORY_BYTES >> 20:,} MiB, or damage"
    return {"reason": "decompression bomb", "detail": f"PDFium ended with status {status}: {limit}"}


def _start() -> _Worker:
    return _Worker(
        subprocess.Popen(
            [sys.executable, "-m", "gristlm.collect.files.pdf_pages"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
    )  # fmt: skip


@atexit.register
def _close_all() -> None:
    with _lock:
        while _idle:
            _idle.pop().close()
