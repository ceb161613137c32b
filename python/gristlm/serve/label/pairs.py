"""What is judged, from a JSONL or Parquet file: pairs of answers, several to put in order, single ones to rate.

A pair is `{"prompt", "a", "b"}` or `{"prompt", "chosen", "rejected"}`, each a text or a list of messages; `model_a` and
`model_b` may say who answered. `{"prompt", "answers"}` with three or more is a ranking (`models` may name them), and
`{"prompt", "answer"}` or `{"prompt", "completion"}` a rating (`model`). Which answer is "chosen" in the file is not
shown and not believed: people decide anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gristlm.errors import FormatError, MissingArtifactError, missing_extra

MAX_LINE_BYTES = 4_000_000
ROLES = ("system", "user", "assistant", "tool")
GOLD = ("a", "b", "tie", "both_bad")
MAX_ANSWERS = 9
"""To put in order: one for each digit key."""
Kind = Literal["pair", "ranking", "rating"]
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt; a ranking has more of them, and a rating one, with `b` empty."""

    prompt: Messages
    a: Messages
    b: Messages
    model_a: str | None = None
    model_b: str | None = None
    gold: str | None = None
    """The right judgement where it is known: 'a', 'b', 'tie' or 'both_bad'. Gold questions test annotators."""
    kind: Kind = "pair"
    more: Sequence[tuple[Messages, str | None]] = ()
    """The third and further answers of a ranking, with who gave them."""

    @property
    def answers(self) -> list[tuple[Messages, str | None]]:
        """All answers in the order they were given, with who gave them."""
        first = (self.a, self.model_a)
        return [first] if self.kind == "rating" else [first, (self.b, self.model_b), *self.more]

    @property
    def digest(self) -> str:
        """What tells this pair from others: its texts."""
        content = json.dumps([self.prompt, self.a, self.b, *(text for text, _ in self.more)], ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def read_pairs(path: Path) -> list[Pair]:
    """Returns what a JSONL or Parquet file has to judge.

    Raises:
        MissingArtifactError: there is no such file.
        FormatError: a line is no such row, or the file has none; names file, line and reason.
    """
    pairs = [read_pair(row, where) for where, row in read_rows(path)]
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
        pair = read_pair(row, where)
        if pair.kind != "pair":
            raise FormatError(f"{where}: a gold question is a pair, not a {pair.kind}")
        pairs.append(dataclasses.replace(pair, gold=str(gold)))
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


def read_pair(row: Mapping[str, object], where: str) -> Pair:
    """Returns what one row has to judge.

    Raises:
        FormatError: it has nothing; the message begins with `where`.
    """
    if row.get("answers") is not None:
        return _ranking(row, where)
    for names in (("a", "b"), ("chosen", "rejected")):
        if all(row.get(name) is not None for name in names):
            break
    else:
        single = next((name for name in ("answer", "completion") if row.get(name) is not None), None)
        if single is not None:
            return _rating(row, single, where)
        raise FormatError(
            f"{where}: a row needs 'a' and 'b', or 'chosen' and 'rejected', or 'answers', or 'answer'; "
            f"given {', '.join(row)[:200]}"
        )
    prompt = messages(row.get("prompt"), "user", f"{where}: 'prompt'")
    a, b = (messages(row[name], "assistant", f"{where}: {name!r}") for name in names)
    if a == b:
        raise FormatError(f"{where}: both answers are the same; there is nothing to compare")
    model_a, model_b = (value if isinstance(value := row.get(f"model_{side}"), str) else None for side in "ab")
    return Pair(prompt, a, b, model_a, model_b)


def _ranking(row: Mapping[str, object], where: str) -> Pair:
    given, models = row["answers"], row.get("models")
    if not isinstance(given, list) or not 3 <= len(given) <= MAX_ANSWERS:
        raise FormatError(f"{where}: 'answers' must be a list of 3 to {MAX_ANSWERS}; two are a pair: give 'a' and 'b'")
    if models is None:
        models = [None] * len(given)
    if not isinstance(models, list) or len(models) != len(given):
        raise FormatError(f"{where}: 'models' must name each of the {len(given)} answers")
    prompt = messages(row.get("prompt"), "user", f"{where}: 'prompt'")
    answers = [messages(one, "assistant", f"{where}: answer {place}") for place, one in enumerate(given, 1)]
    if any(one in answers[:place] for place, one in enumerate(answers)):
        raise FormatError(f"{where}: two of the answers are the same; there is nothing to compare")
    names = [name if isinstance(name, str) else None for name in models]
    more = list(zip(answers[2:], names[2:], strict=True))
    return Pair(prompt, answers[0], answers[1], names[0], names[1], kind="ranking", more=more)


def _rating(row: Mapping[str, object], name: str, where: str) -> Pair:
    model = row.get("model")
    prompt = messages(row.get("prompt"), "user", f"{where}: 'prompt'")
    answer = messages(row[name], "assistant", f"{where}: {name!r}")
    return Pair(prompt, answer, [], model if isinstance(model, str) else None, kind="rating")


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
