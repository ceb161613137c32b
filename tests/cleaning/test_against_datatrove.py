"""The quality rules against datatrove's filters, document by document; skipped where it (or spaCy) is not installed.

What is left of differences, all of them words (the filters themselves decide alike on equal words):

- datatrove keys a repeated n-gram by its words without spaces, so `ab c` repeats `a bc`; ours does not.
- spaCy splits a few rare signs otherwise (units of other alphabets, rare emoticons).
- Text mostly in a script without spaces is judged by pieces of a word's length, not by the English tokenizer; such
  documents are left out here, and have tests of their own in test_quality_rules.py.
- datatrove fails with an error (an empty document, one without words) where ours drops; such an error counts as a drop.
"""

# ruff: noqa: RUF001 - letters that look like others are the subject

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars
import pytest

import gristlm

RULES = {
    "gopher_quality": "GopherQualityFilter",
    "gopher_repetition": "GopherRepetitionFilter",
    "c4": "C4QualityFilter",
    "fineweb": "FineWebQualityFilter",
}
REASONS = {
    "gopher_short_doc": "words",
    "gopher_long_doc": "words",
    "gopher_below_avg_threshold": "mean_word_length",
    "gopher_above_avg_threshold": "mean_word_length",
    "gopher_too_many_hashes": "hash_word_ratio",
    "gopher_too_many_ellipsis": "ellipsis_word_ratio",
    "gopher_too_many_bullets": "bullet_line_ratio",
    "gopher_too_many_end_ellipsis": "ellipsis_line_ratio",
    "gopher_below_alpha_threshold": "alphabetic_word_ratio",
    "gopher_enough_stop_words": "stop_words",
    "dup_para_frac": "duplicate_paragraph_ratio",
    "dup_para_char_frac": "duplicate_paragraph_character_ratio",
    "dup_line_frac": "duplicate_line_ratio",
    "dup_line_char_frac": "duplicate_line_character_ratio",
    **{f"top_{n}_gram": f"top_{n}_gram_ratio" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"duplicate_{n}_gram_ratio" for n in range(5, 11)},
    "lorem_ipsum": "lorem_ipsum",
    "curly_bracket": "curly_brackets",
    "too_few_sentences": "sentences",
    "empty": "lines",
    "line_punct_ratio": "line_punctuation_ratio",
    "short_line_ratio": "short_line_ratio",
    "char_dup_ratio": "duplicate_line_character_ratio",
    "list_ratio": "line_word_ratio",
}

LINES = """The river bends because its outer bank is worn away by the stream.
"Why?" she asked, and didn't wait; it's what they'd have done in the U.S. before 1990, e.g. in May.
- a bullet with a few words
• another bullet point
* starred
Menu
Home | About | Contact
Please enable Javascript to read this page.
By using this site you agree to the terms of use and the privacy policy.
Lorem ipsum dolor sit amet, consectetur adipiscing elit.
function f(x) { return x + 1; }
Read more...
And so on…
It was built in 1969.[3] It was rebuilt in 1981.[4][citation needed]
A sentence with a mark at its very end. [1]
# Heading ## of ### many #### hashes
1,234 5,678 9.10 11% 12 13 14 15
Costs $5, £6.50 or 7€ per 10km (about 6mi) at 5pm.
The well-known re-entry vehicle and/or its mother-in-law went to https://www.example.org/a-b?c=d.
so it was   and then   it was not!
Dr. Smith can't, won't and shan't go to St. Mary's; I'm sure he'll say "no."
das ist ein deutscher Satz, der keine englischen Stoppwörter hat.
é naïve café — Zoë’s “quote” isn’t ‘that’…
x
word word word word word word word
A line that ends in blanks.   
Is it?! No!! Yes. (Perhaps.) [Maybe.]
a=b c:d e/f g--h i—j 3-4 5+6 foo.Bar
incomprehensibilities antidisestablishmentarianism floccinaucinihilipilification""".splitlines()  # noqa: W291


def made(count: int) -> list[str]:
    """Pages of one to sixty lines of the above, some repeated, some in paragraphs."""
    generator = random.Random(7)
    pages = ["", " ", "\n", "word", "...", "#\n#", "\n\nA line.\n\n\nA line.\n", "{}", "Lorem ipsum is here."]
    while len(pages) < count:
        chosen = generator.sample(LINES, generator.randint(1, 12))
        lines = [generator.choice(chosen) for _ in range(generator.choice([1, 2, 4, 8, 16, 30, 60]))]
        breaks = generator.choice([["\n"], ["\n", "\n\n"], ["\n\n"], ["\n", "\n\n\n"], [" "], ["\n", "\r\n", "\u2028"]])
        pages.append("".join(line + generator.choice(breaks) for line in lines).removesuffix(breaks[0]))
    return pages


def read(folder: Path) -> list[str]:
    """Whole documents, sections and halves of sentences of real text."""
    found = []
    rows = polars.read_ndjson(folder / "text" / "english.jsonl")["text"].to_list()
    for text in rows[:80]:
        found.append(text[:12_000])
        found += [section for section in text[:30_000].split("\n\n\n") if section][:6]
        found += [text[at : at + 900] for at in range(2000, min(len(text), 12_000), 2500)]
    shakespeare = (folder / "text" / "tinyshakespeare.txt").read_text()
    found += [shakespeare[at : at + 1500] for at in range(0, 150_000, 1500)]
    rows = polars.read_ndjson(folder / "text" / "multilingual.jsonl").select("text", "language")
    spaced = rows.filter(~polars.col("language").str.contains("^(zh|ja|th|km|lo|my)"))["text"].to_list()
    return found + [text[:4000] for text in spaced[:200]]


def theirs(rule: str) -> Callable[[str], str | None]:
    filters = pytest.importorskip("datatrove.pipeline.filters", reason="datatrove is not installed")
    document = pytest.importorskip("datatrove.data").Document
    pytest.importorskip("spacy", reason="spaCy, which datatrove splits words with, is not installed")
    judge = getattr(filters, RULES[rule])()

    def decide(text: str) -> str | None:
        page: Any = document(text=text, id="")
        try:
            found = judge.filter(page)
        except (ZeroDivisionError, IndexError, ValueError):
            return "error"
        return None if found is True else found[1]

    return decide


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", list(RULES))
def test_decisions_and_reasons_are_theirs(rule: str, request: pytest.FixtureRequest) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decide = theirs(rule)
        texts = made(1200) + read(request.getfixturevalue("development_data"))
        assert len(texts) >= 2000
        expected = [decide(text) for text in texts]
    result = gristlm.clean(texts, rules=[rule], num_threads=1)
    found = [None if reason is None else reason.split()[1] for reason in result.reasons]
    other = [
        (text[:200], wanted, got)
        for text, wanted, got in zip(texts, expected, found, strict=True)
        if (wanted is None) != (got is None)
    ]
    assert len(other) <= 0.01 * len(texts), other[:5]
    assert 0.1 < sum(wanted is None for wanted in expected) / len(expected) < 0.95, "both decisions are tried"
    reasons = [
        (text[:200], wanted, got)
        for text, wanted, got in zip(texts, expected, found, strict=True)
        if wanted
        and got
        and wanted != "error"
        and REASONS.get(wanted) != got
        and (wanted, got) != ("empty", "characters")
    ]
    assert len(reasons) <= 0.01 * len(texts), reasons[:5]
