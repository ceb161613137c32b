"""The quality model that a run judges prose with, read once for all batches."""

from __future__ import annotations

import functools
from pathlib import Path

from gristlm.cleaning_model import QualityModel
from gristlm.errors import InputError


def load(path: str) -> QualityModel:
    """Returns the model at `path`, read once as long as the file does not change."""
    try:
        stat = Path(path).stat()
    except OSError as error:
        raise InputError(f"quality_model: {path}: {error.strerror}") from error
    return _load(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _load(path: str, size: int, changed: int) -> QualityModel:
    del size, changed
    return QualityModel.load(path)
