"""Sentences and capital words, counted as the published IFEval checker's tools count them.

Sentences: the decisions of Punkt (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary Detection",
sections 3 and 4), which the checker uses with a model trained on newspapers. Departures:

1. `ABBREVIATIONS` and `STARTERS` are short lists of ours instead of the trained ones, so that no model file is needed.
2. Without the trained table of how each word is written, a lower-case word never begins a sentence after an initial or
   a number, and a capitalised one begins it after an abbreviation or an ellipsis only if it is one of `STARTERS`.

On 6,000 answers and pages of English the counts were equal on 99.1 % of them. With the trained parameters
(`gristlm.verify.punkt`) nothing departs.

Capital words: the tokens of the Penn Treebank convention (MacIntyre's `tokenizer.sed`), of which only those that are
all upper case matter, so punctuation is dropped instead of kept as tokens of its own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from gristlm.verify.punkt import Punkt

Decision = Callable[[str, str], bool]
"""Whether a sentence ends between two tokens."""

_ABBREVIATIONS = (
    "mr mrs ms dr prof gen col lt maj adm sen rep st sr jr inc ltd co corp bros vs u.s u.k u.n u.s.a a.m "
    "p.m d.c ph.d a.d jan feb aug sept oct nov dec tues wed fri ave ft ariz calif colo conn fla ga ill "
    "kan ky mich minn nev okla ore pa tenn va vt wash wis c d e f g h k l m n p r s t v w"
)
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
_STARTERS = (
    "a after all also although among an and any as at because before both but by despite during each even few first "
    "for from he her here his how however i if in indeed instead it its many meanwhile moreover most my no not now on "
    "once one only or our she since so some such that the their then there these they this those though thus to under "
    "until we what when where while who why with yet you your"
)
STARTERS = frozenset(_STARTERS.split())
_ENDS = ".?!"
_AFTER = ")\";}]*:@'({[?!\u2018\u2019\u201c\u201d\xab\xbb"  # what may stand right after an end of sentence
_PAUSES = ";:,.!?"
_WORD = re.compile(r"[^ \t\n\r\x0b\x0c]+")  # what comes before an end reaches back to a space of ASCII
_FOLLOWING = re.compile(r"\s+(\S+)")
_CLOSING = re.compile(r"[\"')\]}\u2018\u2019\u201c\u201d\xab\xbb]+?(?:\s+|(?=--)|$)")
_PIECE = re.compile(
    r"-{2,}|\.{2,}|(?=[^(\"`{\[:;&#*@)}\]\-,])\S+?(?=\s|$|[)\";}\]*:@'({\[?!\u2018\u2019\u201c\u201d\xab\xbb]|-{2,}|\.{2,}|,(?=$|\W))|\S"
)
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.\Z")
_INITIAL = re.compile(r"[^\W\d]\.\Z")

_SEPARATORS = re.compile(
    r"[\s\xab\u201c\u2018\u201e`\xbb\u201d\u2019\";@#$%&*?!()\[\]{}<>\u2012-\u2015]|--|\.{2,}|[:,](?!\d)"
)
_FINAL_PERIOD = re.compile(r"(?<=[^.])\.(?=[\])}>\"'\xbb\u201d\u2019 ]*\s*$)")
_OPENING_QUOTE = re.compile(r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", re.I)
_CLITIC = re.compile(r"(?<=[^' ])('[sS]|'[mM]|'[dD]|'ll|'LL|'re|'RE|'ve|'VE|n't|N'T|')(?= )")
_JOINED = re.compile(
    r"\b(?:(can)(not)|(d)('ye)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(more)('n)|(wan)(na)(?=\s))\b", re.I
)


def count_sentences(text: str, punkt: Punkt | None = None) -> int:
    """Returns the number of sentences of English `text`; 0 of none.

    Args:
        text: what is counted in.
        punkt: trained parameters; none for the short lists of this file.
    """
    return sum(1 for _ in split(text, punkt))


def split(text: str, punkt: Punkt | None = None) -> Iterator[str]:
    """Yields the sentences of English `text`, with their closing quotes and brackets."""
    begin = 0
    for end, following in _breaks(text, _ends_sentence if punkt is None else punkt.ends_sentence):
        if end <= begin:  # the closing quotes of the sentence before
            continue
        closing = _CLOSING.match(text, following)
        yield text[begin : end if closing is None else following + len(closing[0].rstrip())]
        begin = following if closing is None else closing.end()
    if text[begin:].rstrip():
        yield text[begin:].rstrip()


def count_capital_words(text: str, punkt: Punkt | None = None) -> int:
    """Returns the number of Treebank tokens of `text` that are all upper case: "I'M" is two, "WELL-KNOWN" one."""
    return sum(word.isupper() for sentence in split(text, punkt) for word in _words(sentence))


def _words(sentence: str) -> list[str]:
    spaced = _SEPARATORS.sub(" ", _FINAL_PERIOD.sub(" ", sentence))
    spaced = f" {_OPENING_QUOTE.sub(' ', spaced)} "
    spaced = _CLITIC.sub(r" \1 ", spaced)
    return _JOINED.sub(lambda match: " ".join(part for part in match.groups() if part), spaced).split()


def _breaks(text: str, ends_sentence: Decision) -> Iterator[tuple[int, int]]:
    """Yields where a sentence ends and where the next begins.

    At most once in a word, after its last possible end; an end that begins a word is one of its own besides.
    """
    last = len(text.rstrip()) - 1
    for word in _WORD.finditer(text):
        ends = [
            at
            for at in range(word.start(), min(word.end(), last))
            if text[at] in _ENDS and (text[at + 1] in _AFTER or text[at + 1].isspace())
        ]
        first = ends[:1] if ends[:1] == [word.start()] else []
        for end in dict.fromkeys([*first, *ends[-1:]]):
            following = _FOLLOWING.match(text, end + 1)
            upto, begin = (end + 2, end + 1) if following is None else (following.end(), following.start(1))
            pieces = itertools.pairwise(_PIECE.findall(text[word.start() : upto]))
            if any(ends_sentence(piece, after) for piece, after in pieces):
                yield end + 1, begin


def _ends_sentence(piece: str, following: str) -> bool:
    if piece in ("?", "!", "."):
        return True
    if not piece.endswith("."):
        return False
    if piece.endswith(".."):
        return following[:1].isupper() and following.lower() in STARTERS
    plain = piece[:-1].lower()
    begins = following[:1].isupper() and following.lower() in STARTERS
    if plain in ABBREVIATIONS or plain.split("-")[-1] in ABBREVIATIONS:
        return begins and len(plain) > 1
    if _INITIAL.match(piece):
        return begins or not (following[:1].isalpha() or following[:1] in _PAUSES)
    if _NUMBER.match(piece):
        return not following[:1].islower() and following[:1] not in _PAUSES
    return True
