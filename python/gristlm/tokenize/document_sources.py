"""The source of every document of a token dataset: `sources.json` beside its shards.

    {"names": ["docs", "code"], "runs": [[0, 120], [1, 40], [0, 3]]}

`runs` are (number of a name, documents in a row), in the order of the dataset: documents of one source mostly stand
together. Ours, because Megatron's files have no place for it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gristlm.errors import DamagedArtifactError
from gristlm.runs.files import write_atomic

FILE = "sources.json"


class SourceRuns:
    """Collects the sources of documents that come in order."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._runs: list[list[int]] = []

    def extend(self, sources: Iterable[str]) -> None:
        """Adds the source of each next document."""
        for name, group in itertools.groupby(sources):
            number = self._names.setdefault(name, len(self._names))
            count = sum(1 for _ in group)
            if self._runs and self._runs[-1][0] == number:
                self._runs[-1][1] += count
            else:
                self._runs.append([number, count])

    def write(self, dataset: Path) -> None:
        """Writes the file into the directory of the dataset."""
        write_atomic(dataset / FILE, json.dumps({"names": list(self._names), "runs": self._runs}) + "\n")


def read(dataset: Path, num_documents: int) -> tuple[list[str], npt.NDArray[np.int64]] | None:
    """Returns the names of the sources and int64[num_documents], which of them each document is from.

    None where the dataset was written without sources.

    Raises:
        DamagedArtifactError: the file is not what was written, or is of another dataset.
    """
    path = dataset / FILE
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_bytes())
        names = body["names"]
        runs = np.array(body["runs"], dtype=np.int64).reshape(-1, 2)
        fits = (
            all(isinstance(name, str) for name in names)
            and bool((runs >= 0).all() and (runs <= num_documents).all() and (runs[:, 0] < len(names)).all())
            and int(runs[:, 1].sum()) == num_documents
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedArtifactError(f"{path} cannot be read: {error!r}") from error
    if not fits:
        raise DamagedArtifactError(f"{path} does not name the source of each of {num_documents} documents")
    return list(names), np.repeat(runs[:, 0], runs[:, 1])
