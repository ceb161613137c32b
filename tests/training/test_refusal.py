import pytest

from gristlm.training.refusal import is_refusal

REFUSALS = [
    "I can't help with that.",
    "I’m sorry, but I cannot assist with that request.",  # noqa: RUF001
    "Sorry, I can't do that.",
    "I am unable to provide instructions for this.",
    "I won't write that. Here is something else instead.",
    "I cannot and will not provide that.",
    "I must respectfully decline.",
    "I can not answer that question.",
    "That's not something I can help with.",
    "It is illegal to do so, and I would not advise it.",
    "It is not ethical or appropriate to do that. Consider another way.",
    "As an AI language model, I cannot provide that.",
    "I do not know about this. I can't help with it.",
    "I do not have that in my notes, so I cannot answer.",
    "My guidelines do not allow this.",
    "Sorry.",
    "SORRY, I CAN'T HELP WITH THAT",
]
ANSWERS = [
    "",
    "You cannot refuse a subpoena.",
    "I can't find a bug in this.",
    "I can't be sure, but it is 4.",
    "Returns the sum of two numbers. I can help with more.",
    "Sure! Here is how to do it.",
    "To kill a Python process, use kill and its number.",
    "I'm sorry to hear that. Here is what you can do: rest.",
    "Sorry for the delay. Here it is: 4.",
    "I don't think so. The answer is 4.",
    "It cannot be used in this way and raises ValueError.",
    "One. Two. Three. I can't help with that.",
    "\n\n",
    "I",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text):
    assert not is_refusal(text)


@pytest.mark.timeout(10)
def test_long_text_is_no_trap():
    assert not is_refusal("i really " * 100_000)
    assert not is_refusal(" " * 1_000_000)
    assert not is_refusal("i can't " * 100_000 + "x")
