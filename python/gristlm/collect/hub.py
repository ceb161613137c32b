"""Data sets of the Hugging Face hub, streamed row by row through `datasets` (the extra `hub`).

Written `hf-dataset:OWNER/NAME[:CONFIG][@SPLIT]`; files on the hub are also reached as `hf://datasets/OWNER/NAME/…`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from gristlm.collect.document import Drop, Entry, Unit
from gristlm.collect.files.reading import File, Limits
from gristlm.collect.files.remote import UNCHANGED
from gristlm.collect.files.rows import from_row
from gristlm.errors import InputError, missing_extra

PREFIX = "hf-dataset:"
_SPELLING = re.compile(r"(?P<path>[^:@]+)(?::(?P<config>[^:@]+))?(?:@(?P<split>[^:@]+))?")


class HubSource:
    """A data set of the hub, or a folder that holds one; one unit."""

    def __init__(self, spelling: str, name: str, limits: Limits) -> None:
        """Reads the data set of `spelling`, without its prefix.

        Raises:
            InputError: that names none.
            MissingExtraError: `datasets` is not installed.
        """
        found = _SPELLING.fullmatch(spelling)
        if found is None:
            raise InputError(
                f"source {PREFIX + spelling!r}: write {PREFIX}OWNER/NAME, then :CONFIG and @SPLIT if needed"
            )
        try:
            import datasets  # noqa: F401
        except ImportError as error:
            raise missing_extra("datasets", "hub") from error
        self._path, self._config, self._split = found["path"], found["config"], found["split"] or "train"
        self._name, self._limits = name, limits

    @property
    def name(self) -> str:
        """The name given to it."""
        return self._name

    def units(self) -> Iterator[Unit]:
        """Lists the split."""
        yield Unit(self._split, self._read)

    def _read(self) -> Iterator[Entry]:
        import datasets

        uri = f"https://huggingface.co/datasets/{self._path}"
        file = File(
            self._split, self._name, f"{self._name}/{self._split}", uri, "jsonl", 0, self._limits, UNCHANGED, io.BytesIO
        )
        number = 0
        try:
            rows = datasets.load_dataset(self._path, self._config, split=self._split, streaming=True)
            for number, row in enumerate(rows, start=1):
                yield from_row(file, number, row)
        except (OSError, ValueError, RuntimeError) as error:  # the hub cannot be reached, or has no such data set
            detail = f"after {number:,} rows: {type(error).__name__}: {error}"
            yield Drop(self._name, uri, "unreadable source", detail)
