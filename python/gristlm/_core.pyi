"""The Rust core. One block per core crate, in the order of `rust/python/src/lib.rs`."""

from collections.abc import Callable, Collection, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeAlias, final

import numpy as np
import numpy.typing as npt
from typing_extensions import disjoint_base

__all__ = [
    "DEDUP_PARTITIONS",
    "DEDUP_SHARD_TEXTS",
    "PATTERNS",
    "ChatShape",
    "Decoder",
    "GzipMember",
    "MappedFile",
    "RowLoader",
    "TextClassifier",
    "TokenStore",
    "TokenWriter",
    "Tokenizer",
    "TokenizerState",
    "TokenizerTrainer",
    "__version__",
    "clean_texts",
    "count_words",
    "cut_spans",
    "dedup_by_id",
    "dedup_contamination",
    "dedup_exact",
    "dedup_group_partitions",
    "dedup_minhash",
    "dedup_sign_shard",
    "dedup_signatures",
    "dedup_substrings",
    "extract_page",
    "identify_languages",
    "let_go",
    "likeliest",
    "look_at_rows",
    "mapped_array",
    "numbered",
    "prepare_chats",
    "rows_about",
    "type_token_curve",
    "utf8_bytes",
]

__version__: str

# --- errors, threads and texts: every bulk call releases the GIL; num_threads=None is all cores ---

class _ArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

# N texts: a list of str, or an Arrow string array (pyarrow, Polars).
_Texts: TypeAlias = Iterable[str] | _ArrowArray | _ArrowStream

# --- bpe ---

PATTERNS: list[str]

@final
class TokenizerState:
    @staticmethod
    def from_json(data: bytes, file: str) -> TokenizerState: ...
    @staticmethod
    def from_tiktoken(data: bytes, file: str, pattern: str, special_tokens: dict[str, int]) -> TokenizerState: ...
    @staticmethod
    def from_gpt2(
        vocab_bpe: bytes, vocab_bpe_file: str, encoder_json: bytes, encoder_json_file: str
    ) -> TokenizerState: ...
    def to_json(self) -> str: ...
    def to_tiktoken(self) -> bytes: ...
    def __reduce__(self) -> tuple[Callable[[bytes, str], TokenizerState], tuple[bytes, str]]: ...

