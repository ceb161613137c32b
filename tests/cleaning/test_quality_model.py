"""fastText models: equal to the published program's answers, trained the same every time, hostile files named."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from gristlm.cleaning_model import QualityModel
from gristlm.errors import InputError

GOOD = ["the river bends because its outer bank is worn away", "a theorem follows from the lemma above, and is used"]
BAD = ["click here to win now !!!", "buy cheap pills online best price click", "subscribe login sign up home about"]


def made(words: list[str], seed: int, count: int = 120) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(words, k=generator.randint(3, 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def trained() -> QualityModel:
    return QualityModel.train(made(" ".join(GOOD).split(), 1), made(" ".join(BAD).split(), 2), dim=8, buckets=5000)


def test_a_trained_model_tells_good_from_bad_and_is_the_same_every_time(trained: QualityModel, tmp_path: Path) -> None:
    assert trained.labels == ["good", "bad"]
    good, bad = made(" ".join(GOOD).split(), 3), made(" ".join(BAD).split(), 4)
    assert (trained.score(good) > 0.5).mean() > 0.95
    assert (trained.score(bad) < 0.5).mean() > 0.95
    np.testing.assert_allclose(trained.score(good) + trained.score(good, label="__label__bad"), 1, atol=1e-5)
    assert (trained.score(good, num_threads=1) == trained.score(good, num_threads=3)).all()
    trained.save(tmp_path / "one.bin")
    again = QualityModel.train(made(" ".join(GOOD).split(), 1), made(" ".join(BAD).split(), 2), dim=8, buckets=5000)
    again.save(tmp_path / "two.bin")
    assert (tmp_path / "one.bin").read_bytes() == (tmp_path / "two.bin").read_bytes()
    read = QualityModel.load(tmp_path / "one.bin")
    assert (read.score(good + bad) == trained.score(good + bad)).all()
    assert trained.score(["", "\n"]).shape == (2,)


WORDS = ["the", "river", "naïve", "川", "a", "</s>", "bends", "__x", "word-with-hyphen", "ñandú"]


def matrix(generator: random.Random, rows: int, dim: int) -> bytes:
    values = [generator.uniform(-1, 1) for _ in range(rows * dim)]
    return struct.pack("<qq", rows, dim) + struct.pack(f"<{rows * dim}f", *values)


def codebook(generator: random.Random, dim: int, width: int) -> bytes:
    parts, last = -(-dim // width), dim % width or width
    values = [generator.uniform(-1, 1) for _ in range(dim * 256)]
    return struct.pack("<4i", dim, parts, width, last) + struct.pack(f"<{dim * 256}f", *values)


def quantised(generator: random.Random, rows: int, dim: int, norms: bool) -> bytes:
    width = 2
    parts = -(-dim // width)
    data = struct.pack("<?qqi", norms, rows, dim, rows * parts) + generator.randbytes(rows * parts)
    data += codebook(generator, dim, width)
    return data + (generator.randbytes(rows) + codebook(generator, 1, 1) if norms else b"")


def model_file(
    *, loss: int = 3, ngrams: int = 1, minn: int = 0, maxn: int = 0, labels: int = 2, kind: str = "dense", seed: int = 0
) -> bytes:
    """A file in fastText's format with random weights, written from the format's description."""
    generator = random.Random(seed)
    dim, buckets = 5, 50
    data = struct.pack("<2i", 793712314, 12)
    data += struct.pack("<12id", dim, 5, 1, 1, 5, ngrams, loss, 3, buckets, minn, maxn, 100, 1e-4)
    pruned = kind == "pruned"
    kept = {generator.randrange(buckets): at for at in range(7)} if pruned else {}
    kept = {key: at for at, key in enumerate(kept)}
    data += struct.pack("<3i2q", len(WORDS) + labels, len(WORDS), labels, 1000, len(kept) if pruned else -1)
    for number, word in enumerate(WORDS):
        data += word.encode() + b"\0" + struct.pack("<qb", 100 - number, 0)
    for number in range(labels):
        data += f"__label__{number}".encode() + b"\0" + struct.pack("<qb", 50 - 3 * number, 1)
    for key, value in kept.items():
        data += struct.pack("<2i", key, value)
    rows = len(WORDS) + (len(kept) if pruned else buckets)
    packed = kind != "dense"
    data += struct.pack("<?", packed)
    data += quantised(generator, rows, dim, kind == "norms") if packed else matrix(generator, rows, dim)
    data += struct.pack("<?", packed)
    return data + (quantised(generator, labels, dim, kind == "norms") if packed else matrix(generator, labels, dim))


TEXTS = [
    "the river bends",
    "unknown words naïve 川の流れ ñandú",
    "a a a the __label__1 __label__unknown __x",
    "  tabs\tand\vspaces\f word-with-hyphen\rx ",
    "x",
    "",
    "the " * 300 + "river",
    "é ü 😀 emoji",
]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ngrams": 3},
        {"minn": 2, "maxn": 4},
        {"minn": 1, "maxn": 3, "ngrams": 2},
        {"loss": 1, "labels": 7, "ngrams": 2},
        {"loss": 1, "labels": 1},
        {"loss": 4, "labels": 3},
        {"loss": 2, "labels": 3},
        {"kind": "plain codes", "ngrams": 2},
        {"kind": "norms", "minn": 2, "maxn": 3},
        {"kind": "pruned", "ngrams": 2, "minn": 2, "maxn": 3},
    ],
    ids=str,
)
def test_probabilities_equal_the_published_programs(options: dict[str, object], tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fasttext-predict is not installed")
    path = tmp_path / "model.bin"
    path.write_bytes(model_file(**options))  # type: ignore[arg-type]
    ours, theirs = QualityModel.load(path), fasttext.load_model(str(path))
    for text in TEXTS:
        labels, probabilities = theirs.predict(text.replace("\n", " "), k=-1, threshold=-1.0)
        wanted = dict(zip(labels, probabilities, strict=True))
        for label in ours.labels:
            # The program adds 1e-5 before its logarithm; of single labels it looks the sigmoid up in a table.
            loose = 0.02 if options.get("loss") in (2, 4) else 3e-4
            assert ours.score([text], label=label)[0] == pytest.approx(wanted.get(f"__label__{label}", 0), abs=loose)


def test_a_model_we_trained_is_read_by_the_published_program(trained: QualityModel, tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fasttext-predict is not installed")
    trained.save(tmp_path / "model.bin")
    theirs = fasttext.load_model(str(tmp_path / "model.bin"))
    for text in (*GOOD, *BAD, "something else"):
        labels, probabilities = theirs.predict(text, k=-1)
        wanted = dict(zip(labels, probabilities, strict=True))["__label__good"]
        assert trained.score([text])[0] == pytest.approx(wanted, abs=1e-4)


def test_damaged_and_hostile_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    whole = model_file(kind="norms", minn=2, maxn=3)
    huge = bytearray(model_file())
    huge[64:68] = struct.pack("<i", 2**31 - 1)
    cases = [
        (b"", "too short"),
        (b"PK\3\4" + bytes(100), "no fastText model"),
        (struct.pack("<2i", 793712314, 99), "version 99"),
        (bytes(huge), "model .*model.bin: "),
        (model_file()[:-1], "ends too early"),
    ]
    generator = random.Random(3)
    cases += [(whole[: generator.randrange(len(whole))], "model .*model.bin: ") for _ in range(40)]
    for content, message in cases:
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            QualityModel.load(path)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(3):
            changed[generator.randrange(min(len(changed), 400))] = generator.randrange(256)
        path.write_bytes(changed)
        try:
            model = QualityModel.load(path)
        except InputError:
            continue
        model.score(TEXTS, label=model.labels[0], num_threads=1)
    with pytest.raises(InputError, match="missing"):
        QualityModel.load(tmp_path / "missing.bin")


def test_wrong_settings_are_named(trained: QualityModel) -> None:
    with pytest.raises(InputError, match="no 'great'; it has good, bad"):
        trained.score(["x"], label="great")
    with pytest.raises(InputError, match="no bad text"):
        QualityModel.train(["x"], [])
    with pytest.raises(InputError, match="dim is 0"):
        QualityModel.train(["x"], ["y"], dim=0)
