"""Data sets of the Hugging Face hub, through the package `datasets`, as a Parquet file that a run can hash."""

from __future__ import annotations

from pathlib import Path

from gristlm.errors import InputError, missing_extra

PREFIX = "hub:"


def fetch(name: str, path: Path) -> Path:
    """Writes one split of a data set to `path` (Parquet) unless it is there already; returns `path`.

    Args:
        name: "hub:OWNER/NAME", with ":SUBSET" and ":SPLIT" if need be; the split is "train" where none is given. OWNER
            and NAME may also be a folder on this machine.
        path: the file to write; a second call takes it as it is, so that a run that was cut off goes on with the same
            rows.

    Raises:
        MissingExtraError: `datasets` is not installed.
        InputError: there is no such data set, subset or split, or it cannot be fetched.
    """
    if path.is_file():
        return path
    try:
        import datasets
    except ImportError:
        raise missing_extra("datasets", "hub") from None
    dataset, *rest = name.removeprefix(PREFIX).split(":")
    if not dataset or len(rest) > 2:
        raise InputError(
            f"{name!r} must be {PREFIX}OWNER/NAME, {PREFIX}OWNER/NAME:SPLIT or {PREFIX}OWNER/NAME:SUBSET:SPLIT"
        )
    split, subset = (rest[-1] if rest else "train"), (rest[0] if len(rest) == 2 else None)
    try:
        rows = datasets.load_dataset(dataset, subset, split=split)
    except Exception as error:  # the hub, the network and foreign files fail in many ways
        raise InputError(f"the data set {name!r} cannot be read: {type(error).__name__}: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows.to_parquet(temporary)
    temporary.replace(path)
    return path
