"""The rule `encoding` beside ftfy: what it restores of broken text ours restores too, and neither touches sound text.

What is compared is the repair of characters alone: ftfy's other repairs (quotes, ligatures, widths, entities) are off,
and are none of this rule's.
"""

# ruff: noqa: RUF001 - letters that look like others are the subject

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import polars
import pytest

import gristlm

ftfy = pytest.importorskip("ftfy")
SENTENCES = [
    "Der Fluß fließt träge, und über die Brücke führt ein Weg.",
    "Où sont les élèves ? Ils déjeunent à l’école, déjà.",
    "El niño comió piñas; ¿cuántas? ¡Muchísimas!",
    "A manhã começou com pão, café e um coração à solta.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Zażółć gęślą jaźń, a potem wróć do domu.",
    "Árvíztűrő tükörfúrógép áll a műhelyben.",
    "Kế tiếp là một câu tiếng Việt rất ngắn.",
    "Съешь же ещё этих мягких французских булок.",
    "Η γρήγορη αλεπού πηδά πάνω από τον σκύλο.",
    "Fırtınalı günde şişman bir çocuk ağaca çıktı.",
    "Blåbærsyltetøy smaker godt på brød.",
    "敏捷的狐狸跳过了懒狗。",
    "いろはにほへと、ちりぬるを。",
    "다람쥐 헌 쳇바퀴에 타고파.",
    "She said — “it’s 5 € or £4” … and left 😀.",
]


def theirs(text: str) -> str:
    only = ftfy.TextFixerConfig(
        unescape_html=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        remove_terminal_escapes=False,
        normalization=None,
        fix_line_breaks=False,
        remove_control_chars=False,
        fix_surrogates=False,
    )
    return str(ftfy.fix_text(text, only))


def ours(texts: list[str]) -> list[str]:
    return gristlm.clean(texts, rules=["encoding"]).texts


def broken(text: str) -> list[str]:
    """UTF-8 read as latin-1 and, where it can be, as windows-1252."""
    out = [text.encode().decode("latin-1")]
    with contextlib.suppress(UnicodeDecodeError):
        out.append(text.encode().decode("windows-1252"))
    return out


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_come_back_as_with_ftfy(text: str) -> None:
    assert ours([text]) == [text] == [theirs(text)]
    for each in broken(text):
        if theirs(each) == text:
            assert ours([each]) == [text], each


def test_real_text_comes_back_as_often(development_data: Path) -> None:
    lines = [
        line.strip()
        for name in ("english", "multilingual")
        for text in polars.read_ndjson(development_data / "text" / f"{name}.jsonl")["text"].to_list()
        for line in text.split("\n")
        if not line.isascii() and 5 < len(line) < 200
    ]
    random.Random(0).shuffle(lines)
    lines = lines[:1500]
    assert ours(lines) == lines
    pairs = [(each, line) for line in lines for each in broken(line)]
    right = [repaired == line for repaired, (_, line) in zip(ours([each for each, _ in pairs]), pairs, strict=True)]
    also = [theirs(each) == line for each, line in pairs]
    missed = [pair for pair, good, wanted in zip(pairs, right, also, strict=True) if wanted and not good]
    assert len(missed) <= 0.005 * sum(also), missed[:5]
    assert sum(right) >= 0.995 * sum(also)
