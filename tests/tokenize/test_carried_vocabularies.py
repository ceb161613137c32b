"""Every vocabulary that a package carries: ids equal tiktoken's and HF's, any bytes come back, saved files too."""

import random
import sysconfig
from pathlib import Path

import pytest
import random_texts
from carried_vocabularies import VOCABULARIES, Carried
from tokenizer_texts import ENGLISH, WORLD

from gristlm.errors import InputError
from gristlm.tokenize import Tokenizer

pytestmark = pytest.mark.extras
NORMALIZED = ("claude",)
"""Text comes back as NFKC of itself."""


@pytest.fixture(scope="module", params=VOCABULARIES)
def named(request: pytest.FixtureRequest) -> tuple[str, Carried]:
    return request.param, VOCABULARIES[request.param]()


def test_english_multilingual_and_code(named: tuple[str, Carried]) -> None:
    name, carried = named
    code = Path(sysconfig.get_paths()["stdlib"]) / "textwrap.py"
    for text in [*ENGLISH[::12], *WORLD, code.read_text()]:
        ids = carried.ours.encode(text, allowed_special=carried.added)
        for library, encode in carried.others.items():
            assert ids == encode(text), (library, text[:200])
        if name not in NORMALIZED:
            assert carried.ours.decode(carried.ours.encode(text)) == text


def test_random_unicode(named: tuple[str, Carried]) -> None:
    name, carried = named
    for seed in range(400):
        text = random_texts.text(random.Random(seed))
        ids = carried.ours.encode(text, allowed_special=carried.added)
        for library, encode in carried.others.items():
            assert ids == encode(text), (library, seed, text)
        if name not in NORMALIZED:
            assert carried.ours.decode(carried.ours.encode(text)) == text, (seed, text)


def test_any_bytes_come_back(named: tuple[str, Carried]) -> None:
    name, carried = named
    if name in NORMALIZED:
        pytest.skip(f"{name} normalizes text")
    for seed in range(400):
        data = random_texts.data(random.Random(seed))
        ids = carried.ours.encode(data)
        assert carried.ours.decode_bytes(ids) == data, (seed, data)
        if carried.encode_bytes is not None:
            assert ids == carried.encode_bytes(data), (seed, data)


def test_saved_it_is_the_same(named: tuple[str, Carried], tmp_path: Path) -> None:
    name, carried = named
    ours = carried.ours
    ours.save(tmp_path / "tokenizer.json")
    files = [Tokenizer.from_file(tmp_path / "tokenizer.json")]
    try:
        ours.save(tmp_path / "vocabulary.tiktoken")
        files.append(
            Tokenizer.from_tiktoken(
                tmp_path / "vocabulary.tiktoken", pattern=ours.pattern, special_tokens=ours.special_tokens
            )
        )
    except InputError:
        assert name not in ("cl100k", "o200k", "p50k", "qwen", "qwen3.6", "voyage3")
    for again in files:
        assert again.vocab_size == ours.vocab_size
        assert again.special_tokens == ours.special_tokens
        for text in [*ENGLISH[::30], *WORLD, *(random_texts.text(random.Random(seed)) for seed in range(50))]:
            assert again.encode(text) == ours.encode(text)
