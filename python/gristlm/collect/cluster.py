"""A Ray cluster for the length of a stage: its workers run functions on jobs, through Ray Data."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gristlm.errors import InputError, missing_extra
from gristlm.runs import progress

Job = dict[str, Any]
"""What a worker is told, and what it tells: keys and plain values."""


class Workers:
    """The workers of a cluster that is up."""

    def run(self, title: str, function: Callable[[Job], Job], jobs: Sequence[Job]) -> list[Job]:
        """Returns what `function` gives for each job, in their order; a job whose worker was killed is done by another.

        Args:
            title: of the progress bar.
            function: runs on a worker; an error that it tells (the key "error") is this call's.
            jobs: what it is given.

        Raises:
            InputError: a job could not be done; the first error is the message.
        """
        import ray.data

        if not jobs:
            return []

        def numbered(job: Job) -> Job:
            return {"error": "", **function(job), "job": job["job"]}

        numbered.__name__ = function.__name__  # by which Ray calls its workers
        items = [{**job, "job": number} for number, job in enumerate(jobs)]
        data = ray.data.from_items(items, override_num_blocks=len(items)).map(numbered)
        done = list[Job]()
        with progress.bar(title, total=len(jobs), unit="parts") as bar:
            for row in data.iter_rows():
                done.append(row)
                bar.update(len(done))
        done.sort(key=lambda row: row["job"])
        if failed := next((row["error"] for row in done if row["error"]), ""):
            raise InputError(failed)
        return done


@contextlib.contextmanager
def cluster(address: str, num_cpus: int | None) -> Iterator[Workers]:
    """Yields the workers of the cluster at `address`; "local" starts one of `num_cpus` here (None: all cores).

    Raises:
        InputError: the cluster cannot be reached.
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    started = not ray.is_initialized()
    if started:
        local: Job = {
            "num_cpus": num_cpus or os.cpu_count() or 1,
            "include_dashboard": False,
            "_system_config": {
                "worker_niceness": 0
            },  # 15, as Ray has it, is next to nothing where another process works
        }
        options = local if address == "local" else {}
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
        except (ConnectionError, ValueError) as error:
            raise InputError(f"no Ray cluster at {address!r} (--ray): {error}") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield Workers()
    finally:
        if started:
            ray.shutdown()