@disjoint_base
class Tokenizer:
    def __new__(cls, state: TokenizerState) -> Self: ...
    @property
    def state(self) -> TokenizerState: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def special_tokens(self) -> dict[str, int]: ...
    @property
    def pattern(self) -> str: ...
    def encode(
        self,
        text: str | bytes,
        *,
        allowed_special: Collection[str] | Literal["all"] | None = None,
        disallowed_special: Collection[str] | Literal["all"] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> list[int]: ...
    def encode_array(
        self,
        text: str | bytes,
        *,
        allowed_special: Collection[str] | Literal["all"] | None = None,
        disallowed_special: Collection[str] | Literal["all"] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> npt.NDArray[np.uint32]: ...
    def _encode_batch(
        self,
        texts: object,
        num_threads: int | None,
        allowed_special: Collection[str] | Literal["all"] | None,
        disallowed_special: Collection[str] | Literal["all"] | None,
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]: ...
    def _encode_with_spans(
        self,
        text: str,
        allowed_special: Collection[str] | Literal["all"] | None,
        disallowed_special: Collection[str] | Literal["all"] | None,
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]: ...
    def decode(self, ids: Iterable[int] | npt.NDArray[np.integer], *, errors: str = "replace") -> str: ...
    def decode_bytes(self, ids: Iterable[int] | npt.NDArray[np.integer]) -> bytes: ...
    def _decode_batch(self, ids: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int64], errors: str) -> list[str]: ...
    def token_to_id(self, token: str | bytes) -> int | None: ...
    def id_to_bytes(self, id: int) -> bytes: ...

@final
class TokenizerTrainer:
    def __new__(cls, pattern: str, max_memory_bytes: int | None = None) -> Self: ...
    def add(self, texts: object, num_threads: int | None = None) -> None: ...
    @property
    def num_bytes(self) -> int: ...
    @property
    def num_forgotten(self) -> int: ...
    def counts(self) -> list[tuple[bytes, int]]: ...
    def bpe(
        self,
        vocab_size: int,
        special_tokens: list[str],
        min_frequency: int,
        max_token_bytes: int | None,
        report: Callable[[int], object] | None = None,
    ) -> TokenizerState: ...
    def characters(self) -> TokenizerState: ...
    def words(self, vocab_size: int) -> TokenizerState: ...

# What a message says: its number, and trimmings: side ("left", "right", "both"), characters (None: white space).
_Said: TypeAlias = tuple[int, Sequence[tuple[str, str | None]]]

@final
class ChatShape:
    """What a chat template writes for messages of given roles."""

    def __new__(
        cls,
        num_messages: int,
        pieces: Sequence[tuple[int | None, Sequence[str | _Said], bool]],
        guards: Sequence[tuple[_Said, str, str]],
    ) -> Self: ...

def prepare_chats(
    state: TokenizerState,
    shapes: Sequence[ChatShape],
    which: npt.NDArray[np.uint32],
    texts: _Texts,
    num_threads: int | None = None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Ids, targets, offsets, held."""

# --- cleaning ---

def extract_page(
    html: str | bytes, url: str | None, max_bytes: int
) -> tuple[str, str, str | None, str | None, str | None, str | None, str | None, str | None] | None:
    """Text, Markdown, title, author, date, language, url, licence."""

def clean_texts(
    texts: _Texts,
    rules: Sequence[tuple[str, Sequence[tuple[str, float]]]],
    num_threads: int | None,
    progress: Callable[[int], object] | None,
) -> tuple[
    list[str],
    npt.NDArray[np.bool_],
    list[str | None],
    dict[str, int],
    list[tuple[str, str, float, str, float] | None],
]:
    """Texts, keep, reasons, changes; of each drop the rule, measure, value, threshold and limit."""

@final
class GzipMember:
    def __new__(cls) -> Self: ...
    def unpack(self, data: bytes, most: int) -> tuple[bytes, bool, bytes | None]:
        """At most `most` bytes, whether it needs data to go on, what follows the member once that has ended."""

@final
class TextClassifier:
    @staticmethod
    def load(path: str | PathLike[str]) -> TextClassifier: ...
    @staticmethod
    def train(
        texts: Sequence[tuple[str, _Texts]],
        how: tuple[int, int, float, int, int, int, int],
        progress: Callable[[int], object] | None,
    ) -> TextClassifier: ...
    @property
    def labels(self) -> list[str]: ...
    def score(
        self,
        texts: _Texts,
        label: int,
        num_threads: int | None,
        progress: Callable[[int], object] | None,
    ) -> npt.NDArray[np.float32]: ...
    def to_bytes(self) -> bytes: ...

def identify_languages(
    texts: _Texts, num_threads: int | None, progress: Callable[[int], object] | None
) -> tuple[list[str], npt.NDArray[np.float32]]:
    """BCP 47 tags, confidences."""

def utf8_bytes(text: str) -> int: ...
def count_words(texts: _Texts) -> npt.NDArray[np.int64]: ...
def type_token_curve(texts: _Texts, most: int) -> list[tuple[int, int]]:
    """Words read, and distinct ones among them in lower case, at 64 and each power of two up to `most`."""

# --- dedup ---

# Threads, progress, memory in bytes, folder.
_How: TypeAlias = tuple[int | None, Callable[[int], object] | None, int | None, Path | None]

def dedup_by_id(ids: _Texts, texts: _Texts, how: _How) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Order, repeats."""

def dedup_exact(
    texts: _Texts,
    order: npt.NDArray[np.int64] | None,
    unit: str,
    how: _How,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Keep, cluster, spans."""

def dedup_minhash(
    texts: _Texts,
    order: npt.NDArray[np.int64] | None,
    num_perm: int,
    bands: int,
    rows: int,
    ngram: int,
    threshold: float,
    seed: int,
    how: _How,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Keep, cluster, twin, similarity."""

DEDUP_SHARD_TEXTS: int
DEDUP_PARTITIONS: int

def dedup_sign_shard(
    texts: _Texts,
    positions: npt.NDArray[np.int64],
    number: int,
    folder: Path,
    bands: int,
    rows: int,
    ngram: int,
    seed: int,
    how: _How,
) -> None:
    """Writes `bands-NNNNN.bin`."""

def dedup_group_partitions(
    first: int, end: int, shards: int, folder: Path, bands: int, rows: int, ngram: int, seed: int, how: _How
) -> None:
    """Writes `groups-NNN.bin` for partitions `first` to `end` - 1."""

def dedup_signatures(texts: _Texts, num_perm: int, ngram: int, seed: int, how: _How) -> npt.NDArray[np.uint32]:
    """uint32[N, num_perm]."""

def dedup_substrings(
    texts: _Texts, order: npt.NDArray[np.int64] | None, min_bytes: int, min_tokens: int | None, how: _How
) -> npt.NDArray[np.int64]:
    """Spans: document, start, end."""

def dedup_contamination(
    texts: _Texts, against: _Texts, ngram: int, how: _How
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Overlap, hits (document, start, end, evaluation text), too short."""

def cut_spans(texts: _Texts, spans: npt.NDArray[np.int64], how: _How) -> list[str]: ...

# --- mapped ---

@final
class MappedFile:
    def __new__(cls, path: Path) -> MappedFile: ...
    def __len__(self) -> int: ...
    @property
    def address(self) -> int: ...

def mapped_array(folder: Path, length: int, dtype: str) -> npt.NDArray[Any]: ...
def let_go() -> None: ...

# --- generation ---

_Layer: TypeAlias = tuple[
    npt.NDArray[np.float32],
    npt.NDArray[np.float32] | None,
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32] | None,
]

def likeliest(logits: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]: ...

@final
class Decoder:
    def __new__(
        cls,
        *,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        norm_eps: float,
        windows: Sequence[int | None],
        layers: Sequence[_Layer],
        norm: npt.NDArray[np.float32],
        head: npt.NDArray[np.float32],
        num_threads: int,
    ) -> Self: ...
    def step(
        self,
        x: npt.NDArray[np.float32],
        cos: npt.NDArray[np.float32],
        sin: npt.NDArray[np.float32],
        rows: Sequence[int],
        positions: Sequence[int],
        wanted: Sequence[int],
        keys: Sequence[npt.NDArray[np.float32]],
        values: Sequence[npt.NDArray[np.float32]],
    ) -> npt.NDArray[np.float32]: ...

# --- packing ---

# Input ids, labels, position ids [batch_size, seq_len]; cu_seqlens [S + 1]; segments [S, 4].
_BatchArrays: TypeAlias = tuple[
    npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]
]

@final
class TokenStore:
    """An open dataset of token shards: ours, or Megatron-core's own pairs."""

    def __new__(cls, path: str | PathLike[str]) -> Self: ...
    @property
    def num_sequences(self) -> int: ...
    @property
    def num_tokens(self) -> int: ...
    @property
    def vocab_size(self) -> int | None:
        """What the writer was told; None in Megatron's own files."""
    @property
    def dtype(self) -> str:
        """uint16 or int32."""
    @property
    def fingerprint(self) -> str:
        """16 hex digits over lengths, places and checksums."""
    @property
    def shard_paths(self) -> list[Path]:
        """The .bin files."""
    def locate(self, sequence: int) -> tuple[int, int, int]:
        """Verifies a sequence; returns its shard, its first token there and its number of tokens."""
    def document_id(self, sequence: int) -> str | None: ...
    def lengths(self) -> npt.NDArray[np.uint32]: ...
    def max_id(self) -> int | None:
        """The largest id, by reading everything."""
    def verify(self) -> None:
        """Verifies every byte."""
    def random_windows(self, length: int, batch_size: int, seed: int, step: int) -> npt.NDArray[np.int64]: ...

@final
class TokenWriter:
    """Writes a dataset, which can be read once finish returns."""

    def __new__(cls, path: str | PathLike[str], vocab_size: int, shard_tokens: int | None) -> Self: ...
    def append(
        self,
        ids: npt.NDArray[np.uint16] | npt.NDArray[np.uint32],
        offsets: npt.NDArray[np.int64],
        document_ids: object | None,
    ) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...

@final
class RowLoader:
    """Packed rows in order, made by a thread that runs ahead."""

    def __new__(
        cls,
        stores: Sequence[TokenStore],
        epochs: Sequence[int | None],
        phases: Sequence[tuple[int, Sequence[float]]],
        seq_len: int,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
    ) -> Self: ...
    @property
    def step(self) -> int: ...
    @property
    def num_steps(self) -> int: ...
    def max_delay_rows(self, source: int) -> int | None: ...
    def seek(self, step: int) -> None: ...
    def next_batch(self) -> _BatchArrays | None: ...
    def batch(self, step: int) -> _BatchArrays: ...

# --- rows ---

# A `string` or `large_string` array; its strings need not be UTF-8.
def look_at_rows(
    texts: _ArrowArray, titles: _ArrowArray | None, max_chars: int, tag: str, near: int
) -> tuple[list[str], list[int], list[int]]:
    """Titles (of a row without one its first line, "" where longer), rows that are null, blank or not UTF-8, rows with
    the tag near their start."""

def numbered(before: str, first: int, count: int) -> list[str]: ...
def rows_about(ids: _ArrowArray | None, urls: _ArrowArray | None) -> list[str]:
    """JSON objects; what is null, empty or not UTF-8 is left out."""
