"""What a template writes for conversations of one shape, ready for the Rust core to fill in.

A shape is the roles of the messages and which of them are to be learnt. The template is run once for it over unknown
words (`symbolic.py`); the pieces that come out are then filled with what each conversation says, checked and tokenised
on all cores. A conversation that fails a guard, or whose messages hold more than a role and a text, takes the way
through the template itself, which also finds the words for what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gristlm import _core
from gristlm.chat_formats import Conversation, Message
from gristlm.errors import InputError
from gristlm.finetune.chat import Chat, Piece
from gristlm.finetune.symbolic import Guard, Inspected, Probe, Strips

_MOST = 10_000  # shapes to keep: conversations of ever other shapes must not fill the memory
_PLAIN = {"role", "content"}
Key = tuple[object, ...]


class Shapes:
    """The shapes of a chat, found as conversations come."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._known: dict[Key, int | None] = {}
        self.shapes: list[_core.ChatShape] = []

    def number(self, conversation: Conversation) -> int | None:
        """Returns the place in `shapes` of a conversation's shape, None where the template must be run for it."""
        if conversation.tools:
            return None
        messages = conversation.messages
        for message in messages:
            if len(message) != 2 or message.keys() != _PLAIN:
                return None
        key = (conversation.first_target, *[message["role"] for message in messages])
        try:
            return self._known[key]
        except KeyError:
            found = self._known[key] = self._trace(conversation) if len(self._known) < _MOST else None
            return found

    def _trace(self, conversation: Conversation) -> int | None:
        probe = Probe()
        try:
            pieces = self._chat.traced_pieces(conversation, probe)
        except (Inspected, InputError):
            return None
        parts = [_parts(piece, probe) for piece in pieces]
        if not self._same(conversation, pieces, parts, probe.guards):
            return None
        self.shapes.append(
            _core.ChatShape(
                len(conversation.messages),
                [
                    (
                        None if piece.special < 0 else piece.special,
                        [] if piece.special >= 0 else list(own),
                        piece.target,
                    )
                    for piece, own in zip(pieces, parts, strict=True)
                ],
                [((guard.message, guard.strips), guard.test, guard.text) for guard in set(probe.guards)],
            )
        )
        return len(self.shapes) - 1

    def _same(
        self, conversation: Conversation, pieces: list[Piece], parts: list[list[str | tuple[int, Strips]]],
        guards: Sequence[Guard],
    ) -> bool:  # fmt: skip
        """Returns whether the shape gives its first conversation what the template does, or does not claim to."""
        messages = conversation.messages
        if any(_answer(guard, messages) for guard in guards):
            return True
        try:
            expected = self._chat.pieces(conversation)
        except InputError:
            return True
        filled = [
            Piece("".join(p if isinstance(p, str) else _said(messages, *p) for p in own), piece.special, piece.target)
            for piece, own in zip(pieces, parts, strict=True)
        ]
        return filled == expected


def _parts(piece: Piece, probe: Probe) -> list[str | tuple[int, Strips]]:
    """Returns a piece's literal words and what messages say, in order."""
    parts: list[str | tuple[int, Strips]] = []
    words = ""
    for character in piece.text:
        variant = probe.variant(character)
        if variant is None:
            words += character
            continue
        if words:
            parts.append(words)
            words = ""
        parts.append(variant)
    return [*parts, words] if words else parts


def _said(messages: Sequence[Message], index: int, strips: Strips) -> str:
    text = str(messages[index]["content"])
    for side, characters in strips:
        text = {"left": str.lstrip, "right": str.rstrip, "both": str.strip}[side](text, characters)
    return text


def _answer(guard: Guard, messages: Sequence[Message]) -> bool:
    text = _said(messages, guard.message, guard.strips)
    match guard.test:
        case "equals":
            return text == guard.text
        case "contains":
            return guard.text in text
        case "starts":
            return text.startswith(guard.text)
    return text.endswith(guard.text)
