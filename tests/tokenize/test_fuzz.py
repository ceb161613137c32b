"""Random Unicode and bytes against tiktoken and HF tokenizers, for as long as GRISTLM_FUZZ_SECONDS says.

Three seconds by default, over every pattern with a small vocabulary of our own; from a minute on also over every
vocabulary that an installed package carries:

    GRISTLM_FUZZ_SECONDS=180 pytest tests/tokenize/test_fuzz.py

A failure names its seed: GRISTLM_FUZZ_SEED=123 begins there.
"""

import os
import random
import time
import unicodedata

import pytest
import random_texts
from carried_vocabularies import QWEN35, REGEXES, VOCABULARIES, Carried
from tokenizer_texts import ENGLISH, WORLD

from gristlm.tokenize import Tokenizer

pytestmark = pytest.mark.extras
SECONDS = float(os.environ.get("GRISTLM_FUZZ_SECONDS", "3"))
FIRST_SEED = int(os.environ.get("GRISTLM_FUZZ_SEED", "0"))
NORMALIZED = ("claude",)
"""Asked only for text of Unicode 3.2, which every library's tables of normalization have whole."""


def small(pattern: str) -> Carried:
    """A vocabulary trained with `pattern`, with what makes long merges in it."""
    texts = [*ENGLISH[:60], *WORLD * 3, *(random_texts.text(random.Random(-seed)) for seed in range(1, 300))]
    carried = Carried(Tokenizer.train(texts, vocab_size=1500, pattern=pattern, num_threads=1))
    carried.beside_hf(carried.ours.state.to_json())
    if pattern in REGEXES or pattern == QWEN35:
        ranks = {carried.ours.id_to_bytes(id): id for id in range(carried.ours.vocab_size)}
        carried.beside_tiktoken(ranks, REGEXES.get(pattern, pattern))
    return carried


def cases() -> dict[str, Carried]:
    """By name; vocabularies whose package is not installed are left out and named."""
    found = {pattern: small(pattern) for pattern in (*REGEXES, "deepseek", QWEN35)}
    for name, load in VOCABULARIES.items() if SECONDS >= 60 else ():
        try:
            found[f"{name}, carried"] = load()
        except pytest.skip.Exception as skipped:
            print(f"left out: {name}: {skipped}")
    return found


@pytest.mark.timeout(SECONDS + 300)
def test_ids_equal_the_others() -> None:
    carried, seed, rounds = cases(), FIRST_SEED, 0
    began = time.monotonic()
    while time.monotonic() - began < SECONDS:
        rng = random.Random(seed)
        text, data = random_texts.text(rng), random_texts.data(rng)
        known = all(unicodedata.ucd_3_2_0.category(char) != "Cn" for char in text)
        for name, case in carried.items():
            normalized = name.removesuffix(", carried") in NORMALIZED
            if normalized and not known:
                continue
            ids = case.ours.encode(text, allowed_special=case.added)
            for library, encode in case.others.items():
                assert ids == encode(text), f"{name} beside {library}, seed {seed}: {text!r}"
            if normalized:
                continue
            assert case.ours.decode_bytes(ids) == text.encode(), f"{name}, seed {seed}: {text!r}"
            ids = case.ours.encode(data)
            assert case.ours.decode_bytes(ids) == data, f"{name}, seed {seed}: {data!r}"
            if case.encode_bytes is not None:
                assert ids == case.encode_bytes(data), f"{name}, seed {seed}: {data!r}"
        seed, rounds = seed + 1, rounds + 1
    print(f"{rounds} texts, {len(carried)} vocabularies: {', '.join(carried)}")
    assert rounds
