"""A labelling project: which pair comes next for whom, votes, undo, progress."""

from __future__ import annotations

import dataclasses
import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gristlm.errors import InputError
from gristlm.serve.label.pairs import Kind, Messages, Pair
from gristlm.serve.label.schema import Database

GOLD_EVERY = 10
"""Of so many pairs that an annotator judges, one is a gold question while there are any."""
RESERVED_SECONDS = 900.0
"""How long a pair that is shown counts as being judged."""
Choice = Literal["left", "right", "tie", "both_bad", "skip", "ranked", "rated"]
CHOICES: Mapping[Kind, tuple[Choice, ...]] = {
    "pair": ("left", "right", "tie", "both_bad", "skip"),
    "ranking": ("ranked", "skip"),
    "rating": ("rated", "skip"),
}
Aspect = Literal["helpful", "truthful", "harmless"]
Side = Literal["left", "right", "tie"]

_JUDGED_BY_OTHERS = """
    (SELECT count(*) FROM active_votes v WHERE v.pair = p.id AND v.choice != 'skip' AND v.annotator != :who)
  + (SELECT count(*) FROM assignments o WHERE o.pair = p.id AND o.annotator != :who AND o.shown_at > :since
     AND NOT EXISTS (SELECT 1 FROM active_votes v WHERE v.pair = p.id AND v.annotator = o.annotator))
"""
_OPEN = f"""
SELECT p.*, s.left_answer, s.shown_order FROM assignments s JOIN pairs p ON p.id = s.pair
WHERE s.annotator = :who AND NOT EXISTS (SELECT 1 FROM active_votes v WHERE v.pair = p.id AND v.annotator = :who)
  AND (p.gold IS NOT NULL OR {_JUDGED_BY_OTHERS} < :overlap)
ORDER BY s.shown_at DESC LIMIT 1
"""  # noqa: S608 - put together from constants
_FRESH = f"""
SELECT p.* FROM pairs p
WHERE p.gold IS NULL AND NOT EXISTS (SELECT 1 FROM assignments s WHERE s.pair = p.id AND s.annotator = :who)
  AND {_JUDGED_BY_OTHERS} < :overlap
ORDER BY p.priority DESC, p.id LIMIT 1
"""  # noqa: S608 - put together from constants
_GOLD = """
SELECT p.* FROM pairs p
WHERE p.gold IS NOT NULL AND NOT EXISTS (SELECT 1 FROM assignments s WHERE s.pair = p.id AND s.annotator = :who)
ORDER BY p.id LIMIT 1
"""


class NotShownError(InputError):
    """A vote on a pair that the annotator was not shown, or has judged already."""


@dataclass(frozen=True)
class Shown:
    """A pair as an annotator sees it: not who answered."""

    id: int
    prompt: Messages
    left: Messages
    right: Messages
    kind: Kind = "pair"
    answers: Sequence[Messages] = ()
    """All of a ranking in an order drawn by lot, or the one to rate; a pair has them on its sides."""

    def body(self) -> dict[str, object]:
        """Returns it as JSON: a pair with `left` and `right`, the others with `kind` and `answers`."""
        asked: dict[str, object] = {"id": self.id, "prompt": self.prompt}
        if self.kind == "pair":
            return asked | {"left": self.left, "right": self.right}
        return asked | {"kind": self.kind, "answers": self.answers}


@dataclass(frozen=True)
class Vote:
    """An active vote. `preferred` is the choice, but 'a' or 'b' whatever side the answer stood on."""

    pair: int
    annotator: str
    preferred: str
    left_answer: str
    strength: int | None
    reason: str
    seconds: float
    voted_at: float
    aspects: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By aspect: 'a', 'b' or 'tie'."""
    correction: str = ""
    shown_order: Sequence[int] = ()
    """Of a ranking: which answer stood in each place."""
    ranks: Sequence[int] = ()
    """Of a ranking: each answer's rank from 1, the best; equal ones are as good."""
    rating: int | None = None


