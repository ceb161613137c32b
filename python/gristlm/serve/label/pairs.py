"""Pairs of answers to compare, from a JSONL or Parquet file.

A row is `{"prompt", "a", "b"}` or `{"prompt", "chosen", "rejected"}`, each a text or a list of messages; `model_a` and
`model_b` may say who answered. Which answer is "chosen" in the file is not shown and not believed: people decide anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gristlm.errors import FormatError, MissingArtifactError, missing_extra

MAX_LINE_BYTES = 4_000_000
ROLES = ("system", "user", "assistant", "tool")
GOLD = ("a", "b", "tie", "both_bad")
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt."""

    prompt: Messages
    a: Messages
    b: Messages
    model_a: str | None = None
    model_b: str | None = None
    gold: str | None = None
    """The right judgement where it is known: 'a', 'b', 'tie' or 'both_bad'. Gold questions test annotators."""

    @property
    def digest(self) -> str:
        """What tells this pair from others: its texts."""
        content = json.dumps([self.prompt, self.a, self.b], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def read_pairs(path: Path) -> list[Pair]:
    """Returns the pairs of a JSONL file.

    Raises:
        MissingArtifactError: there is no such file.
        FormatError: a line is no such row, or the file has none; names file, line and reason.
    """
    pairs = [_pair(row, where) for where, row in read_rows(path)]
    if not pairs:
        raise FormatError(f"{path} holds no pairs")
    return pairs


def read_gold(path: Path) -> list[Pair]:
    """Returns gold questions: rows as `read_pairs`, of which "chosen" is right, or which `gold` says; errors too."""
    pairs = []
    for where, row in read_rows(path):
        gold = row.get("gold", "a" if "chosen" in row else None)
        if gold not in GOLD:
            raise FormatError(f"{where}: 'gold' must be one of {', '.join(GOLD)}; given {gold!r:.80}")
        pairs.append(dataclasses.replace(_pair(row, where), gold=str(gold)))
    return pairs


def read_prompts(path: Path) -> list[Messages]:
    """Returns the prompts of a JSONL file with rows `{"prompt": text or messages}`; errors as `read_pairs`."""
    prompts = [messages(row.get("prompt"), "user", f"{where}: 'prompt'") for where, row in read_rows(path)]
    if not prompts:
        raise FormatError(f"{path} holds no prompts")
    return prompts


def read_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields the rows of a JSONL or Parquet file, each with the place it stands in; errors as `read_pairs`."""
    if not path.is_file():
        raise MissingArtifactError(f"{path} does not exist; give a JSONL or Parquet file")
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            where = f"{path}:{number}"
            if len(line) > MAX_LINE_BYTES:
                raise FormatError(f"{where}: the line is longer than {MAX_LINE_BYTES:,} bytes")
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{where}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise FormatError(f"{where}: a row must be an object; given {type(row).__name__}")
            yield where, row


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(256):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is no Parquet file: {error}") from None


def _pair(row: Mapping[str, object], where: str) -> Pair:
    for names in (("a", "b"), ("chosen", "rejected")):
        if all(name in row for name in names):
            break
    else:
        raise FormatError(
            f"{where}: a pair needs 'a' and 'b', or 'chosen' and 'rejected'; given {', '.join(row)[:200]}"
        )
    prompt = messages(row.get("prompt"), "user", f"{where}: 'prompt'")
    a, b = (messages(row[name], "assistant", f"{where}: {name!r}") for name in names)
    if a == b:
        raise FormatError(f"{where}: both answers are the same; there is nothing to compare")
    models = [value if isinstance(value := row.get(f"model_{side}"), str) else None for side in "ab"]
    return Pair(prompt, a, b, *models)


def messages(value: object, role: str, where: str) -> Messages:
    """Returns a text as one message of `role`, or checked messages as they are.

    Raises:
        FormatError: it is neither; the message begins with `where`.
    """
    if isinstance(value, str):
        return [{"role": role, "content": _whole(value, where)}]
    if not isinstance(value, list) or not value:
        raise FormatError(f"{where} must be a text or a list of messages; given {value!r:.80}")
    for message in value:
        if (
            not isinstance(message, dict)
            or message.get("role") not in ROLES
            or not isinstance(message.get("content"), str)
        ):
            known = ", ".join(ROLES)
            raise FormatError(f"{where} must hold objects with a 'role' ({known}) and 'content'; given {message!r:.80}")
    return [{"role": message["role"], "content": _whole(message["content"], where)} for message in value]


def _whole(text: str, where: str) -> str:
    r"""Returns `text` if it can be stored and trained on: half a surrogate pair (`\ud800` in JSON) is no text."""
    if not text.strip():
        raise FormatError(f"{where} is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{where} holds half a surrogate pair, which is no text") from None
    return text
