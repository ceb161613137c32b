"""BPE over characters, as Llama and Mistral have it: ids, decoding and added tokens equal HF tokenizers'."""

import json
import random
from pathlib import Path

import pytest
from tokenizer_texts import ENGLISH, WORLD

from gristlm.errors import FormatError
from gristlm.tokenize import Tokenizer

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

pytestmark = pytest.mark.extras
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPACE = "\u2581"
RANGES = [(32, 127), (97, 123), (9, 33), (0x80, 0x250), (0x400, 0x460), (0x4E00, 0x4E80), (0x1F600, 0x1F640)]


def random_text(seed: int) -> str:
    rng = random.Random(seed)
    pieces = ["  ", " ", "\n", "the ", " of", SPACE, "<s>", "<x>", "word", "é", "e\u0301"]
    return "".join(
        rng.choice(pieces) if rng.random() < 0.3 else chr(rng.randrange(*rng.choice([*RANGES, (0xE000, 0x110000)])))
        for _ in range(rng.randrange(60))
    )


TEXTS = ["", " ", "  ", "a", " a", "  a  b ", *ENGLISH[:6], *WORLD, *(random_text(seed) for seed in range(300))]


def metaspace(scheme: str, *, split: bool) -> tuple:
    arguments = {"replacement": SPACE, "prepend_scheme": scheme, "split": split}
    return (
        None,
        pre_tokenizers.Metaspace(**arguments),
        (decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(**arguments)])),
    )


def llama() -> tuple:
    return (
        normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]),
        None,
        decoders.Sequence(
            [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        ),
    )


def gemma() -> tuple:
    return (
        normalizers.Replace(" ", SPACE),
        pre_tokenizers.Split(" ", "merged_with_previous"),
        decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]),
    )


STYLES = {
    "llama": llama,
    "gemma": gemma,
    "always": lambda: metaspace("always", split=False),
    "always, split": lambda: metaspace("always", split=True),
    "first, split": lambda: metaspace("first", split=True),
    "never": lambda: metaspace("never", split=False),
}


def trained(
    style: str, *, byte_fallback: bool = True, fuse_unk: bool = True, ignore_merges: bool = False
) -> "tokenizers.Tokenizer":
    """A small vocabulary that HF trained, with the given parts around it."""
    normalizer, cut, decoder = STYLES[style]()
    options = {"unk_token": "<unk>", "fuse_unk": fuse_unk, "byte_fallback": byte_fallback}
    made = tokenizers.Tokenizer(models.BPE(**options, ignore_merges=ignore_merges))
    made.normalizer, made.pre_tokenizer = STYLES["always, split"]()[:2]
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=special, show_progress=False, limit_alphabet=90, initial_alphabet=[SPACE]
    )
    made.train_from_iterator(ENGLISH[:20] + WORLD, trainer)
    definition = json.loads(made.to_str())
    model = definition["model"]
    if byte_fallback:
        size = len(model["vocab"])
        model["vocab"] |= {name: size + number for number, name in enumerate(BYTES)}
    made = tokenizers.Tokenizer.from_str(json.dumps(definition))
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, cut, decoder
    return made


def ours(theirs: "tokenizers.Tokenizer", path: Path) -> Tokenizer:
    theirs.save(str(path / "tokenizer.json"))
    return Tokenizer.from_file(path)


def compare(own: Tokenizer, theirs: "tokenizers.Tokenizer", texts: list[str] = TEXTS) -> None:
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert own.encode(text, allowed_special="all") == expected, text
    batch = own.encode_batch(texts, allowed_special="all", num_threads=2).to_lists()
    assert batch == [own.encode(text, allowed_special="all") for text in texts]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_ids_equal_hf(style: str, byte_fallback: bool, tmp_path: Path) -> None:
    theirs = trained(style, byte_fallback=byte_fallback)
    own = ours(theirs, tmp_path)
    compare(own, theirs)
    own.save(tmp_path / "again.json")
    assert Tokenizer.from_file(tmp_path / "again.json") == own
    compare(own, tokenizers.Tokenizer.from_file(str(tmp_path / "again.json")), TEXTS[:40])


@pytest.mark.parametrize("style", ["llama", "always, split"])
def test_ignored_merges_and_single_unknown_tokens(style: str, tmp_path: Path) -> None:
    for options in ({"ignore_merges": True}, {"byte_fallback": False, "fuse_unk": False}):
        theirs = trained(style, **options)
        compare(ours(theirs, tmp_path), theirs)


