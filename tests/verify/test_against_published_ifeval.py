"""IFEval's checks beside the published checker, which lm-evaluation-harness carries, on the data set's instructions.

Both sides count sentences with parameters of Punkt's that are trained here. Left out by name: what is random there (the
language).
"""

import json
import random
from pathlib import Path

import pytest

from gristlm import evaluate
from gristlm.verify.punkt import Punkt

LEFT_OUT = {
    "language:response_language",
    "change_case:english_capital",
    "change_case:english_lowercase",
}
PIECES = (
    "The answer is here.", "Dr. No said e.g. this. The U.S. ARMY",
    "no commas at all", "one, two, three", "\n", "\n\n", "\n\n\n", "***", "\n***\n",
    "* a point", "\n* one\n* two", "\n- dash", "*marked words*", "**bold** text", "****", "<<A title>>", "<< >>",
    "[name]",
    "[a] [b]", "[]", "P.S. more", "P.P.S more", "p. s. less", "******", "\n******\n", '"', '"quoted"', '{"a": 1}',
    "```json\n[1]\n```", "```", "Section 1", "SECTION 2", "Section 3\ntext", "My answer is yes.", "My answer is no.",
    "My answer is maybe.", "Is there anything else I can help with?", "word " * 40, "e e e", "?", "!", " ",
)  # fmt: skip


@pytest.fixture(scope="module")
def published(trained):
    for name in ("lm_eval", "langdetect", "immutabledict"):
        pytest.importorskip(name)
    nltk = pytest.importorskip("nltk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nltk.data, "find", lambda *_: "")  # nothing is downloaded on import
        from lm_eval.tasks.ifeval import instructions_registry, instructions_util
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instructions_util, "_get_sentence_tokenizer", lambda: trained[0])
        patch.setattr(nltk.tokenize, "_get_punkt_tokenizer", lambda _: trained[0])
        yield instructions_registry.INSTRUCTION_DICT


@pytest.fixture(scope="module")
def rows():
    path = Path(__file__).parents[3] / "shared/data/post/ifeval/input_data.jsonl"
    if not path.is_file():
        pytest.skip("the development data is not on this machine")
    return [json.loads(line) for line in path.read_text().splitlines()]


def answers(random, row, arguments):
    """Returns texts that follow some instructions and break others."""
    own = [str(value) for value in arguments.values() if isinstance(value, str)]
    own += [word for value in arguments.values() if isinstance(value, list) for word in value]
    for _ in range(12):
        pieces = [random.choice([*PIECES, *own, row["prompt"]]) for _ in range(random.randrange(12))]
        text = random.choice(("", " ", "\n")).join(pieces)
        first = arguments.get("first_word")
        if first is not None:  # so many paragraphs, of which the asked one begins with that word now and then
            parts = ["Some text."] * random.choice((arguments["num_paragraphs"], 3))
            parts[random.choice((arguments["nth_paragraph"] - 1, 0)) % len(parts)] = f"{first} {text}"
            text = random.choice(("\n\n", "\n\n\n")).join(parts)
        yield random.choice((text, text.lower(), text.upper(), f'"{text}"', f"{row['prompt']}\n{text}", text.strip()))


@pytest.mark.filterwarnings("ignore")
def test_every_verdict_is_the_published_one(published, trained, rows):
    punkt = Punkt.load(trained[1])
    dice = random.Random(0)
    compared: dict[str, set[bool]] = {}
    for row in rows:
        for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True):
            if name in LEFT_OUT:
                continue
            arguments = {key: value for key, value in given.items() if value is not None}
            if not arguments.get("letter", "a").isalpha():
                continue  # the published checker then draws a random letter
            check = published[name](name)
            check.build_description(**arguments)
            if "prompt" in (check.get_instruction_args_keys() or ()):
                check.build_description(**{**arguments, "prompt": row["prompt"]})
            for answer in answers(dice, row, arguments):
                theirs = bool(answer.strip() and check.check_following(answer))
                (ours,), _ = evaluate.ifeval([name], [given], row["prompt"], answer, punkt=punkt)
                assert ours == theirs, (name, arguments, answer)
                compared.setdefault(name, set()).add(ours)
    assert len(compared) == 25 - len(LEFT_OUT)
    assert [name for name, verdicts in compared.items() if len(verdicts) < 2] == []
