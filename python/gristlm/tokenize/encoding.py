"""Ids with the place in the text that each one stands for."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import numpy.typing as npt

from gristlm.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Encoding:
    """Ids of one text and where they stand in it."""

    ids: npt.NDArray[np.uint32]
    """uint32[T]"""
    offsets: npt.NDArray[np.int64]
    """int64[T, 2]: begin and end of each id, in bytes of the UTF-8 text or in characters."""

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.ids)


def offsets_in(
    text: str, spans_T2: npt.NDArray[np.int64], unit: Literal["bytes", "characters"]
) -> npt.NDArray[np.int64]:
    """Returns int64[T, 2] in `unit` from the bytes of `text` that each id stands for.

    In characters, an id that holds a part of a character covers all of it, so neighbours may overlap there, as with HF
    tokenizers.
    """
    if unit not in ("bytes", "characters"):
        raise InputError(f"unit is {unit!r}; give 'bytes' or 'characters'")
    if unit == "bytes" or text.isascii():
        return spans_T2
    byte_B = np.frombuffer(text.encode(), np.uint8)
    character_B = np.cumsum((byte_B & 0xC0) != 0x80) - 1
    starts_T, ends_T = spans_T2.T
    return np.stack(
        [character_B[np.minimum(starts_T, len(byte_B) - 1)], np.where(ends_T > 0, character_B[ends_T - 1] + 1, 0)],
        axis=1,
    )
