"""Rules that score an answer by looking at it: each a function `(prompt, response, row) -> float`.

Rules give 0 to 1, penalties -1 to 0. What they look for is in `gristlm.verify`. `row` is the prompt's row of the data
(`kind`, `reference`, …) and, during RLHF, `finish_reason` ("stop" when the model ended its turn by itself),
`num_tokens` and `max_new_tokens` of the sampled answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gristlm.errors import ConfigError, InputError
from gristlm.training.refusal import is_refusal
from gristlm.verify import answers, patterns, sandbox, structure
from gristlm.verify.harm import HarmModel
from gristlm.verify.instructions import ifeval

Row = Mapping[str, object]
Rule = Callable[[Sequence[Mapping[str, str]], str, Row], float]

_STARTS = re.compile(r"[\"'(\[*]*[A-Z0-9`]")
_ENDS = re.compile(r"[.!?][\"'`)\]*]*$")
_WORD = re.compile(r"\w+")
_MIN_WORDS = 3
_NGRAM = 3


def answer_format(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns how much of the asked form an answer has.

    1 is one paragraph of three words or more that begins as a sentence and ends as one. Each of the four counts a
    quarter (ours, so that a model far from the form still learns which way it lies); an empty answer gets 0.
    """
    text = response.strip()
    if not text:
        return 0.0
    met = (bool(_STARTS.match(text)), bool(_ENDS.search(text)), "\n" not in text, len(text.split()) >= _MIN_WORDS)
    return sum(met) / len(met)


