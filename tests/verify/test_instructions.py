"""IFEval: every check on answers that follow it, that do not, and that follow it only loosely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristlm.errors import InputError
from gristlm.evaluate import ifeval, is_refusal
from gristlm.verify.instructions import CHECKS
from gristlm.verify.sentences import count_capital_words, count_sentences, split

ENGLISH = "the quick brown fox jumps over the lazy dog while the other animals are looking at what happens there"
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, während die anderen Tiere zusehen und sich wundern."
AT_LEAST, LESS = "at least", "less than"

# instruction, arguments, answers that follow it, answers that do not
CASES: list[tuple[str, dict[str, object], list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["tea", "cup"]}, ["A CUP of steamy TEA"], ["tea", "a cup"]),
    ("keywords:existence", {"keywords": ["t.a"]}, ["toad: t-a"], ["to"]),
    ("keywords:frequency", {"keyword": " a ", "frequency": 2, "relation": AT_LEAST}, ["A banana"], ["b a"]),
    ("keywords:frequency", {"keyword": "x", "frequency": 2, "relation": LESS}, ["x", "none"], ["xX"]),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, ["rocket", "no"], ["Rock!", "a rock-like"]),
    ("keywords:letter_frequency", {"letter": "Q", "let_frequency": 2, "let_relation": AT_LEAST}, ["qQ"], ["q"]),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": LESS}, ["a"], ["#"]),
    ("language:response_language", {"language": "de"}, [GERMAN, "123 456"], [ENGLISH]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": AT_LEAST}, ["A fox. Bear."], ["One."]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": LESS}, ["Mr. Fox ran."], ["A fox. Bear."]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "*** a *** b ***"],
        ["a\n\nb", "a *** *** b"],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": AT_LEAST}, ["don't go"], ["well-known"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": LESS}, ["two words"], ["don't go"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Hello"},
        ["a\n\n\"hello, you", "a\n\nHELLO", "a\n\nhello\n\n  "],
        ["a\n\nhello\n\nb", "hello", "a\n\n\n\nhello", "a\n\nhellos"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b]", "[] []"], ["[a\n] [b]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["x\np. s. bye", "P.S. x"], ["P.S", "ps."]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["P. P.S x"], ["P.S. x"]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n* b", "- a\n  * b"], ["* a", "** a\n** b"]),
    ("detectable_format:constrained_response", {}, ["I say: My answer is no."], ["my answer is no.", "Yes."]),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* *b*", "**a**" + " *b*"],
        ["*a*", "* * ** **", "*a\nb* *c*"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb", "Section1 Section2 Section 3"],
        ["Section 1\na", "Section A\nSection B", "SECTION 1 SECTION 2"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": 1}', '```json\n{"a": 1}\n```', "```\n[]```", "3"],
        ["{a: 1}", "[" * 99999],
    ),
    ("detectable_format:title", {}, ["<<a>>", "x <<poem of joy>> y"], ["<a>", "<< >>", "<<a\nb>>"]),
    ("combination:two_responses", {}, ["a******b", "******a******b******"], ["a", "a******a", "a******b******c"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": " Do it. "}, ["do IT. Done"], ["I do it."]),
    ("startend:end_checker", {"end_phrase": "Bye now. "}, ['He said "bye now."', "x BYE NOW.\n"], ["Bye now. x"]),
    ("startend:quotation", {}, ['"a"', ' "a" \n', '""'], ['"', '"a', "'a'"]),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 3, "capital_relation": AT_LEAST},
        ["I'M HERE", "A B C", "CANNOT GO"],
        ["WELL-KNOWN U.S. Fox", "Abc Def Ghi"],
    ),
    ("change_case:capital_word_frequency", {"capital_frequency": 1, "capital_relation": LESS}, ["no"], ["NO"]),
    ("change_case:english_capital", {}, [ENGLISH.upper()], [ENGLISH, GERMAN.upper(), "123"]),
    ("change_case:english_lowercase", {}, [ENGLISH], [ENGLISH.title(), GERMAN.lower()]),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
]  # fmt: skip


def verdicts(instruction: str, arguments: dict[str, object], answer: str) -> tuple[bool, bool]:
    strict, loose = ifeval([instruction], [arguments], "prompt", answer)
    assert len(strict) == len(loose) == 1
    assert isinstance(strict[0], bool)
    return strict[0], loose[0]


@pytest.mark.parametrize(("instruction", "arguments", "follow", "fail"), CASES)
def test_verdicts(instruction: str, arguments: dict[str, object], follow: list[str], fail: list[str]) -> None:
    for answer in follow:
        assert verdicts(instruction, arguments, answer) == (True, True), answer
    for answer in fail:
        assert not verdicts(instruction, arguments, answer)[0], answer


def test_all_of_the_25_are_there_and_tried() -> None:
    assert len(CHECKS) == 25
    assert {case[0] for case in CASES} == set(CHECKS)


@pytest.mark.parametrize("instruction", sorted(CHECKS))
def test_an_empty_answer_follows_nothing(instruction: str) -> None:
    arguments = next(case[1] for case in CASES if case[0] == instruction)
    assert verdicts(instruction, arguments, " \n ") == (False, False)


def test_loose_forgives_a_first_and_a_last_line_and_asterisks() -> None:
    assert verdicts("startend:quotation", {}, 'Sure:\n"a"') == (False, True)
    assert verdicts("startend:quotation", {}, '"a"\nBye') == (False, True)
    assert verdicts("startend:quotation", {}, 'Sure:\n"a"\nBye') == (False, True)
    assert verdicts("startend:quotation", {}, '*"a"*') == (False, True)
    assert verdicts("startend:quotation", {}, 'Sure:\n*"a"*\nBye') == (False, True)
    assert verdicts("startend:quotation", {}, 'Sure:\nthen:\n"a"') == (False, False)


def test_arguments_that_are_none_are_as_good_as_absent() -> None:
    arguments = {"num_bullets": None, "keywords": None, "num_words": 2, "relation": AT_LEAST}
    assert verdicts("length_constraints:number_words", arguments, "a b") == (True, True)
    assert verdicts("length_constraints:number_words", {"num_words": 2.0, "relation": LESS}, "a") == (True, True)


@pytest.mark.parametrize(
    ("instruction", "arguments", "message"),
    [
        ("punctuation:none", {}, "unknown instruction"),
        ("length_constraints:number_words", {"relation": AT_LEAST}, "'num_words'"),
        ("length_constraints:number_words", {"num_words": "3", "relation": AT_LEAST}, "an integer"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "about"}, "'less than' or 'at least'"),
        ("keywords:existence", {"keywords": "tea"}, "a list of strings"),
        ("keywords:existence", {"keywords": ["("]}, "not a regular expression"),
        ("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": LESS}, "one character"),
    ],
)
def test_wrong_requests_are_errors(instruction: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        verdicts(instruction, arguments, "answer")


def test_as_many_arguments_as_instructions() -> None:
    with pytest.raises(InputError, match="2 instructions but 1 kwargs"):
        ifeval(["punctuation:no_comma"] * 2, [{}], "", "a")


def test_the_published_prompts_are_all_understood(development_data: Path) -> None:
    lines = (development_data / "post" / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()
    seen = set()
    for line in lines:
        row = json.loads(line)
        strict, loose = ifeval(row["instruction_id_list"], row["kwargs"], row["prompt"], "Yes. No answer")
        assert len(strict) == len(loose) == len(row["kwargs"])
        assert all(free or not bound for bound, free in zip(strict, loose, strict=True))
        seen |= set(row["instruction_id_list"])
        for instruction, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            if instruction == "combination:repeat_prompt":
                answer = f"{arguments['prompt_to_repeat']}\nHere it is."
            elif instruction == "startend:end_checker":
                answer = f"Here it is. {arguments['end_phrase']}"
            elif instruction == "keywords:existence":
                answer = " ".join(arguments["keywords"])
            else:
                continue
            assert verdicts(instruction, arguments, answer) == (True, True)
    assert seen == set(CHECKS)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("  \n", []),
        ("No end", ["No end"]),
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Fox met Mr. Bear at 3 p.m. today. He left.", ["Dr. Fox met Mr. Bear at 3 p.m. today.", "He left."]),
        ("It is in the U.S. The rest is not.", ["It is in the U.S.", "The rest is not."]),
        ('He said "go." She (really.) went.', ['He said "go."', "She (really.)", "went."]),
        ("1. Buy milk\n2. Eat it", ["1.", "Buy milk\n2.", "Eat it"]),
        ("Pi is 3.14 or so. J. Bach wrote.", ["Pi is 3.14 or so.", "J. Bach wrote."]),
        ("Wait... what? Well... The end", ["Wait... what?", "Well...", "The end"]),
        ("Very bad acting!!! I promise.", ["Very bad acting!!!", "I promise."]),
        ("Wow!!", ["Wow!", "!"]),
    ],
)  # fmt: skip
def test_sentences(text: str, sentences: list[str]) -> None:
    assert list(split(text)) == sentences
    assert count_sentences(text) == len(sentences)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0), ("I", 1), ("I'M", 2), ("DON'T", 2), ("Don't", 0), ("NASA's", 1),
        ("A-B C", 2), ("X.", 1), ("A,B", 2), ("GIMME", 2), ("B2", 1), ("1 2", 0),
    ],
)  # fmt: skip
def test_capital_words(text: str, count: int) -> None:
    assert count_capital_words(text) == count


def test_sentences_of_hostile_text_take_linear_time() -> None:
    for text in (
        "." * 50_000,
        "a." * 50_000,
        '"' * 50_000,
        "A! " * 20_000,
        "\u201d." * 20_000,
        "-" * 50_000,
        "'" * 50_000,
    ):
        count_sentences(text)
        count_capital_words(text)


def test_the_refusal_matcher_is_here_too() -> None:
    assert is_refusal("I'm sorry, but I can't help with that.")
    assert not is_refusal("Here you are.")
