"""The 25 verifiable instructions of IFEval (Zhou et al. 2023, arXiv 2311.07911), with the published checker's verdicts.

Every quirk that changes a verdict is kept: keywords are regular expressions, more sections than asked for pass, an
answer may begin or end with an empty paragraph, and so on. Departures:

1. The language of a text is `gristlm.identify_language`'s, not langdetect's, which is random unless seeded; as there,
   text without any letter counts as being in the language asked for.
2. Sentences are counted without the trained Punkt model unless one is given; see `gristlm.verify.sentences`.
3. An instruction whose arguments are missing is an error; the published checker draws random ones.
4. A `letter` that is none, such as "#", is counted like any other; the published checker draws a random letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from gristlm.errors import InputError
from gristlm.verify.punkt import Punkt
from gristlm.verify.sentences import count_capital_words, count_sentences

Check = Callable[[str, "Arguments"], bool]
JSON_FENCES = ("```json", "```Json", "```JSON", "```")
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


class Arguments:
    """The keyword arguments of one instruction, checked on reading."""

    def __init__(self, instruction_id: str, given: Mapping[str, object], punkt: Punkt | None = None) -> None:
        """Takes the arguments as in the data set, where those that do not apply may be None."""
        self._id, self.punkt = instruction_id, punkt
        self._given = {name: value for name, value in given.items() if value is not None}

    def number(self, name: str) -> int:
        """Returns an integer argument."""
        value = self._given.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(name, "an integer")
        return value

    def text(self, name: str) -> str:
        """Returns a string argument."""
        value = self._given.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def texts(self, name: str) -> list[str]:
        """Returns a list of strings."""
        value = self._given.get(name)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of strings")
        return list(value)

    def compare(self, found: int, limit: str, relation: str) -> bool:
        """Returns whether `found` is "less than" or "at least" the argument `limit`."""
        chosen = self.text(relation)
        if chosen not in ("less than", "at least"):
            raise self._wrong(relation, "'less than' or 'at least'")
        return found < self.number(limit) if chosen == "less than" else found >= self.number(limit)

    def pattern(self, expression: str) -> re.Pattern[str]:
        """Returns a regular expression that ignores case."""
        try:
            return re.compile(expression, re.IGNORECASE)
        except re.error as error:
            raise InputError(f"{self._id}: {expression!r} is not a regular expression: {error}") from None

    def _wrong(self, name: str, allowed: str) -> InputError:
        return InputError(f"{self._id} needs {name!r}, {allowed}; given {self._given.get(name)!r}")


def ifeval(
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, object]],
    prompt: str,
    response: str,
    *,
    punkt: Punkt | None = None,
) -> tuple[list[bool], list[bool]]:
    """Returns whether `response` follows each instruction: as it is, and loosely.

    Loosely means that the response, or what is left of it without its first line, its last line or both, each with and
    without asterisks, follows the instruction. An empty response follows none.

    Args:
        instruction_ids: such as "punctuation:no_comma".
        kwargs: the arguments of each; those that are None are as good as absent.
        prompt: the prompt; no instruction of the 25 looks at it.
        response: the answer.
        punkt: trained parameters, with which sentences are the published checker's; none for a rule of ours.

    Raises:
        InputError: an instruction is unknown or an argument of it is missing or wrong.
    """
    del prompt
    if len(instruction_ids) != len(kwargs):
        raise InputError(f"{len(instruction_ids)} instructions but {len(kwargs)} kwargs; give one for each")
    variants = _variants(response)
    strict, loose = [], []
    for instruction_id, given in zip(instruction_ids, kwargs, strict=True):
        check = CHECKS.get(instruction_id)
        if check is None:
            raise InputError(f"unknown instruction {instruction_id!r}; known: {', '.join(CHECKS)}")
        arguments = Arguments(instruction_id, given, punkt)
        strict.append(bool(response.strip()) and check(response, arguments))
        loose.append(any(variant.strip() and check(variant, arguments) for variant in variants))
    return strict, loose


def _variants(response: str) -> list[str]:
    lines = response.split("\n")
    cuts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*cuts, *(cut.replace("*", "") for cut in cuts)]))


def _has_keywords(text: str, arguments: Arguments) -> bool:
    return all(arguments.pattern(keyword).search(text) for keyword in arguments.texts("keywords"))


def _keyword_frequency(text: str, arguments: Arguments) -> bool:
    found = len(arguments.pattern(arguments.text("keyword").strip()).findall(text))
    return arguments.compare(found, "frequency", "relation")


def _no_forbidden_words(text: str, arguments: Arguments) -> bool:
    return not any(arguments.pattern(rf"\b{word}\b").search(text) for word in arguments.texts("forbidden_words"))


def _letter_frequency(text: str, arguments: Arguments) -> bool:
    letter = arguments.text("letter").strip().lower()
    if len(letter) != 1:
        raise InputError(f"keywords:letter_frequency needs 'letter', one character; given {letter!r}")
    return arguments.compare(text.lower().count(letter), "let_frequency", "let_relation")


def _response_language(text: str, arguments: Arguments) -> bool:
    return _is_language(text, arguments.text("language"))


def _num_sentences(text: str, arguments: Arguments) -> bool:
    return arguments.compare(count_sentences(text, arguments.punkt), "num_sentences", "relation")


def _num_paragraphs(text: str, arguments: Arguments) -> bool:
    paragraphs = re.split(r"\s?\*\*\*\s?", text)
    empty = [place for place, paragraph in enumerate(paragraphs) if not paragraph.strip()]
    if any(0 < place < len(paragraphs) - 1 for place in empty):
        return False
    return len(paragraphs) - len(empty) == arguments.number("num_paragraphs")


def _num_words(text: str, arguments: Arguments) -> bool:
    return arguments.compare(len(re.findall(r"\w+", text)), "num_words", "relation")


def _nth_paragraph_first_word(text: str, arguments: Arguments) -> bool:
    paragraphs = text.split("\n\n")
    filled = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    place = arguments.number("nth_paragraph")
    if not 1 <= place <= filled or not (words := paragraphs[place - 1].split()):
        return False
    first = re.split(r"[.,?!'\"]", words[0].lstrip("'").lstrip('"'))[0].lower()
    return filled == arguments.number("num_paragraphs") and first == arguments.text("first_word").lower()


def _num_placeholders(text: str, arguments: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= arguments.number("num_placeholders")


def _has_postscript(text: str, arguments: Arguments) -> bool:
    marker = arguments.text("postscript_marker").strip()
    known = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    return bool(re.search(known.get(marker, rf"\s*{marker.lower()}.*$"), text.lower(), re.MULTILINE))


def _num_bullets(text: str, arguments: Arguments) -> bool:
    stars, dashes = (re.findall(bullet, text, re.MULTILINE) for bullet in (r"^\s*\*[^\*].*$", r"^\s*-.*$"))
    return len(stars) + len(dashes) == arguments.number("num_bullets")


def _is_constrained(text: str, arguments: Arguments) -> bool:
    del arguments
    return any(option in text for option in CONSTRAINED)


def _num_highlights(text: str, arguments: Arguments) -> bool:
    single = [mark for mark in re.findall(r"\*[^\n\*]*\*", text) if mark.strip("*").strip()]
    double = [mark for mark in re.findall(r"\*\*[^\n\*]*\*\*", text) if mark[2:-2].strip()]
    return len(single) + len(double) >= arguments.number("num_highlights")


def _num_sections(text: str, arguments: Arguments) -> bool:
    splitter = arguments.text("section_spliter").strip()
    return len(re.split(rf"\s?{splitter}\s?\d+\s?", text)) - 1 >= arguments.number("num_sections")


def _is_json(text: str, arguments: Arguments) -> bool:
    del arguments
    inner = text.strip()
    for fence in JSON_FENCES:
        inner = inner.removeprefix(fence)
    try:
        json.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(text: str, arguments: Arguments) -> bool:
    del arguments
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str, arguments: Arguments) -> bool:
    del arguments
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    given = [part for part in parts if part]
    return len(given) == 2 and given[0] != given[1]


def _repeats_prompt(text: str, arguments: Arguments) -> bool:
    return text.strip().lower().startswith(arguments.text("prompt_to_repeat").strip().lower())


def _ends_with(text: str, arguments: Arguments) -> bool:
    return text.strip().strip('"').lower().endswith(arguments.text("end_phrase").strip().lower())


def _is_quoted(text: str, arguments: Arguments) -> bool:
    del arguments
    inner = text.strip()
    return len(inner) > 1 and inner[0] == inner[-1] == '"'


def _capital_words(text: str, arguments: Arguments) -> bool:
    return arguments.compare(count_capital_words(text, arguments.punkt), "capital_frequency", "capital_relation")


def _english_capital(text: str, arguments: Arguments) -> bool:
    del arguments
    return text.isupper() and _is_language(text.lower(), "en")


def _english_lowercase(text: str, arguments: Arguments) -> bool:
    del arguments
    return text.islower() and _is_language(text, "en")


def _no_comma(text: str, arguments: Arguments) -> bool:
    del arguments
    return "," not in text


def _is_language(text: str, wanted: str) -> bool:
    from gristlm.cleaning import identify_language

    if not any(character.isalpha() for character in text):
        return True
    found = identify_language([text]).languages[0]
    return found.split("-")[0].lower() == wanted.split("-")[0].lower()


CHECKS: Mapping[str, Check] = {
    "keywords:existence": _has_keywords,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _num_sentences,
    "length_constraints:number_paragraphs": _num_paragraphs,
    "length_constraints:number_words": _num_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _num_placeholders,
    "detectable_content:postscript": _has_postscript,
    "detectable_format:number_bullet_lists": _num_bullets,
    "detectable_format:constrained_response": _is_constrained,
    "detectable_format:number_highlighted_sections": _num_highlights,
    "detectable_format:multiple_sections": _num_sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _has_title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with,
    "startend:quotation": _is_quoted,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
}
