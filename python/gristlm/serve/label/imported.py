"""Votes that were given elsewhere: preferences, ratings or an export of another project, as JSONL or Parquet.

A row is one of `export`: with `vote`, `chosen` and `rejected`, `completion` and `label`, or `answers` and `ranks`.
`annotator` says whose it is ("imported" where nobody is named). A vote that its annotator has given already is passed
over, so importing a file twice changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gristlm.errors import FormatError
from gristlm.serve.label.pairs import Pair, read_pair, read_rows
from gristlm.serve.label.project import Project

NOBODY = "imported"
MAX_NAME = 64
_FLIPPED = {"a": "b", "b": "a"}


@dataclasses.dataclass(frozen=True)
class _Given:
    """One vote as the file has it: `preferred`, `left` and `aspects` in terms of the answers a and b."""

    pair: Pair
    annotator: str
    preferred: str
    left: str
    strength: int | None
    reason: str
    correction: str
    aspects: Mapping[str, str]
    ranks: list[int]
    shown_order: list[int]
    rating: int | None
    seconds: float
    voted_at: float


def import_votes(project: Project, file: Path) -> tuple[int, int]:
    """Adds the votes of `file` and what they are about, all or none; returns how many were new and how many known.

    Raises:
        MissingArtifactError: there is no such file.
        FormatError: a row is no vote; names file, row and reason.
    """
    given = [_read({name: value for name, value in row.items() if value is not None}, where)
             for where, row in read_rows(file)]  # fmt: skip
    if not given:
        raise FormatError(f"{file} holds no votes")
    new = 0
    with project.database.transaction() as connection:
        for vote in given:
            new += _store(connection, vote)
    return new, len(given) - new


def _store(connection: sqlite3.Connection, vote: _Given) -> bool:
    number, flipped = _find(connection, vote.pair)
    if connection.execute(
        "SELECT 1 FROM active_votes WHERE pair = ? AND annotator = ?", (number, vote.annotator)
    ).fetchone():
        return False
    preferred, left = vote.preferred, vote.left
    aspects = dict(vote.aspects)
    if flipped:
        preferred, left = _FLIPPED.get(preferred, preferred), _FLIPPED[left]
        aspects = {name: _FLIPPED.get(side, side) for name, side in aspects.items()}
    sides = {left: "left", _FLIPPED[left]: "right"}
    connection.execute(
        "INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?)",
        (number, vote.annotator, left, vote.voted_at - vote.seconds, json.dumps(vote.shown_order)),
    )
    connection.execute(
        "INSERT INTO votes (pair, annotator, left_answer, choice, strength, reason, seconds, voted_at, aspects, "
        "correction, shown_order, ranks, rating) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(number, vote.annotator, left, sides.get(preferred, preferred), vote.strength, vote.reason),
            *(vote.seconds, vote.voted_at, json.dumps({name: sides.get(side, side) for name, side in aspects.items()})),
            *(vote.correction, json.dumps(vote.shown_order), json.dumps(vote.ranks), vote.rating),
        ),
    )
    return True


def _find(connection: sqlite3.Connection, pair: Pair) -> tuple[int, bool]:
    """Returns a pair's number, and whether it is held with its answers the other way round; adds it where it is new."""
    other = dataclasses.replace(pair, a=pair.b, b=pair.a, model_a=pair.model_b, model_b=pair.model_a)
    for flipped, one in enumerate((pair, other) if pair.kind == "pair" else (pair,)):
        row = connection.execute("SELECT id FROM pairs WHERE digest = ?", (one.digest,)).fetchone()
        if row is not None:
            return int(row[0]), bool(flipped)
    texts = (json.dumps(part, ensure_ascii=False) for part in (pair.prompt, pair.a, pair.b))
    cursor = connection.execute(
        "INSERT INTO pairs (digest, prompt, a, b, model_a, model_b, kind, more) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (pair.digest, *texts, pair.model_a, pair.model_b, pair.kind, json.dumps(list(pair.more), ensure_ascii=False)),
    )
    return int(cursor.lastrowid or 0), False


