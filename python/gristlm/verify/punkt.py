"""Punkt's decisions with trained parameters (Kiss and Strunk 2006, sections 3 and 4), read from files of one's own.

The files are those of NLTK's `punkt_tab/english`, which IFEval's published checker uses; their licence is not stated,
so they are not carried here (`python -m nltk.downloader punkt_tab`).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from gristlm.errors import FormatError

FILES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.?\Z")
_ELLIPSIS = re.compile(r"\.\.+\Z")
_INITIAL = re.compile(r"[^\W\d]\.\Z")
_PUNCTUATION = ";:,.!?"
# How a word was seen in training, as bits: in upper and lower case, at the beginning of sentences and within them.
_MIDDLE_UPPER, _BEGIN_LOWER = 1 << 2, 1 << 4
_UPPER, _LOWER = 0b1110, 0b1110000


@dataclasses.dataclass(frozen=True)
class Punkt:
    """Trained parameters."""

    abbreviations: frozenset[str]
    collocations: frozenset[tuple[str, ...]]
    starters: frozenset[str]
    seen: dict[str, int]
    """Word to the bits of how it was seen."""

    @classmethod
    def load(cls, folder: Path | str) -> Punkt:
        """Reads `FILES` of a folder.

        Raises:
            FormatError: a file is missing or not of that form; names it and the line.
        """
        abbreviations, collocations, starters, context = (Path(folder, name) for name in FILES)
        seen = {}
        for number, line in enumerate(_lines(context), 1):
            word, _, bits = line.rpartition("\t")
            if not (word and bits.isdecimal() and int(bits) < 1 << 7):
                raise FormatError(f"{context}:{number}: {line[:80]!r} is not a word, a tab and a number below 128")
            seen[word] = int(bits)
        return cls(
            frozenset(_lines(abbreviations)),
            frozenset(tuple(line.split("\t")) for line in _lines(collocations)),
            frozenset(_lines(starters)),
            seen,
        )

    def ends_sentence(self, piece: str, following: str) -> bool:
        """Returns whether a sentence ends between two tokens."""
        if not piece.endswith("."):
            return piece in ("?", "!")
        kind, after = _without_period(_kind(piece)), self._after(following)
        if (kind, after) in self.collocations:
            return False
        ellipsis, initial = _ELLIPSIS.match(piece) is not None, _INITIAL.match(piece) is not None
        abbreviation = not piece.endswith("..") and self._abbreviates(piece)
        begins = self._begins(following, after)
        starts = begins or (following[:1].isupper() and after in self.starters)
        if (abbreviation or ellipsis) and not initial and starts:
            return True
        if initial or kind == "##number##":
            if begins is False:
                return False
            if begins is None and initial and following[:1].isupper() and not self.seen.get(after, 0) & _LOWER:
                return False
        return piece == "." or not (abbreviation or piece.endswith(".."))

    def _abbreviates(self, piece: str) -> bool:
        plain = piece[:-1].lower()
        return plain in self.abbreviations or plain.split("-")[-1] in self.abbreviations

    def _after(self, piece: str) -> str:
        """Returns the kind of a token that follows, without the period that ends its sentence."""
        ends = piece.endswith(".") and not piece.endswith("..") and not self._abbreviates(piece)
        return _without_period(_kind(piece)) if ends else _kind(piece)

    def _begins(self, piece: str, kind: str) -> bool | None:
        """Returns whether a token begins a sentence, by how it is written; None where that does not tell."""
        if piece in _PUNCTUATION:
            return False
        seen = self.seen.get(kind, 0)
        if piece[:1].isupper() and seen & _LOWER and not seen & _MIDDLE_UPPER:
            return True
        if piece[:1].islower() and (seen & _UPPER or not seen & _BEGIN_LOWER):
            return False
        return None


def _kind(piece: str) -> str:
    return _NUMBER.sub("##number##", piece.lower()) if _NUMBER.match(piece) else piece.lower()


def _without_period(kind: str) -> str:
    return kind[:-1] if len(kind) > 1 and kind.endswith(".") else kind


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} cannot be read as one of Punkt's parameters: {error}") from error