@pytest.mark.parametrize("style", STYLES)
def test_decoding_equals_hf(style: str, tmp_path: Path) -> None:
    theirs = trained(style)
    own = ours(theirs, tmp_path)
    for text in TEXTS:
        ids = own.encode(text)
        expected = theirs.decode(ids, skip_special_tokens=False)
        assert own.decode(ids) == expected
        stream = own.stream_decoder()
        assert "".join([*map(stream.push, ids), stream.finish()]) == expected
        if style in ("llama", "gemma"):
            assert expected == text.replace(SPACE, " ")


def test_bytes_come_back(tmp_path: Path) -> None:
    own = ours(trained("llama"), tmp_path)
    rng = random.Random(0)
    for length in range(1, 60):
        data = rng.randbytes(length)
        assert own.decode_bytes(own.encode(data)) in (data, data[data[:1] == b" " :])
    for text in TEXTS:
        assert own.encode(text.encode()) == own.encode(text)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("normalized", [True, False])
def test_added_tokens(style: str, normalized: bool, tmp_path: Path) -> None:
    theirs = trained(style)
    theirs.add_tokens(
        [
            AddedToken("<x>", normalized=normalized),
            AddedToken("<l>", lstrip=True, normalized=normalized),
            AddedToken("<r>", rstrip=True, normalized=normalized),
            AddedToken("wort", single_word=True, normalized=normalized),
            AddedToken("a b", normalized=normalized),
        ]
    )
    own = ours(theirs, tmp_path)
    rng = random.Random(1)
    parts = ["<x>", "<l>", "<r>", "wort", "a b", " ", "  ", "\n", "\t", "x", "_", "é", "<s>", "the", "a", SPACE]
    texts = ["".join(rng.choices(parts, k=rng.randrange(12))) for _ in range(400)]
    compare(own, theirs, texts)
    assert own.token_to_id("<x>") not in own.encode("a<x>b")


@pytest.mark.parametrize("style", ["llama", "gemma", "first, split"])
def test_offsets(style: str, tmp_path: Path) -> None:
    own = ours(trained(style), tmp_path)
    for text in [text for text in TEXTS if SPACE not in text]:
        encoding = own.encode_with_offsets(text)
        assert encoding.ids.tolist() == own.encode(text)
        data = text.encode()
        assert b"".join(data[a:b] for a, b in encoding.offsets) == data
        for id, (a, b) in list(zip(encoding.ids.tolist(), encoding.offsets, strict=True))[1:]:
            assert own.id_to_bytes(id) == data[a:b]
    changed = f"a{SPACE}b"
    encoding = own.encode_with_offsets(changed)
    assert encoding.ids.tolist() == own.encode(changed)
    assert b"".join(changed.encode()[a:b] for a, b in encoding.offsets) == changed.encode()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("pre_tokenizer", {"type": "Whitespace"}, "Whitespace"),
        ("pre_tokenizer", {"type": "Digits", "individual_digits": True}, "spaces are written"),
        ("normalizer", {"type": "Lowercase"}, "Lowercase"),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}, "Regex"),
        ("decoder", {"type": "WordPiece", "prefix": "##", "cleanup": True}, "WordPiece"),
        ("decoder", {"type": "Fuse"}, "leaves"),
        ("decoder", {"type": "Strip", "content": " ", "start": 2, "stop": 0}, "Strip"),
        ("unk_token", "<none>", "unk_token"),
        ("continuing_subword_prefix", "##", "continuing_subword_prefix"),
    ],
)
def test_what_is_not_supported_is_named(path: str, value: object, message: str, tmp_path: Path) -> None:
    definition = json.loads(trained("llama").to_str())
    (definition if path in definition else definition["model"])[path] = value
    (tmp_path / "bad.json").write_text(json.dumps(definition))
    with pytest.raises(FormatError, match=message) as failure:
        Tokenizer.from_file(tmp_path / "bad.json")
    assert "bad.json" in str(failure.value)


def test_a_prefix_space_before_bytes_equals_hf(tmp_path: Path) -> None:
    theirs = tokenizers.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    theirs.train_from_iterator(
        ENGLISH[:10], trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    theirs.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("cat", "dog")])
    own = ours(theirs, tmp_path)
    compare(own, theirs, [*TEXTS, "a cat", "e\u0301 cat"])
    own.save(tmp_path / "again.json")
    compare(Tokenizer.from_file(tmp_path / "again.json"), theirs, TEXTS[:60])
