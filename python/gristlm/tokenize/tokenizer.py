"""The tokenizer that users see: the Rust class with files, training and adapters added.

`encode`, `encode_array`, `decode`, `decode_bytes`, `token_to_id` and `id_to_bytes` are the Rust class's own methods, so
a short call costs nothing extra.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from gristlm import _core
from gristlm.errors import FormatError, InputError, MissingArtifactError
from gristlm.runs import progress
from gristlm.tokenize import dropping
from gristlm.tokenize.batch import TokenBatch
from gristlm.tokenize.encoding import Encoding, offsets_in
from gristlm.tokenize.stream import StreamDecoder
from gristlm.tokenize.training import Source, Texts, count

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from gristlm.runs.artifact import Manifest
    from gristlm.tokenize.tiktoken_shape import TiktokenShape

Special = Collection[str] | Literal["all"] | None
MAX_FILE_BYTES = 512 << 20
"""The most that a packed vocabulary file may unpack to."""


class Tokenizer(_core.Tokenizer):
    """Turns text into ids and back. Immutable; safe to share between threads, to pickle and to fork.

    Special tokens: text that looks like one is ordinary text unless `allowed_special` names it (or is "all"), so
    untrusted input can never inject one; one that `disallowed_special` names raises `SpecialTokenError`.
    """

    @classmethod
    def train(
        cls,
        source: Source,
        *,
        vocab_size: int,
        pattern: str = "o200k",
        special_tokens: Sequence[str] = (),
        min_frequency: int = 1,
        max_token_bytes: int | None = None,
        num_threads: int | None = None,
        max_memory_bytes: int | None = None,
    ) -> Self:
        """Returns a byte-level BPE tokenizer trained on `source`.

        The merges are those of HF tokenizers' `BpeTrainer` on the same text and pattern: the most frequent pair first,
        of equals the one with the smaller ids. Ids as there: special tokens, the 256 bytes, merges.

        Args:
            source: texts (a list or an Arrow array), an iterator of texts, or paths (txt, jsonl, Parquet).
            vocab_size: of everything together; fewer when the text has no more pairs.
            pattern: "gpt2", "cl100k", "o200k", "llama3", "qwen2", "tekken", "deepseek", "none", a regex.
            special_tokens: texts; they get the ids 0, 1, ….
            min_frequency: a pair that stands less often is not merged.
            max_token_bytes: no token becomes longer; None is no limit.
            num_threads: None is all cores. The result is the same on any number.
            max_memory_bytes: what counts and merging may take, beside the texts of one batch; None is 4 GiB, enough for
                some ten million different words. Past it the rarest words are forgotten and a warning is logged.

        Raises:
            InputError: an argument is out of range, or the pattern unknown.
        """
        for name, value in (
            ("vocab_size", vocab_size),
            ("min_frequency", min_frequency),
            ("max_token_bytes", max_token_bytes),
            ("max_memory_bytes", max_memory_bytes),
        ):
            if value is not None and value < 0:
                raise InputError(f"{name} is {value}; give 0 or more")
        if isinstance(special_tokens, str):
            raise InputError(f"special_tokens is the text {special_tokens!r}; give a list of texts")
        trainer = count(source, pattern=pattern, num_threads=num_threads, max_memory_bytes=max_memory_bytes)
        room = max(0, vocab_size - 256 - len(special_tokens))
        with progress.bar("merge pairs", room, "merges") as bar:
            return cls(trainer.bpe(vocab_size, list(special_tokens), min_frequency, max_token_bytes, bar.update))

    @classmethod
    def characters(cls, texts: Source) -> Self:
        """Returns a tokenizer with one token per character of `texts`, by code point; `<unk>` (id 0) is any other.

        Raises:
            InputError: the texts are empty.
        """
        return cls(count(texts, pattern="characters", num_threads=None).characters())

    @classmethod
    def words(cls, texts: Source, *, vocab_size: int) -> Self:
        """Returns a tokenizer with one token per word, the most frequent of `texts`; `<unk>` (id 0) is any other.

        Words are what GPT-2's pattern cuts: a word with the space before it, a number, punctuation, white space.

        Raises:
            InputError: the texts are empty or `vocab_size` is below 2.
        """
        return cls(count(texts, pattern="gpt2", num_threads=None).words(max(vocab_size, 0)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Returns the tokenizer in a `tokenizer.json` (HF), a `tekken.json`, or a directory that holds one.

        Raises:
            MissingArtifactError: there is no such file.
            FormatError: the file is malformed, or asks for something that is not supported; names both.
        """
        file = Path(path)
        if file.is_dir():
            found = [file / name for name in ("tokenizer.json", "tekken.json") if (file / name).is_file()]
            if not found:
                raise MissingArtifactError(f"{file} holds neither tokenizer.json nor tekken.json")
            file = found[0]
        return cls(_core.TokenizerState.from_json(_read(file), str(file)))

    @classmethod
    def from_tiktoken(
        cls, path: str | os.PathLike[str], *, pattern: str, special_tokens: Mapping[str, int] | None = None
    ) -> Self:
        """Returns the tokenizer in a `.tiktoken` file, plain or `.gz`.

        Args:
            path: the file; each line is a token in base64 and its rank, which is its id.
            pattern: the file does not say it; a name or a regular expression as in `train`.
            special_tokens: id by text; the file does not say them either.

        Raises:
            MissingArtifactError: there is no such file.
            FormatError: the file is malformed; names the line.
        """
        return cls(
            _core.TokenizerState.from_tiktoken(_read(Path(path)), str(path), pattern, dict(special_tokens or {}))
        )

    @classmethod
    def from_gpt2(cls, vocab_bpe: str | os.PathLike[str], encoder_json: str | os.PathLike[str]) -> Self:
        """Returns the tokenizer in GPT-2's pair of files, with the special token `<|endoftext|>` if they have it.

        Raises:
            MissingArtifactError: one of the files is not there.
            FormatError: one of them is malformed; names it and the line.
        """
        merges, encoder = Path(vocab_bpe), Path(encoder_json)
        return cls(_core.TokenizerState.from_gpt2(_read(merges), str(merges), _read(encoder), str(encoder)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokenizer: as `.tiktoken` if `path` ends so, else as `tokenizer.json`.

        HF tokenizers loads that one with equal ids.

        Args:
            path: a file, or a directory, where `tokenizer.json` is written.

        Raises:
            InputError: the tokenizer cannot be said in `.tiktoken`.
            StorageError: the file cannot be written.
        """
        from gristlm.runs.files import write_atomic

        file = Path(path)
        if file.suffix == ".tiktoken":
            write_atomic(file, self.state.to_tiktoken())
        else:
            write_atomic(file / "tokenizer.json" if file.is_dir() else file, self.state.to_json())

    def encode_batch(
        self,
        texts: Texts,
        *,
        num_threads: int | None = None,
        allowed_special: Special = None,
        disallowed_special: Special = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> TokenBatch:
        """Returns the ids of all texts: `.ids` uint32[T] and `.offsets` int64[N + 1].

        Args:
            texts: a list of `str` or any Arrow string array.
            num_threads: None is all cores. The result is the same on any number.
            allowed_special: as in `encode`.
            disallowed_special: as in `encode`.
            dropout: share of merges to leave out (Provilkov et al. 2020), from 0 to 1.
            seed: which merges; each row draws its own, the first as `encode` with this seed.

        Raises:
            InputError: a row is not a text (named), or `dropout` is out of range.
            SpecialTokenError: a text holds a disallowed special token.
        """
        if dropout:
            special = {"allowed_special": allowed_special, "disallowed_special": disallowed_special}
            return dropping.encode_batch(self, texts, num_threads, dropout, seed, **special)
        return TokenBatch(*self._encode_batch(texts, num_threads, allowed_special, disallowed_special))

    def encode_with_offsets(
        self,
        text: str,
        *,
        unit: Literal["bytes", "characters"] = "bytes",
        allowed_special: Special = None,
        disallowed_special: Special = None,
    ) -> Encoding:
        """Returns the ids of `text` and where each one stands in it, in bytes of its UTF-8 or in characters.

        Where the tokenizer's normalizer changes the text, an id stands for all that became it: the `e` and the accent
        of a composed `é`; what the normalizer adds stands for nothing, (0, 0).

        Raises:
            InputError: `unit` is neither, or special tokens are to be looked for in the normalized text, which differs.
        """
        ids_T, spans = self._encode_with_spans(text, allowed_special, disallowed_special)
        return Encoding(ids_T, offsets_in(text, spans.reshape(-1, 2), unit))

    def encode_files(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output_dir: str | os.PathLike[str],
        *,
        text_column: str = "text",
        num_threads: int | None = None,
    ) -> Manifest:
        """Writes the tokens of files as an artifact and returns its manifest; memory stays bounded.

        See `gristlm.tokenize.encode_files.encode_files`.
        """
        from gristlm.tokenize.encode_files import encode_files

        return encode_files(self, paths, output_dir, text_column=text_column, num_threads=num_threads)

    def decode_batch(self, batch: TokenBatch | Sequence[Sequence[int]], *, errors: str = "replace") -> list[str]:
        """Returns the text of each row; `errors` as in `bytes.decode`.

        Raises:
            InputError: an id is not in the vocabulary.
        """
        rows = batch if isinstance(batch, TokenBatch) else TokenBatch.from_lists(batch)
        return self._decode_batch(
            np.ascontiguousarray(rows.ids, np.uint32), np.ascontiguousarray(rows.offsets, np.int64), errors
        )

    def stream_decoder(self) -> StreamDecoder:
        """Returns a decoder for ids that come one by one; it never gives half a character."""
        return StreamDecoder(self)

    def as_hf(self) -> PreTrainedTokenizerFast:
        """Returns this tokenizer as transformers' `PreTrainedTokenizerFast`, with equal ids.

        Raises:
            MissingExtraError: transformers is not installed.
        """
        from gristlm.tokenize.hf_shape import as_hf

        return as_hf(self)

    def as_tiktoken(self) -> TiktokenShape:
        """Returns this tokenizer with the names and the defaults of `tiktoken.Encoding`."""
        from gristlm.tokenize.tiktoken_shape import TiktokenShape

        return TiktokenShape(self)

    def __len__(self) -> int:
        """`vocab_size`."""
        return self.vocab_size

    def __repr__(self) -> str:
        return (
            f"Tokenizer(vocab_size={self.vocab_size}, pattern={self.pattern!r}, special_tokens={self.special_tokens})"
        )

    def __eq__(self, other: object) -> bool:
        """Whether both give the same ids for every text."""
        return isinstance(other, Tokenizer) and (self is other or self.state.to_json() == other.state.to_json())

    def __hash__(self) -> int:
        return hash((self.vocab_size, self.pattern))

    def __reduce__(self) -> tuple[type[Self], tuple[_core.TokenizerState]]:
        return type(self), (self.state,)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise MissingArtifactError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise MissingArtifactError(f"{path} is a directory, not a file") from None
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, which no vocabulary has")
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as packed:
            content = packed.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise FormatError(f"{path} unpacks to more than {MAX_FILE_BYTES:,} bytes, which no vocabulary has")
        return content
    except (gzip.BadGzipFile, EOFError, OSError) as error:
        raise FormatError(f"{path} is not a whole gzip file: {error}") from error
