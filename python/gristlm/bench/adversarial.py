"""Inputs that make tokenizers slow: a megabyte of one kind each. Ours are the same on every machine."""

from __future__ import annotations

import random

BYTES = 1 << 20


def inputs() -> dict[str, str]:
    """Returns texts of about `BYTES` bytes of UTF-8, by kind."""
    num_bytes = BYTES
    rng = random.Random(0)
    return {
        "one letter": "a" * num_bytes,
        "spaces": " " * num_bytes,
        "newlines": "\n" * num_bytes,
        "a random word": "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=num_bytes)),
        "carets": "^" * num_bytes,
        "Han": "".join(chr(rng.randrange(0x4E00, 0x9FA6)) for _ in range(num_bytes // 3)),
        # What a library that takes text alone sees of bytes that are none.
        "random bytes": rng.randbytes(num_bytes // 2).decode("utf-8", "replace"),
    }
