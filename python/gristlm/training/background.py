"""Checkpoints written by a thread while training goes on; a refusing disk is reported and tried again.

One checkpoint is under way at a time: the next one waits for it. It is whole or absent at any moment, as
`checkpoint.save` sees to. When the disk refuses, training goes on, the warning says so, and the newest state is written
with the next checkpoint; only the end of the run insists.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gristlm.errors import StorageError
from gristlm.runs import progress

_log = logging.getLogger(__name__)


class Writer:
    """Runs one piece of writing at a time in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self.failures = 0
        """How often the disk refused."""

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits for what is under way, so that nothing is written after its run; another error goes first."""
        try:
            self.wait()
        except Exception:
            if kind is None:
                raise
            _log.exception("a checkpoint could not be written")

    def submit(self, work: Callable[[], object]) -> None:
        """Starts `work` after what is under way has ended.

        Raises:
            Exception: what the piece before ended with, unless it was a `StorageError`.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(work,), name="gristlm-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Waits for what is under way.

        Raises:
            Exception: what it ended with, unless it was a `StorageError`, which is a warning.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if isinstance(error, StorageError):
            self.failures += 1
            message = f"WARNING: {error}; training goes on and tries again at the next checkpoint: make room now"
            _log.warning(message)
            progress.say(message)
        elif error is not None:
            raise error

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # handed to the next call
            self._error = error