class Project:
    """The pairs and votes of one project directory."""

    def __init__(self, path: Path, *, create: bool = False, overlap: int = 1) -> None:
        """Opens the project.

        Args:
            path: its directory.
            create: make it where it does not exist.
            overlap: different annotators to judge each pair.

        Raises:
            StorageError, FormatError: the database cannot be used.
        """
        self.database = Database(path, create=create)
        self.overlap = overlap

    def add(self, pairs: Iterable[Pair]) -> int:
        """Adds those pairs that are not there yet, all or none, and returns how many were new."""
        rows = [
            (
                *(pair.digest, _dump(pair.prompt), _dump(pair.a), _dump(pair.b), pair.model_a, pair.model_b),
                *(pair.gold, pair.kind, _dump(pair.more)),
            )
            for pair in pairs
        ]
        with self.database.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT INTO pairs (digest, prompt, a, b, model_a, model_b, gold, kind, more) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (digest) DO NOTHING",
                rows,
            )
            return connection.total_changes - before

    def next(self, annotator: str) -> Shown | None:
        """Returns the pair to show: one that was shown and not judged, else a new one with its sides drawn by lot.

        None when every pair has been judged by as many people as it should, or by this one.
        """
        now = time.time()
        values = {"who": annotator, "since": now - RESERVED_SECONDS, "overlap": self.overlap}
        with self.database.transaction() as connection:
            row = connection.execute(_OPEN, values).fetchone()
            if row is not None:
                left, order = row["left_answer"], json.loads(row["shown_order"])
                connection.execute(
                    "UPDATE assignments SET shown_at = ? WHERE pair = ? AND annotator = ?", (now, row["id"], annotator)
                )
            else:
                fresh, gold = (connection.execute(query, values).fetchone() for query in (_FRESH, _GOLD))
                judged = connection.execute(
                    "SELECT count(*) FROM active_votes WHERE annotator = ?", (annotator,)
                ).fetchone()[0]
                row = gold if gold is not None and (fresh is None or judged % GOLD_EVERY == GOLD_EVERY // 2) else fresh
                if row is None:
                    return None
                left, order = _drawn(row)
                connection.execute(
                    "INSERT INTO assignments VALUES (?, ?, ?, ?, ?)",
                    (row["id"], annotator, left, now, json.dumps(order)),
                )
        if row["kind"] != "pair":
            answers = [text for text, _ in _pair(row).answers]
            shown = [answers[place] for place in order] or answers
            return Shown(row["id"], json.loads(row["prompt"]), [], [], row["kind"], shown)
        right = "b" if left == "a" else "a"
        return Shown(row["id"], json.loads(row["prompt"]), json.loads(row[left]), json.loads(row[right]))

    def vote(
        self,
        annotator: str,
        pair: int,
        choice: Choice,
        strength: int | None = None,
        reason: str = "",
        *,
        aspects: Mapping[Aspect, Side] | None = None,
        correction: str = "",
        ranks: Sequence[int] = (),
        rating: int | None = None,
    ) -> int:
        """Stores a vote, whole or not at all, and returns its number.

        `aspects` says which side is better in each, `correction` is the answer that should have been given, `ranks` are
        those of a ranking's answers in the order they were shown, `rating` is 1, bad, to 5, good.

        Raises:
            NotShownError: the pair was not shown to this annotator, or is judged already.
            InputError: the vote is not one that this kind of question takes.
        """
        now = time.time()
        with self.database.transaction() as connection:
            row = connection.execute(
                "SELECT left_answer, shown_at, shown_order, kind FROM assignments JOIN pairs ON id = pair "
                "WHERE pair = ? AND annotator = ?",
                (pair, annotator),
            ).fetchone()
            if row is None:
                raise NotShownError(f"pair {pair} was not shown to you; ask /api/next for one")
            if connection.execute(
                "SELECT 1 FROM active_votes WHERE pair = ? AND annotator = ?", (pair, annotator)
            ).fetchone():
                raise NotShownError(f"pair {pair} is judged already; undo first to judge it again")
            order = json.loads(row["shown_order"])
            _check(row["kind"], choice, len(order), ranks, rating)
            cursor = connection.execute(
                "INSERT INTO votes (pair, annotator, left_answer, choice, strength, reason, seconds, voted_at, "
                "aspects, correction, shown_order, ranks, rating) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(pair, annotator, row["left_answer"], choice, strength, reason),
                    *(max(0.0, now - row["shown_at"]), now, json.dumps(dict(aspects or {})), correction),
                    *(row["shown_order"], json.dumps([ranks[order.index(i)] for i in range(len(ranks))]), rating),
                ),
            )
            return int(cursor.lastrowid or 0)

    def undo(self, annotator: str) -> bool:
        """Withdraws the annotator's last vote or skip, so that its pair comes next; returns whether there was one."""
        with self.database.transaction() as connection:
            row = connection.execute(
                "SELECT id, pair FROM active_votes WHERE annotator = ? ORDER BY id DESC LIMIT 1", (annotator,)
            ).fetchone()
            if row is None:
                return False
            now = time.time()
            connection.execute("INSERT INTO withdrawals VALUES (?, ?)", (row["id"], now))
            connection.execute(
                "UPDATE assignments SET shown_at = ? WHERE pair = ? AND annotator = ?", (now, row["pair"], annotator)
            )
            return True

    def votes(self, annotator: str | None = None) -> list[Vote]:
        """Returns the active votes in the order they were given, of everybody or of one."""
        rows = self.database.rows(
            "SELECT * FROM active_votes WHERE ?1 IS NULL OR annotator = ?1 ORDER BY id", annotator
        )
        return [_vote(row) for row in rows]

    def pairs(self) -> dict[int, Pair]:
        """Returns all pairs by number."""
        return {row["id"]: _pair(row) for row in self.database.rows("SELECT * FROM pairs ORDER BY id")}

    def prioritise(self, priorities: Mapping[int, float]) -> None:
        """Sets the order in which pairs that nobody was shown come: the highest first."""
        with self.database.transaction() as connection:
            connection.executemany(
                "UPDATE pairs SET priority = ? WHERE id = ?", [(value, pair) for pair, value in priorities.items()]
            )

    def set_guidelines(self, text: str) -> None:
        """Sets what annotators read on the page of guidelines, as Markdown."""
        with self.database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO settings VALUES ('guidelines', ?)", (text.encode(),))

    def guidelines(self) -> str:
        """Returns the guidelines; empty where none were given."""
        rows = self.database.rows("SELECT value FROM settings WHERE name = 'guidelines'")
        return str(rows[0]["value"], "utf-8") if rows else ""

    def progress(self, annotator: str) -> dict[str, int]:
        """Returns how many pairs there are, how many are judged by enough people, and how many by `annotator`."""
        row = self.database.rows(
            "SELECT (SELECT count(*) FROM pairs) AS pairs, (SELECT count(*) FROM (SELECT 1 FROM active_votes "
            "WHERE choice != 'skip' GROUP BY pair HAVING count(*) >= ?1)) AS done, "
            "(SELECT count(*) FROM active_votes WHERE annotator = ?2) AS yours",
            self.overlap,
            annotator,
        )[0]
        return {name: row[name] for name in ("pairs", "done", "yours")}


