"""BPE dropout: seeded, always the same text, and between no dropout and no merging."""

import pytest
from tokenizer_texts import ENGLISH, WORLD

from gristlm.errors import InputError
from gristlm.tokenize import Tokenizer


def test_dropout_is_seeded_and_keeps_the_text(trained: Tokenizer) -> None:
    for text in [*ENGLISH[:4], *WORLD]:
        plain = trained.encode(text)
        dropped = trained.encode(text, dropout=0.3, seed=7)
        assert trained.decode(dropped) == text
        assert len(dropped) >= len(plain)
        assert trained.encode(text, dropout=0.3, seed=7) == dropped
        assert trained.encode(text.encode(), dropout=0.3, seed=7) == dropped
        assert trained.encode_array(text, dropout=0.3, seed=7).tolist() == dropped
    assert trained.encode(ENGLISH[0], dropout=0.3, seed=8) != trained.encode(ENGLISH[0], dropout=0.3, seed=7)


def test_none_and_all(trained: Tokenizer) -> None:
    text = ENGLISH[1]
    assert trained.encode(text, dropout=0.0, seed=5) == trained.encode(text)
    assert trained.encode(text, dropout=1.0) == [trained.token_to_id(bytes([byte])) for byte in text.encode()]
    lengths = [len(trained.encode(text, dropout=share)) for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    assert lengths == sorted(lengths)
    assert trained.encode("a<|im_end|>", allowed_special="all", dropout=1.0)[-1] == 2


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_out_of_range(trained: Tokenizer, share: float) -> None:
    with pytest.raises(InputError, match="dropout"):
        trained.encode("a", dropout=share)


def test_only_where_something_merges() -> None:
    with pytest.raises(InputError, match="dropout is for BPE"):
        Tokenizer.characters(["abc"]).encode("a", dropout=0.5)


def test_a_batch_draws_per_row_on_any_number_of_threads(trained: Tokenizer) -> None:
    texts = [*WORLD, *ENGLISH[:3], "", ENGLISH[0], ENGLISH[0]]
    batch = trained.encode_batch(texts, dropout=0.3, seed=7, num_threads=1)
    again = trained.encode_batch(texts, dropout=0.3, seed=7, num_threads=3)
    assert (batch.ids == again.ids).all()
    assert (batch.offsets == again.offsets).all()
    rows = batch.to_lists()
    assert rows[0] == trained.encode(texts[0], dropout=0.3, seed=7)
    assert rows[-1] != rows[-2]
    assert trained.decode_batch(batch) == texts
    assert trained.encode_batch(texts, dropout=0.0, seed=7).to_lists() == [trained.encode(text) for text in texts]
    assert len(trained.encode_batch([], dropout=0.3)) == 0
    with pytest.raises(InputError, match="row 1 is int"):
        trained.encode_batch(["a", 5], dropout=0.3)  # type: ignore[list-item]
    with pytest.raises(InputError, match="dropout"):
        trained.encode_batch(["a"], dropout=2.0)
