"""Training: against a slow twin, from every kind of source, the same on any number of threads."""

import gzip
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from tokenizer_texts import ENGLISH, SPECIAL, WORLD, SlowTwin

from gristlm.errors import FormatError, InputError, MissingArtifactError
from gristlm.tokenize import Tokenizer

TEXTS = [*ENGLISH[:12], *WORLD, "aaaa aaa aaaaaaaaaa abababab baba"]


def merges_of(tokenizer: Tokenizer) -> list[list[str]]:
    return json.loads(tokenizer.state.to_json())["model"]["merges"]


def slow_train(words: Counter[bytes], num_merges: int, min_frequency: int) -> list[list[str]]:
    """The definition: the most frequent pair, of equals the one with the smaller ids; ids by the order of making."""
    name = SlowTwin({"model": {"merges": [], "vocab": {}}}).name
    ids = {name[byte]: number for number, byte in enumerate(sorted(range(256), key=lambda b: name[b]))}
    parts = {word: [name[byte] for byte in word] for word in words}
    merges = []
    while len(merges) < num_merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(parts[word]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        if pairs[best] < min_frequency:
            break
        merges.append(list(best))
        ids[best[0] + best[1]] = 256 + len(merges)
        for word in words:
            old, new, i = parts[word], [], 0
            while i < len(old):
                step = 2 if tuple(old[i : i + 2]) == best else 1
                new.append("".join(old[i : i + step]))
                i += step
            parts[word] = new
    return merges


@pytest.mark.parametrize("min_frequency", [1, 3])
def test_merges_equal_a_slow_twin(min_frequency: int) -> None:
    words = Counter(word.encode() for text in TEXTS for word in re.findall(r"\S+|\s+", text))
    expected = slow_train(words, 150, min_frequency)
    tokenizer = Tokenizer.train(TEXTS, vocab_size=406, pattern=r"\S+|\s+", min_frequency=min_frequency)
    assert merges_of(tokenizer) == expected


@pytest.mark.extras
@pytest.mark.parametrize("pattern", ["gpt2", "cl100k", "o200k", "llama3", "qwen2", "deepseek", r"\w+|[^\w\s]+|\s+"])
def test_vocabulary_and_merges_equal_hf(pattern: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = Tokenizer.train(ENGLISH + WORLD, vocab_size=3000, pattern=pattern, special_tokens=SPECIAL)
    definition = json.loads(ours.state.to_json())
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    splits = [s["pattern"]["Regex"] for s in definition["pre_tokenizer"]["pretokenizers"][:-1]]
    pre = tokenizers.pre_tokenizers
    theirs.pre_tokenizer = pre.Sequence(
        [
            *(pre.Split(tokenizers.Regex(s), "isolated") for s in splits),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=3000, special_tokens=list(SPECIAL), initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(ENGLISH + WORLD, trainer)
    model = json.loads(theirs.to_str())["model"]
    assert definition["model"]["merges"] == model["merges"]
    assert definition["model"]["vocab"] == model["vocab"]
    for text in WORLD:
        assert ours.encode(text) == theirs.encode(text).ids


@pytest.mark.extras
@pytest.mark.parametrize(
    ("min_frequency", "max_token_bytes"), [(2, None), (7, None), (1, 3), (3, 6)], ids=lambda value: str(value)
)
def test_minimum_frequency_and_longest_token_equal_hf(min_frequency: int, max_token_bytes: int | None) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    # Words of ASCII alone: there HF's measure of length is bytes, and its limit is one that no token reaches.
    texts = [" ".join(re.findall(r"[!-~]+", text)) for text in ENGLISH]
    ours = Tokenizer.train(
        texts,
        vocab_size=2500,
        pattern=r"[!-~]+|\s+",
        special_tokens=SPECIAL,
        min_frequency=min_frequency,
        max_token_bytes=max_token_bytes,
    )
    pre = tokenizers.pre_tokenizers
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = pre.Sequence(
        [
            pre.Split(tokenizers.Regex(r"[!-~]+|\s+"), "isolated"),
            pre.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2500,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre.ByteLevel.alphabet(),
        max_token_length=None if max_token_bytes is None else max_token_bytes + 1,
        show_progress=False,
    )
    theirs.train_from_iterator(texts, trainer)
    model = json.loads(theirs.to_str())["model"]
    assert merges_of(ours) == model["merges"]
    assert json.loads(ours.state.to_json())["model"]["vocab"] == model["vocab"]


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_threads_change_nothing(trained: Tokenizer, num_threads: int) -> None:
    again = Tokenizer.train(
        ENGLISH + WORLD, vocab_size=2000, pattern="o200k", special_tokens=SPECIAL, num_threads=num_threads
    )
    assert again == trained


def test_every_source_gives_the_same(tmp_path: Path) -> None:
    texts = ["the cat\n", "the dog and the cat\n", "a mat\n"]
    expected = Tokenizer.train(texts, vocab_size=280)
    (tmp_path / "one.txt").write_text("".join(texts))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress((tmp_path / "rows.jsonl").read_bytes()))
    for source in (
        iter(texts),
        tuple(texts),
        (t for t in texts),
        tmp_path / "rows.jsonl",
        str(tmp_path / "rows.jsonl.gz"),
    ):
        assert Tokenizer.train(source, vocab_size=280) == expected
    joined = Tokenizer.train(["".join(texts)], vocab_size=280)
    for source in (
        tmp_path / "one.txt",
        [tmp_path / "one.txt"],
        iter([tmp_path / "one.txt"]),
        [str(tmp_path / "one.txt")],
    ):
        assert Tokenizer.train(source, vocab_size=280) == joined


@pytest.mark.extras
def test_arrow_polars_and_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    import pyarrow.parquet as pq

    expected = Tokenizer.train(ENGLISH, vocab_size=600)
    pq.write_table(pa.table({"text": ENGLISH}), tmp_path / "rows.parquet")
    with pa.CompressedOutputStream(str(tmp_path / "rows.jsonl.zst"), "zstd") as file:
        file.write("".join(json.dumps({"text": text}) + "\n" for text in ENGLISH).encode())
    for source in (
        pa.array(ENGLISH), pa.chunked_array([ENGLISH[:9], ENGLISH[9:]]), pa.array(ENGLISH, pa.large_string()),
        pa.array(ENGLISH, pa.string_view()), pl.Series(ENGLISH), tmp_path / "rows.parquet",
        [tmp_path / "rows.jsonl.zst"],
    ):  # fmt: skip
        assert Tokenizer.train(source, vocab_size=600) == expected
    batch = expected.encode_batch(ENGLISH)
    for texts in (pa.array(ENGLISH), pl.Series(ENGLISH)):
        assert (expected.encode_batch(texts).ids == batch.ids).all()
    with pytest.raises(InputError, match="row 1 is null"):
        expected.encode_batch(pa.array(["a", None]))


def test_max_token_bytes() -> None:
    tokenizer = Tokenizer.train(ENGLISH, vocab_size=1000, max_token_bytes=4)
    assert max(len(tokenizer.id_to_bytes(id)) for id in range(tokenizer.vocab_size)) == 4


def test_a_small_corpus_gives_a_small_vocabulary() -> None:
    assert Tokenizer.train([], vocab_size=1000).vocab_size == 256
    assert Tokenizer.train(["", "a"], vocab_size=1000, special_tokens=["<s>"]).vocab_size == 257
    assert Tokenizer.train(["abab"], vocab_size=1000).vocab_size == 258


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab_size": 255}, "at least 256"),
        ({"vocab_size": 256, "special_tokens": ["<s>"]}, "at least 257"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"vocab_size": 300, "pattern": "o100k"}, "o200k"),
        ({"vocab_size": 300, "pattern": "(a"}, "pattern"),
        ({"vocab_size": 300, "pattern": ""}, "pattern"),
        ({"vocab_size": 300, "special_tokens": ["<s>", "<s>"]}, "twice"),
        ({"vocab_size": 300, "special_tokens": [""]}, "empty"),
        ({"vocab_size": 300, "special_tokens": "<s>"}, "list"),
        ({"vocab_size": 300, "max_token_bytes": 1}, "max_token_bytes"),
        ({"vocab_size": 300, "num_threads": 0}, "num_threads"),
    ],
)
def test_arguments_out_of_range(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Tokenizer.train(["some text"], **arguments)


@pytest.mark.parametrize("source", [5, b"bytes", None, [b"bytes"], ["a", 5]])
def test_sources_that_are_none(source: object) -> None:
    with pytest.raises(InputError):
        Tokenizer.train(source, vocab_size=300)  # type: ignore[arg-type]


def test_files_that_are_broken(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifactError, match=r"nothing\.txt"):
        Tokenizer.train(tmp_path / "nothing.txt", vocab_size=300)
    for name, content, message in [
        ("latin.txt", "é".encode("latin-1"), "not UTF-8"),
        ("rows.jsonl", b'{"text": "a"}\n{"text": \n', "line 2"),
        ("fields.jsonl", b'{"txt": "a"}\n', "'text'"),
        ("types.jsonl", b'{"text": 5}\n', "int"),
        ("packed.txt.gz", b"no gzip", "gzip"),
        ("cut.txt.gz", gzip.compress(b"a" * 1000)[:-9], "gzip"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=message) as failure:
            Tokenizer.train(tmp_path / name, vocab_size=300)
        assert name in str(failure.value)
