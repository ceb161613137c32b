"""From rows to token ids with a loss mask, refusing what would go wrong silently."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from gristlm import _core
from gristlm.chat_formats import Conversation, Labelled, Pair, Ranking, parse
from gristlm.errors import InputError
from gristlm.finetune.chat import Chat, ChatTokenizer, Piece
from gristlm.finetune.data import Skipped, reasons
from gristlm.finetune.packing import PackedRow, best_fit, row
from gristlm.finetune.shapes import Shapes
from gristlm.finetune.templates import choose
from gristlm.training.chat_prompt import ChatTemplate

_AT_ONCE = 2048  # conversations tokenised in one call: bounds memory, keeps every thread busy


@dataclasses.dataclass(frozen=True)
class Prepared:
    """N conversations as token ids, one after the other."""

    ids: NDArray[np.uint32]
    """uint32[T]."""
    offsets: NDArray[np.int64]
    """int64[N+1]: conversation i is `ids[offsets[i]:offsets[i + 1]]`."""
    loss_mask: NDArray[np.bool_]
    """bool[T], True where the token is a training target."""
    rows: NDArray[np.int64]
    """int64[N], the place of each conversation among the given rows."""
    skipped: list[Skipped]
    """The rows that were left out, and why (`strict=False`)."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64[N], tokens of each conversation."""
        return np.diff(self.offsets)

    def conversation(self, index: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """Returns the ids and the loss mask of conversation `index`."""
        within = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.ids[within], self.loss_mask[within]


class PackedRows:
    """A sequence of `PackedRow`, with the rows that were left out as `skipped`."""

    def __init__(self, prepared: Prepared, capacity: int) -> None:
        """Packs `prepared` into rows of at most `capacity` tokens."""
        self._prepared = prepared
        self._groups = best_fit(prepared.lengths, capacity)
        self.capacity = capacity
        self.skipped = prepared.skipped

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> PackedRow:
        group = self._groups[index]
        ids, masks = zip(*map(self._prepared.conversation, group), strict=True)
        return row(ids, masks, group)

    def __iter__(self) -> Iterator[PackedRow]:
        return map(self.__getitem__, range(len(self)))

    @property
    def fill(self) -> float:
        """The share of the rows' `capacity` that holds tokens."""
        return float(self._prepared.offsets[-1]) / (len(self) * self.capacity) if len(self) else 1.0


Row = Mapping[str, object] | Sequence[Mapping[str, object]] | Conversation


@overload
def prepare(
    rows: Iterable[Row],
    tokenizer: ChatTokenizer,
    *,
    template: str | ChatTemplate | None = None,
    max_seq_len: int | None = None,
    packing: Literal[False] = False,
    strict: bool = True,
    variables: Mapping[str, object] | None = None,
    num_threads: int | None = None,
) -> Prepared: ...


@overload
def prepare(
    rows: Iterable[Row],
    tokenizer: ChatTokenizer,
    *,
    template: str | ChatTemplate | None = None,
    max_seq_len: int | None = None,
    packing: Literal[True],
    strict: bool = True,
    variables: Mapping[str, object] | None = None,
    num_threads: int | None = None,
) -> PackedRows: ...


def prepare(
    rows: Iterable[Row],
    tokenizer: ChatTokenizer,
    *,
    template: str | ChatTemplate | None = None,
    max_seq_len: int | None = None,
    packing: bool = False,
    strict: bool = True,
    variables: Mapping[str, object] | None = None,
    num_threads: int | None = None,
) -> Prepared | PackedRows:
    """Returns conversations as token ids with the assistant's tokens marked, or packed into rows.

    Args:
        rows: objects in any format of `gristlm.chat_formats` that holds a conversation, or `Conversation`s.
        tokenizer: a `gristlm.Tokenizer`.
        template: "chatml", "llama3", "qwen3", "mistral", a Jinja text; None takes the named one that the tokenizer's
            special tokens belong to.
        max_seq_len: tokens; a longer conversation is cut there if no target is lost. With `packing`, the length of a
            row (None: that of the longest conversation).
        packing: return `PackedRows`.
        strict: raise at the first row that cannot be used; otherwise leave it out and say so in `.skipped`.
        variables: what else the template reads (`enable_thinking`, …).
        num_threads: None is all cores. The result is the same on any number.

    Raises:
        InputError: the template is broken or gives answers no end of turn; and, naming the row: it is malformed or
            empty, has no trainable token, would lose part of an answer to `max_seq_len`, spells a special token in a
            message, or has a message (a system message, say) that the template leaves out.
    """
    if max_seq_len is not None and max_seq_len < 2:
        raise InputError(f"max_seq_len must be at least 2; given {max_seq_len}")
    chat = Chat(tokenizer, choose(template, tokenizer.special_tokens), variables)
    prepared = prepare_with(chat, rows, tokenizer, max_seq_len=max_seq_len, strict=strict, num_threads=num_threads)
    if not packing:
        return prepared
    return PackedRows(prepared, max_seq_len or int(prepared.lengths.max(initial=2)))


def prepare_with(
    chat: Chat,
    rows: Iterable[Row],
    tokenizer: ChatTokenizer,
    *,
    max_seq_len: int | None,
    strict: bool,
    num_threads: int | None = None,
) -> Prepared:
    """Returns `prepare`'s conversations for a chat that is already set up."""
    skipped: list[Skipped] = []
    places: list[NDArray[np.int64]] = []
    parts: list[_Part] = []
    shapes = Shapes(chat)
    numbered = enumerate(rows)
    while chunk := list(itertools.islice(numbered, _AT_ONCE)):
        given: list[tuple[int, Conversation]] = []
        for place, one in chunk:
            where = one.where if isinstance(one, Conversation) else f"row {place}"
            try:
                given.append((place, _conversation(one, where)))
            except InputError as error:
                _refuse(where, str(error).removeprefix(f"{where}: "), skipped, strict)
        part, faults = _encoded(chat, shapes, [one for _, one in given], tokenizer, num_threads)
        part, cut = _cut_to(part, max_seq_len)
        faults |= {index: why for index, why in cut.items() if index not in faults}
        for index, why in sorted(faults.items()):
            _refuse(given[index][1].where, why, skipped, strict)
        kept = np.array([index not in faults for index in range(len(given))], dtype=np.bool_)
        places.append(np.array([place for place, _ in given], dtype=np.int64)[kept])
        parts.append(part.only(kept))
    if not sum(map(len, places)):
        raise InputError(
            "there is nothing to train on: "
            + (f"all rows were left out: {reasons(skipped)}" if skipped else "no rows were given")
        )
    lengths = np.concatenate([part.lengths for part in parts])
    return Prepared(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        loss_mask=np.concatenate([part.mask for part in parts]),
        rows=np.concatenate(places),
        skipped=skipped,
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some conversations: ids uint32[T], mask bool[T], lengths int64[N]."""

    ids: NDArray[np.uint32]
    mask: NDArray[np.bool_]
    lengths: NDArray[np.int64]

    def only(self, kept: NDArray[np.bool_]) -> _Part:
        """Returns those conversations of which `kept`, bool[N], is true."""
        if kept.all():
            return self
        tokens = np.repeat(kept, self.lengths)
        return _Part(self.ids[tokens], self.mask[tokens], self.lengths[kept])


def _encoded(
    chat: Chat, shapes: Shapes, given: list[Conversation], tokenizer: ChatTokenizer, num_threads: int | None
) -> tuple[_Part, dict[int, str]]:
    """Returns the conversations as ids, and why some (by their place, without ids) cannot be trained on."""
    count = len(given)
    numbers = [shapes.number(one) for one in given] if isinstance(tokenizer, _core.Tokenizer) else [None] * count
    quick = [index for index, number in enumerate(numbers) if number is not None]
    ids, mask, offsets = np.empty(0, np.uint32), np.empty(0, np.bool_), np.zeros(1, np.int64)
    held = np.zeros(len(quick), np.bool_)
    if quick and isinstance(tokenizer, _core.Tokenizer):
        texts = [str(message["content"]) for index in quick for message in given[index].messages]
        which = np.array([numbers[index] for index in quick], dtype=np.uint32)
        ids, mask, offsets, held = _core.prepare_chats(tokenizer.state, shapes.shapes, which, texts, num_threads)
        if len(quick) == count and held.all():
            return _Part(ids, mask, np.diff(offsets)), {}
    done = {index: number for number, index in enumerate(quick) if held[number]}
    faults: dict[int, str] = {}
    slow: dict[int, list[Piece]] = {}
    for index, one in enumerate(given):
        if index not in done:
            try:
                slow[index] = chat.pieces(one)
            except InputError as error:
                faults[index] = str(error).removeprefix(f"{one.where}: ")
    by_template = dict(zip(slow, _tokenised(list(slow.values()), tokenizer), strict=True))
    nothing = (np.empty(0, np.uint32), np.empty(0, np.bool_))
    both = [
        (ids[slice(*offsets[done[index] : done[index] + 2])], mask[slice(*offsets[done[index] : done[index] + 2])])
        if index in done
        else by_template.get(index, nothing)
        for index in range(count)
    ]
    return (
        _Part(
            np.concatenate([nothing[0], *(one for one, _ in both)]),
            np.concatenate([nothing[1], *(one for _, one in both)]),
            np.array([len(one) for one, _ in both], dtype=np.int64),
        ),
        faults,
    )


def _cut_to(part: _Part, max_seq_len: int | None) -> tuple[_Part, dict[int, str]]:
    """Returns the conversations cut to `max_seq_len`, and why some cannot be trained on or cut."""
    ends = np.cumsum(part.lengths)
    starts = ends - part.lengths
    targets = np.concatenate([[-1], np.flatnonzero(part.mask)])
    last = targets[np.searchsorted(targets, ends) - 1] - starts  # the last target, below 1 where there is none
    faults = {
        int(index): "no trainable token: nothing that the assistant says comes after a first token"
        for index in np.flatnonzero(last < 1)
    }
    if max_seq_len is None or not (part.lengths > max_seq_len).any():
        return part, faults
    for index in np.flatnonzero(last >= max_seq_len):
        faults[int(index)] = (
            f"truncation would cut the answer: the conversation has {part.lengths[index]} tokens and its last answer "
            f"ends at token {last[index] + 1}; max_seq_len is {max_seq_len}: raise it, or shorten the row"
        )
    kept = np.arange(len(part.ids)) - np.repeat(starts, part.lengths) < max_seq_len
    return _Part(part.ids[kept], part.mask[kept], np.minimum(part.lengths, max_seq_len)), faults


def _conversation(given: Row, where: str) -> Conversation:
    example = given if isinstance(given, Conversation) else parse(given, where)
    if isinstance(example, Pair):
        raise InputError(
            "the row is a preference pair; a conversation is needed here (or a method for pairs, such as dpo)"
        )
    if isinstance(example, Ranking):
        raise InputError("the row ranks answers; a conversation is needed here (or a method for pairs, such as dpo)")
    if isinstance(example, Labelled):
        raise InputError("the row is a labelled answer; a conversation is needed here (or the method kto)")
    return example


def _refuse(where: str, why: str, skipped: list[Skipped], strict: bool) -> None:
    if strict:
        raise InputError(f"{where}: {why}")
    skipped.append(Skipped(where, why))


def _tokenised(
    conversations: list[list[Piece]], tokenizer: ChatTokenizer
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.bool_]]]:
    """Yields ids and mask of each conversation; every different text is tokenised once."""
    numbers: dict[str | int, int] = {}
    for pieces in conversations:
        for piece in pieces:
            if piece.special < 0:
                numbers.setdefault(piece.text, len(numbers))
    texts = [text for text in numbers if isinstance(text, str)]
    batch = tokenizer.encode_batch(texts)
    special = sorted({piece.special for pieces in conversations for piece in pieces if piece.special >= 0})
    numbers.update((token, len(texts) + place) for place, token in enumerate(special))
    ids = np.concatenate([batch.ids, np.asarray(special, dtype=np.uint32)]).astype(np.uint32, copy=False)
    starts = np.concatenate([batch.offsets, batch.offsets[-1:] + np.arange(1, len(special) + 1)])
    for pieces in conversations:
        which = [numbers[piece.text if piece.special < 0 else piece.special] for piece in pieces]
        spans = [(int(starts[number]), int(starts[number + 1])) for number in which]
        mask = np.repeat([piece.target for piece in pieces], [end - start for start, end in spans])
        yield np.concatenate([ids[start:end] for start, end in spans]), mask
