import contextlib
import random

import pytest
from test_render import random_conversation

import gristlm
from gristlm import finetune
from gristlm.errors import InputError
from gristlm.finetune import prepared
from gristlm.finetune.environment import can_trace
from gristlm.finetune.templates import TEMPLATES

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<s>", "</s>", "[INST]", "[/INST]",
]  # fmt: skip


@pytest.fixture(scope="module")
def real():
    return gristlm.Tokenizer.train(["the question and the answer, a b c é"] * 4, vocab_size=300, special_tokens=SPECIAL)


def both_ways(rows, tokenizer, template, monkeypatch, **options):
    options = {"template": template, "strict": False, **options}
    quick = finetune.prepare(rows, tokenizer, **options)
    with monkeypatch.context() as patch:
        patch.setattr(prepared.Shapes, "number", lambda self, conversation: None)
        slow = finetune.prepare(rows, tokenizer, **options)
    for name in ("ids", "offsets", "loss_mask", "rows"):
        one, other = getattr(quick, name), getattr(slow, name)
        assert (one.dtype, one.tolist()) == (other.dtype, other.tolist())
    assert quick.skipped == slow.skipped
    return quick


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_shapes_give_what_the_template_gives(real, name, num_threads, monkeypatch):
    assert can_trace(TEMPLATES[name].jinja)
    rows, draw = [], random.Random(0)
    for seed in range(150):
        messages, _ = random_conversation(seed)
        odd = draw.choice(
            ["", "", "", "", "<|im_end|>", "</s>", " \x1c", "\n\n", "</think>x", "<|im_", "<tool_response>"]
        )
        messages[-1] = {"role": "assistant", "content": odd + messages[-1]["content"] + odd}
        rows.append({"messages": messages})
    result = both_ways(rows, real, name, monkeypatch, num_threads=num_threads, max_seq_len=200)
    assert len(result) > 30


@pytest.mark.parametrize(
    "body",
    [
        "{{ m.content | upper }}",
        "{{ m.content | wordcount }}{{ m.content }}",
        "{{ m.content[:2] }}{{ m.content }}",
        "{% if m.content in 'abcde' %}!{% endif %}{{ m.content }}",
        "{% if 'abcde'.startswith(m.content) %}!{% endif %}{{ m.content }}",
        "{{ m.content | length }}{{ m.content }}",
        "{% if m.content == 'a' %}one{% endif %}{{ m.content }}",
        "{% if m.content.strip('a') %}more{% endif %}{{ m.content }}",
        "{{ '%s!' % m.content }}",
        "{{ (m.content + '  x  ') | trim }}",
        "{{ m.content | replace('a', 'b') }}",
        "{{ {'a': 'one'}[m.content] }}{{ m.content }}",
        "{% for c in m.content %}{{ c }}{% endfor %}",
        "{{ m.content | int }}{{ m.content }}",
    ],
)
def test_a_template_that_looks_into_the_words_is_run_for_each(real, body, monkeypatch):
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n" + body + "<|im_end|>\n{% endfor %}"
    rows = [
        {"messages": [{"role": "user", "content": "what?"}, {"role": "assistant", "content": text}]}
        for text in ("b c", "a", "abcde", " a ", "12", "bc", "aaa")
    ]
    with contextlib.suppress(InputError):  # of some templates no row can be used, either way
        both_ways(rows, real, template, monkeypatch)
