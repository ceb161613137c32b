"""Punkt's decisions with trained parameters beside NLTK's, which trains them here on what is at hand."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gristlm import evaluate
from gristlm.errors import FormatError
from gristlm.verify.punkt import FILES, Punkt
from gristlm.verify.sentences import count_sentences, split

PIECES = (
    "Mr. Smith", "J. S. Bach", "e.g.", "i.e. this", "etc.", "U.S. Army", "3.", "No. 5", "1,000.5.", "p. 7", "Dr.",
    "wait ...", "wait... But", "Really?!", '"Yes."', "(No.)", "it is.", "It is", "A.", "B. C.", "a.m. The",
    "word.. two", "ends.", "The", "the", "However,", "?", "!", ".", "--", "x--y.", "\n", "\n\n", "[1].", "St.",
    "\u201cQuoted.\u201d", "{a.}", "?!", ".)", ".*?)", "\xab\xa0Go\xa0!\xa0\xbb).", "end.\xa0",
)  # fmt: skip


def texts(english: str) -> list[str]:
    dice = random.Random(1)
    whole = re.split(r"\n\s*\n", english[:400_000])
    mixed = [" ".join(dice.choice(PIECES) for _ in range(dice.randrange(1, 14))) for _ in range(4000)]
    return [text for text in whole if text.strip()] + mixed


def test_sentences_are_nltks(trained, english: str) -> None:
    theirs, folder = trained
    ours = Punkt.load(folder)
    several = 0
    for text in texts(english):
        assert list(split(text, ours)) == theirs.tokenize(text), text
        several += count_sentences(text, ours) > 1
    assert several > 1000


def test_a_whole_verdict_takes_them(trained) -> None:
    _, folder = trained
    asked = ["length_constraints:number_sentences"], [{"relation": "less than", "num_sentences": 2}]
    text = "See no. Five for it."
    (by_rule,), _ = evaluate.ifeval(*asked, "", text)
    (by_punkt,), _ = evaluate.ifeval(*asked, "", text, punkt=Punkt.load(folder))
    assert (by_rule, by_punkt) == (False, True)


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_or_damaged_is_named(tmp_path: Path, name: str) -> None:
    for each in FILES:
        (tmp_path / each).write_text("" if each != "ortho_context.tab" else "word\t2\n")
    assert Punkt.load(tmp_path).seen == {"word": 2}
    (tmp_path / name).unlink()
    with pytest.raises(FormatError, match=name):
        Punkt.load(tmp_path)
    for wrong in ("word 2", "word\t-1", "word\t128", "\t2", "word\tx"):
        (tmp_path / "ortho_context.tab").write_text(f"a\t2\n{wrong}\n")
        (tmp_path / name).touch()
        with pytest.raises(FormatError, match=r"ortho_context\.tab:2"):
            Punkt.load(tmp_path)


def test_hostile_text_takes_linear_time() -> None:
    code = (
        "from gristlm.verify.punkt import Punkt\n"
        "from gristlm.verify.sentences import count_sentences\n"
        "punkt = Punkt(frozenset(['a']), frozenset(), frozenset(), {})\n"
        "for piece in ('a.', 'a. ', '...', '-', '.)', 'A. ', '1.', '. ', '.\\xa0'):\n"
        "    count_sentences(piece * 200_000, punkt)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