def _dump(messages: object) -> str:
    return json.dumps(messages, ensure_ascii=False)


def _pair(row: sqlite3.Row) -> Pair:
    prompt, a, b, more = (json.loads(row[name]) for name in ("prompt", "a", "b", "more"))
    return Pair(
        prompt, a, b, row["model_a"], row["model_b"], row["gold"], row["kind"], [(text, model) for text, model in more]
    )


def _drawn(row: sqlite3.Row) -> tuple[str, list[int]]:
    """Returns by lot which answer stands on the left, and the order of a ranking's answers."""
    if row["kind"] == "pair":
        return secrets.choice("ab"), []
    order = list(range(len(_pair(row).answers))) if row["kind"] == "ranking" else []
    secrets.SystemRandom().shuffle(order)
    return "a", order


def _check(kind: Kind, choice: Choice, num_answers: int, ranks: Sequence[int], rating: int | None) -> None:
    if choice not in CHOICES[kind]:
        raise InputError(f"a {kind} cannot be judged {choice!r}; allowed: {', '.join(CHOICES[kind])}")
    if (choice == "rated") != (rating is not None):
        raise InputError("'rating' (1 to 5) belongs to the choice 'rated', which needs one")
    if len(ranks) != (num_answers if choice == "ranked" else 0) or any(not 1 <= r <= num_answers for r in ranks):
        raise InputError(
            f"'ranks' must hold a rank from 1 to {num_answers} for each answer shown, and belongs to 'ranked'; "
            f"given {list(ranks)!r:.80}"
        )


def _vote(row: sqlite3.Row) -> Vote:
    left: str = row["left_answer"]
    right = "b" if left == "a" else "a"
    sides = {"left": left, "right": right}
    return Vote(
        row["pair"],
        row["annotator"],
        sides.get(row["choice"], row["choice"]),
        left,
        row["strength"],
        row["reason"],
        row["seconds"],
        row["voted_at"],
        {aspect: sides.get(side, side) for aspect, side in json.loads(row["aspects"]).items()},
        row["correction"],
        json.loads(row["shown_order"]),
        json.loads(row["ranks"]),
        row["rating"],
    )