def refusal(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns 1 if the answer refuses where the row's `kind` is "refuse" or answers where it is another; else 0."""
    return float(is_refusal(response) == (row.get("kind") == "refuse") and bool(response.strip()))


def length(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns how little an answer rambles: its share of distinct three-word runs; 0 if it is empty or was cut off."""
    words = response.lower().split()
    if not words or row.get("finish_reason", "stop") == "length":
        return 0.0
    runs = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    return len(set(runs)) / len(runs) if runs else len(set(words)) / len(words)


def exact(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns 1 if the answer is the row's `reference`, up to case, white space and a final full stop."""
    return float(answers.normal(response) == answers.normal(_reference(row)))


def numeric(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns 1 if the answer's number is the `reference`'s: of each the one after `####`, else the last (GSM8K)."""
    given, wanted = answers.number(response), answers.number(_reference(row))
    if wanted is None:
        raise InputError(f"reward 'numeric' needs a number in the row's 'reference'; given {_reference(row)!r:.100}")
    return float(given == wanted)


def mathematics(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns 1 if the answer's last expression equals the row's `reference` by `math-verify` (extra `verify`)."""
    return float(answers.same_mathematics(response, _reference(row)))


def instructions(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns the share of the row's IFEval instructions that the answer follows, strictly.

    The row is one of IFEval's data: `instruction_id_list`, and `kwargs` with the arguments of each.
    """
    names, kwargs = row.get("instruction_id_list"), row.get("kwargs")
    if not (
        isinstance(names, list) and names and isinstance(kwargs, list) and all(isinstance(k, dict) for k in kwargs)
    ):
        raise InputError(
            "reward 'ifeval' needs the lists 'instruction_id_list' and 'kwargs' in each row of the prompts; "
            f"the row has {', '.join(map(str, row)) or 'nothing'}"
        )
    strict, _ = ifeval(names, kwargs, "", response)
    return sum(strict) / len(strict)


def json_form(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns 1 if the answer is one JSON value, fenced or not, of the form of the row's `schema` if it has one.

    `schema` is a JSON Schema (extra `verify`).
    """
    schema = row.get("schema")
    if schema is None:
        return float(structure.json_value(response)[0])
    if not isinstance(schema, dict | bool):
        raise InputError(f"reward 'json' needs a JSON schema (an object) as the row's 'schema'; given {schema!r:.100}")
    return float(structure.matches_schema(response, schema))


def code(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns 1 if the answer's Python code passes the row's `tests` (Python source), run confined (`verify.sandbox`).

    The code is the answer's first fenced block, or all of it.

    Raises:
        ConfigError: this machine cannot confine a process; nothing is run then.
    """
    tests = row.get("tests")
    if not isinstance(tests, str) or not tests.strip():
        has = ", ".join(map(str, row)) or "nothing"
        raise InputError(f"reward 'code' needs the string 'tests', Python source, in each row; the row has {has}")
    return float(sandbox.run_tests(sandbox.code_of(response), tests).passed)


def repetition_penalty(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns minus the share of an answer's three-word runs that it has said before, -1 to 0."""
    words = response.lower().split()
    runs = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    return len(set(runs)) / len(runs) - 1 if runs else 0.0


def length_penalty(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns minus the share of `max_new_tokens` that an answer took, -1 to 0."""
    taken, most = row.get("num_tokens"), row.get("max_new_tokens")
    if not isinstance(taken, int) or not isinstance(most, int) or most < 1:
        raise InputError("penalty 'length_penalty' needs 'num_tokens' and 'max_new_tokens', which rlhf gives each row")
    return -min(1.0, taken / most)


def overlap(prompt: Sequence[Mapping[str, str]], response: str, row: Row) -> float:
    """Returns the F1 of the answer's words against the row's `reference`'s (Rajpurkar et al. 2016, SQuAD, sec. 6.1)."""
    given, wanted = (Counter(_WORD.findall(text.lower())) for text in (response, _reference(row)))
    shared = (given & wanted).total()
    return 2 * shared / (given.total() + wanted.total()) if shared else 0.0


def matching(pattern: str) -> Rule:
    """Returns the rule that gives 1 where the regular expression `pattern` is found in the answer.

    An answer on which the search takes more than a second of CPU counts as not matching.

    Raises:
        InputError: the pattern does not compile.
    """
    try:
        patterns.compiled(pattern)
    except InputError as error:
        raise InputError(f"reward 'regex:{pattern}': {error}") from None
    return lambda prompt, response, row: float(patterns.search(pattern, response) is True)


def forbidding(file: Path) -> Rule:
    """Returns the rule that gives 1 where none of a file's regular expressions is found in the answer, else 0.

    One expression a line, case ignored; blank lines and those that begin with `#` say nothing. An answer on which a
    search takes more than a second of CPU gets 0.

    Raises:
        ConfigError: the file is not there or has no expression.
        InputError: an expression does not compile; names the line.
    """
    if not file.is_file():
        raise ConfigError(f"reward 'forbidden:{file}': there is no file {file}")
    lines = file.read_text(encoding="utf-8").splitlines()
    rules = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not rules:
        raise ConfigError(f"reward 'forbidden:{file}': the file has no expression; write one a line")
    for number, rule in rules:
        try:
            patterns.compiled(f"(?i:{rule})")
        except InputError as error:
            raise InputError(f"reward 'forbidden:{file}', line {number}: {error}") from None
    return lambda prompt, response, row: float(
        all(patterns.search(f"(?i:{rule})", response) is False for _, rule in rules)
    )


def harmless(file: Path) -> Rule:
    """Returns the rule that gives 1 less the probability that the answer is harmful, by a `HarmModel` in a file.

    Raises:
        FormatError: the file is no such model.
    """
    model = HarmModel.load(file)
    return lambda prompt, response, row: 1.0 - float(model.score([response])[0])


RULES: dict[str, Rule] = {
    "format": answer_format,
    "refusal": refusal,
    "length": length,
    "exact": exact,
    "numeric": numeric,
    "overlap": overlap,
    "math": mathematics,
    "ifeval": instructions,
    "json": json_form,
    "code": code,
    "repetition_penalty": repetition_penalty,
    "length_penalty": length_penalty,
}


def _reference(row: Row) -> str:
    reference = row.get("reference")
    if not isinstance(reference, str):
        has = ", ".join(map(str, row)) or "nothing"
        raise InputError(f"this reward needs the string 'reference' in each row of the prompts; the row has {has}")
    return reference
