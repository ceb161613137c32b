import pytest

from gristlm.errors import ConfigError, InputError
from gristlm.rlhf.verifiers import RULES, forbidding, matching

PROMPT = [{"role": "user", "content": "What does len do?"}]


def rule(name, response, **row):
    return RULES[name](PROMPT, response, row)


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("It returns the number of items.", 1.0),
        ("`len` returns the number of items of a container.", 1.0),
        ('"Three words here!"', 1.0),
        ("it returns the number of items", 0.5),
        ("Yes.", 0.75),
        ("First line.\nSecond line of the answer.", 0.75),
        ("   ", 0.0),
        ("", 0.0),
    ],
)
def test_format(response, score):
    assert rule("format", response) == score


@pytest.mark.parametrize(
    ("response", "kind", "score"),
    [
        ("I can't help with that.", "refuse", 1.0),
        ("I can't help with that.", "answer", 0.0),
        ("It returns the length.", "answer", 1.0),
        ("It returns the length.", "refuse", 0.0),
        ("", "answer", 0.0),
    ],
)
def test_refuses_when_and_only_when_asked_to(response, kind, score):
    assert rule("refusal", response, kind=kind) == score


def test_length_punishes_the_cut_off_the_empty_and_the_repeating():
    assert rule("length", "It returns the number of items.", finish_reason="stop") == 1.0
    assert rule("length", "It returns the number of items.", finish_reason="length") == 0.0
    assert rule("length", "") == 0.0
    assert rule("length", "the list the list the list the list the list") < 0.3
    assert rule("length", "no no") == 0.5


def test_exact_answers_forgive_case_space_and_a_full_stop():
    assert rule("exact", " The  len function. ", reference="the len function") == 1.0
    assert rule("exact", "the len method", reference="the len function") == 0.0


@pytest.mark.parametrize(
    ("response", "reference", "score"),
    [
        ("3 + 4 makes 7", "#### 7", 1.0),
        ("So 1,234.50 dollars", "1234.5", 1.0),
        ("7 #### 8", "7", 0.0),
        ("-3", "3", 0.0),
        ("no idea", "3", 0.0),
        ("1e3", "1000", 1.0),
    ],
)
def test_numeric(response, reference, score):
    assert rule("numeric", response, reference=reference) == score


def test_overlap_is_the_f1_of_words():
    assert rule("overlap", "returns the length", reference="Returns the length") == 1.0
    assert rule("overlap", "the the the the", reference="the length") == pytest.approx(2 * 1 / 6)
    assert rule("overlap", "", reference="the length") == 0.0


def test_regular_expression():
    assert matching(r"^\w+ = \d+$")(PROMPT, "x = 3", {}) == 1.0
    assert matching(r"^\w+ = \d+$")(PROMPT, "x = y", {}) == 0.0
    with pytest.raises(InputError, match="not a regular expression"):
        matching("(")


@pytest.mark.parametrize("name", ["exact", "numeric", "overlap"])
def test_a_row_without_a_reference_is_named(name):
    with pytest.raises(InputError, match=r"reference.*kind"):
        rule(name, "x", kind="answer")


@pytest.mark.parametrize(
    "response", ["\x00", "é" * 10_000, "<|im_end|>" * 50, "\n\n\n", "9" * 100_000, "1e999999999", ". . . ."]
)
def test_hostile_answers_score_within_bounds(response):
    more = {"num_tokens": 3, "max_new_tokens": 8, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    for name in RULES.keys() - {"code"}:  # tests/verify/test_sandbox.py
        low = -1.0 if name.endswith("_penalty") else 0.0
        value = rule(name, response, kind="answer", reference="3", finish_reason="stop", **more)
        assert low <= value <= low + 1.0


def test_mathematics_needs_no_equal_text():
    pytest.importorskip("math_verify")
    assert rule("math", "It is $\\frac{1}{2}$.", reference="0.5") == 1.0
    assert rule("math", "It is $\\frac{1}{3}$.", reference="0.5") == 0.0


def test_the_share_of_instructions_that_are_followed():
    row = {
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {}],
    }
    assert rule("ifeval", '"a b"', **row) == 1.0
    assert rule("ifeval", "a b", **row) == 0.5
    assert rule("ifeval", "a, b", **row) == 0.0
    with pytest.raises(InputError, match="instruction_id_list"):
        rule("ifeval", "a", kind="answer")


def test_json_and_its_schema():
    assert rule("json", '{"a": 1}') == 1.0
    assert rule("json", "a") == 0.0
    pytest.importorskip("jsonschema")
    assert rule("json", '{"a": 1}', schema={"required": ["a"]}) == 1.0
    assert rule("json", '{"b": 1}', schema={"required": ["a"]}) == 0.0
    with pytest.raises(InputError, match="schema"):
        rule("json", "1", schema="a")


def test_penalties():
    assert rule("repetition_penalty", "a b c a b c a b c") == pytest.approx(-4 / 7)
    assert rule("repetition_penalty", "a b") == 0.0
    assert rule("length_penalty", "x", num_tokens=6, max_new_tokens=8) == -0.75
    with pytest.raises(InputError, match="num_tokens"):
        rule("length_penalty", "x")


def test_a_list_of_forbidden_expressions(tmp_path):
    file = tmp_path / "never.txt"
    file.write_text("# words\n\nbadword\nh[a4]te\n(a+)+$\n")
    never = forbidding(file)
    assert never(PROMPT, "all is well", {}) == 1.0
    assert never(PROMPT, "I H4TE it", {}) == 0.0
    assert never(PROMPT, "a" * 60 + "!", {}) == 0.0  # too slow to tell: not shown to be clean
    file.write_text("fine\n(\n")
    with pytest.raises(InputError, match=r"never\.txt', line 2"):
        forbidding(file)
    file.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="no expression"):
        forbidding(file)
    with pytest.raises(ConfigError, match="no file"):
        forbidding(tmp_path / "absent.txt")
