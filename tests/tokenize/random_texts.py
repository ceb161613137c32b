"""Seeded texts and bytes that go where splitters and merges go wrong: classes side by side, runs, broken characters."""

# ruff: noqa: RUF001

import random

CLASSES = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0123456789",
    "٣४½Ⅷ²〇",
    " \t\n\r\x0b\x0c\x85\u00a0\u2003\u2028\u3000",
    ".,;:!?/\\-_'\"()[]{}<>|@#$%^&*+=~`",
    "éÉßñçøªº",
    "ǅᾈǲ",
    "ʰˀ々ー",
    "ſK",
    "漢字東京了懒狗",
    "あいうアイウ",
    "한국어한",
    "абвгдЖЩЪ",
    "مرحباשלום",
    "नमस्तेไทย",
    "\u0301\u0308\u200d\ufe0f\u20e3",
    "🙂👩🏳🌈😀",
    "\x00\x01\x7f\ufeff\ufffd\ue000\U0010ffff",
)
WORDS = (
    "the",
    " of",
    "'s",
    "'LL",
    " I'vE",
    "<|endoftext|>",
    "http://",
    "\r\n",
    "def f(x):\n    ",
    "  ",
    "1234567",
    "=====",
)


def text(rng: random.Random, pieces: int = 24) -> str:
    """A text of up to `pieces` pieces: words, characters of one class, runs of one, and any code point."""
    out: list[str] = []
    for _ in range(rng.randrange(pieces + 1)):
        kind = rng.random()
        letters = rng.choice(CLASSES)
        if kind < 0.2:
            out.append(rng.choice(WORDS))
        elif kind < 0.6:
            out += rng.choices(letters, k=rng.randrange(1, 6))
        elif kind < 0.7:
            out.append(rng.choice(letters) * rng.choice((2, 3, 7, 16, 40, 200)))
        elif kind < 0.85:
            out += rng.choices("".join(CLASSES), k=rng.randrange(1, 6))
        else:
            code = rng.choice((rng.randrange(0x3000), rng.randrange(0x110000)))
            out.append(chr(code) if not 0xD800 <= code < 0xE000 else " ")
    return "".join(out)


def data(rng: random.Random) -> bytes:
    """Bytes that are a text with some of them changed, left out or put in."""
    out = bytearray(text(rng, 8).encode())
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(out) + 1)
        out[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
    return bytes(out)