def _read(row: Mapping[str, Any], where: str) -> _Given:
    pair = read_pair(row, where)
    models = {"chosen_model": "model_a", "rejected_model": "model_b"}
    named = {
        field: row[name] for name, field in models.items() if pair.kind == "pair" and isinstance(row.get(name), str)
    }
    pair = dataclasses.replace(pair, **named)
    if pair.kind == "rating" and isinstance(row.get("models"), list) and row["models"]:
        pair = dataclasses.replace(pair, model_a=row["models"][0])
    preferred = (
        row.get("vote") or {"pair": "a" if "chosen" in row else None, "ranking": "ranked", "rating": "rated"}[pair.kind]
    )
    allowed = {"pair": ("a", "b", "tie", "both_bad"), "ranking": ("ranked",), "rating": ("rated",)}[pair.kind]
    if preferred not in (*allowed, "skip"):
        raise FormatError(f"{where}: 'vote' must be one of {', '.join(allowed)}, skip; given {preferred!r:.80}")
    annotator = row.get("annotator", NOBODY)
    if not isinstance(annotator, str) or not 0 < len(annotator) <= MAX_NAME:
        raise FormatError(
            f"{where}: 'annotator' must be a name of at most {MAX_NAME} characters; given {annotator!r:.80}"
        )
    left = row.get("left") or {"right": "b"}.get(row.get("chosen_side", ""), "a")
    rating = _rating(row, where) if preferred == "rated" else None
    ranks = row.get("ranks", []) if preferred == "ranked" else []
    count = len(pair.answers)
    if preferred == "ranked" and not _are_places(ranks, count, 1):
        raise FormatError(f"{where}: 'ranks' must hold a rank from 1 to {count} for each answer; given {ranks!r:.80}")
    order = row.get("shown_order") or (list(range(count)) if pair.kind == "ranking" else [])
    if left not in _FLIPPED or (
        pair.kind == "ranking" and not (_are_places(order, count, 0) and len(set(order)) == count)
    ):
        raise FormatError(f"{where}: 'left' must be a or b, and 'shown_order' an order of the {count} answers")
    return _Given(
        pair, annotator, preferred, left, _strength(row, where), _text(row, "reason", where),
        "" if row.get("correction") in (None, True, False) else _text(row, "correction", where), _aspects(row, where),
        ranks, order if pair.kind == "ranking" else [], rating, _number(row, "seconds", 0.0, where),
        _number(row, "voted_at", time.time(), where),
    )  # fmt: skip


def _are_places(values: object, count: int, first: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) is int and first <= value < first + count for value in values)
    )


def _rating(row: Mapping[str, Any], where: str) -> int:
    rating = row.get("rating")
    if rating is None and isinstance(label := row.get("label"), bool):
        rating = 5 if label else 1
    if type(rating) is not int or not 1 <= rating <= 5:
        raise FormatError(f"{where}: a rating needs 'rating', 1 to 5, or 'label', true or false; given {rating!r:.80}")
    return rating


def _strength(row: Mapping[str, Any], where: str) -> int | None:
    strength = row.get("strength")
    if strength is None and isinstance(row.get("margin"), int | float):
        strength = round(min(max(_number(row, "margin", 0.0, where), 0.2), 1.0) * 5)
    if strength is not None and (type(strength) is not int or not 1 <= strength <= 5):
        raise FormatError(f"{where}: 'strength' must be 1 to 5; given {strength!r:.80}")
    return strength


def _aspects(row: Mapping[str, Any], where: str) -> dict[str, str]:
    """Returns the aspects; in Parquet they are JSON, and beside `chosen` they say chosen or rejected."""
    aspects = row.get("aspects") or {}
    try:
        aspects = json.loads(aspects) if isinstance(aspects, str) else aspects
    except ValueError:
        aspects = None
    names = {"chosen": "a", "rejected": "b", "a": "a", "b": "b", "tie": "tie"}
    if not isinstance(aspects, dict) or any(side not in names for side in aspects.values() if side is not None):
        raise FormatError(f"{where}: 'aspects' must say a, b or tie for each; given {row.get('aspects')!r:.80}")
    return {str(name)[:MAX_NAME]: names[side] for name, side in aspects.items() if side is not None}


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name, "")
    if not isinstance(value, str):
        raise FormatError(f"{where}: {name!r} must be a text; given {value!r:.80}")
    return value


def _number(row: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = row.get(name, default)
    if not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise FormatError(f"{where}: {name!r} must be a number from 0; given {value!r:.80}")
    return float(value)
