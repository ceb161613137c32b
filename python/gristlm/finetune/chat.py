"""Conversations as token ids, with the assistant's tokens known by construction.

The template is run over traced messages (`traced.py`), so every character of the result is known to be the template's
own or some message's. From that:

1. Special tokens are looked for in the template's own characters only. A message that spells one is refused.
2. A conversation is cut into pieces: at special tokens, and where the assistant starts to speak. Each piece is
   tokenised once, as plain text, and the ids are concatenated. Between two special tokens a template's words and a
   message's are one piece, as they are when the model is served; the assistant's answer always starts its own, as it
   does when it is generated.
3. The assistant's span starts after what the template's generation prompt gives, and ends with the end-of-turn token.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gristlm.chat_formats import Conversation, Message, Tools
from gristlm.errors import InputError
from gristlm.finetune.environment import GENERATED_OFFSET, can_trace, render_traced
from gristlm.finetune.symbolic import Inspected, Probe
from gristlm.finetune.traced import PLAIN, TEMPLATE, Traced, message_mark, runs
from gristlm.training.chat_prompt import ChatTemplate

_OURS = (TEMPLATE, chr(GENERATED_OFFSET))


class TokenBatch(Protocol):
    """The part of `gristlm.TokenBatch` that this needs."""

    @property
    def ids(self) -> NDArray[np.uint32]:
        """uint32[T]."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """int64[N+1]."""


class ChatTokenizer(Protocol):
    """The part of `gristlm.Tokenizer` that this needs."""

    @property
    def special_tokens(self) -> dict[str, int]:
        """Special token to id."""

    def encode_batch(self, texts: list[str], /) -> TokenBatch:
        """Returns the ids of `texts`, special tokens in them read as plain text."""


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """A special token (`special` is its id), or a text to tokenise by itself (-1); `target`: to be learnt."""

    text: str
    special: int
    target: bool


class Chat:
    """A template and a tokenizer, as one way to turn conversations into pieces."""

    def __init__(
        self, tokenizer: ChatTokenizer, template: ChatTemplate, variables: Mapping[str, object] | None = None
    ) -> None:
        """Learns from the template how it opens and ends an answer.

        Args:
            tokenizer: its special tokens are the only ones there are.
            template: the chat template.
            variables: what else the template reads (`enable_thinking`, …).

        Raises:
            InputError: the template is broken, or ends an answer with no special token of the tokenizer.
        """
        self.template = template
        self.special_tokens = tokenizer.special_tokens
        self._variables = dict(variables or {})
        longest_first = sorted(self.special_tokens, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        question, answer = {"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}
        asked = self._render([question])
        prompted = self._render([question], add_generation_prompt=True)
        self._opening = str.__str__(prompted[len(asked) :]) if prompted.startswith(asked) else ""
        said = self._render([question, answer])
        after = 1 + max(
            said.marks.rfind(mark) for mark in (message_mark(1), chr(ord(message_mark(1)) + GENERATED_OFFSET))
        )
        first_after = self._special_after(said, after)
        if first_after is None:
            raise InputError(
                "missing end of turn: the template puts no special token of this tokenizer after the assistant's "
                f"answer, so nothing teaches the model to stop; after the answer it says {said[after:][:40]!r}, and "
                f"the tokenizer's special tokens are {', '.join(map(repr, longest_first)) or 'none'}"
            )
        self.end_token = first_after.group()
        """The end-of-turn token: the first special token after an answer."""

    @property
    def end_id(self) -> int:
        """The id of the end-of-turn token."""
        return self.special_tokens[self.end_token]

    def pieces(self, conversation: Conversation) -> list[Piece]:
        """Returns the pieces of a conversation.

        Raises:
            InputError: it would be a silent mistake to train on it: the template refuses it, leaves a message out or
                does not end an answer; a message spells a special token; nothing in it is to be learnt.
        """
        return self._pieces(conversation, self._render(conversation.messages, tools=conversation.tools))

    def traced_pieces(self, conversation: Conversation, probe: Probe) -> list[Piece]:
        """Returns the pieces of any conversation of this one's roles, its words as characters of `probe`.

        Raises:
            Inspected: what the template writes depends on the words in a way that is not traced.
            InputError: as `pieces`, for every conversation of these roles.
        """
        if not can_trace(self.template.jinja):
            raise Inspected
        messages = [
            {**message, "content": probe.text(index, message_mark(index))}
            for index, message in enumerate(conversation.messages)
        ]
        text = self._render(messages)
        for character, mark in zip(str.__str__(text), text.marks, strict=True):
            said = probe.variant(character)
            if (None if said is None else message_mark(said[0])) != _message_of(mark):
                raise Inspected
        return self._pieces(dataclasses.replace(conversation, messages=messages), text)

    def _pieces(self, conversation: Conversation, text: Traced) -> list[Piece]:
        messages = conversation.messages
        extent: dict[str, tuple[int, int]] = {}
        for mark, start, end in runs(text.marks):
            message = chr(ord(mark) % GENERATED_OFFSET)
            extent[message] = (extent.get(message, (start, end))[0], end)
        self._check_all_said(messages, extent)
        special = self._specials(text)
        spans = self._generated(conversation, text) if chr(GENERATED_OFFSET) <= max(text.marks, default="") else None
        if spans is None:
            spans = [
                self._span(index, conversation, text, extent[message_mark(index)])
                for index in _targets(conversation)
                if message_mark(index) in extent
            ]
        if not spans:
            raise InputError("no trainable token: the conversation has no answer of the assistant to learn from")
        return _cut(str.__str__(text), special, spans, self.special_tokens)

    def prompt(self, messages: Sequence[Message], tools: Tools | None = None) -> list[Piece]:
        """Returns the pieces of `messages` and the opening of the assistant's answer.

        Raises:
            InputError: the template refuses the messages, or one of them spells a special token.
        """
        text = self._render(messages, tools=tools, add_generation_prompt=True)
        return _cut(str.__str__(text), self._specials(text), [], self.special_tokens)

    def prompt_ids(self, messages: Sequence[Message], tokenizer: ChatTokenizer) -> list[int]:
        """Returns `prompt` as ids."""
        pieces = self.prompt(messages)
        plain = tokenizer.encode_batch([piece.text for piece in pieces if piece.special < 0])
        texts = iter(itertools.pairwise(plain.offsets.tolist()))
        ids: list[int] = []
        for piece in pieces:
            ids += [piece.special] if piece.special >= 0 else plain.ids[slice(*next(texts))].tolist()
        return ids

    def _render(
        self, messages: Sequence[Message], tools: Tools | None = None, add_generation_prompt: bool = False
    ) -> Traced:
        text = render_traced(
            messages, self.template, tools=tools, add_generation_prompt=add_generation_prompt, **self._variables
        )
        return Traced(str.__str__(text), text.marks) if text.opaque else text

    def _check_all_said(self, messages: Sequence[Message], extent: Mapping[str, tuple[int, int]]) -> None:
        for index, message in enumerate(messages):
            if message_mark(index) in extent or not str(message.get("content", "")).strip():
                continue
            if message["role"] == "system":
                raise InputError(
                    "the template ignores the system message; choose a template that says it, or leave it "
                    "out of the data"
                )
            raise InputError(
                f"the template does not say what message {index} ({message['role']}) says, or changes it "
                "beyond recognition; wrap what the "
                "assistant says in {% generation %} … {% endgeneration %}, or choose another template"
            )

    def _specials(self, text: Traced) -> list[re.Match[str]]:
        """Returns where the template says special tokens."""
        found = list(self._special.finditer(text)) if self._special else []
        for match in found:
            if any(mark not in _OURS for mark in text.marks[match.start() : match.end()]):
                raise InputError(
                    f"a message holds the special token {match.group()!r} as text; it would be read as plain "
                    "text, which is rarely meant: "
                    "change the message"
                )
        return found

    def _span(self, index: int, conversation: Conversation, text: Traced, extent: tuple[int, int]) -> tuple[int, int]:
        first, last = extent
        if any(mark not in (TEMPLATE, message_mark(index)) for mark in set(text.marks[first:last])):
            raise InputError(
                f"the template mixes message {index} (assistant) with other messages, so that its answer has "
                "no place of its own"
            )
        before = len(text.marks[:first].rstrip(TEMPLATE))
        opening = str.rfind(text, self._opening, before, first) if self._opening else -1
        if opening >= 0:
            start = opening + len(self._opening)
        else:
            start = self._after_prompt(conversation.messages[:index], conversation.tools, text, before, first)
        end = self._special_after(text, last)
        if end is None or end.group() != self.end_token:
            raise InputError(
                f"missing end of turn: the template does not end message {index} (assistant) with {self.end_token!r}"
            )
        return start, end.end()

    def _after_prompt(
        self, before: Sequence[Message], tools: Tools | None, text: Traced, earliest: int, first: int
    ) -> int:
        """Returns where the answer starts for a template without a generation prompt: after all that it says before."""
        try:
            prompt = self._render(before, tools=tools, add_generation_prompt=True)
        except InputError:  # some templates refuse to end there
            return first
        return len(prompt) if earliest <= len(prompt) <= first and text.startswith(prompt) else first

    def _special_after(self, text: Traced, at: int) -> re.Match[str] | None:
        """Returns the first special token in the template's own words that start at `at`."""
        if self._special is None:
            return None
        rest = text.marks[at:]
        return self._special.search(str.__str__(text), at, at + len(rest) - len(rest.lstrip("".join(_OURS))))

    def _generated(self, conversation: Conversation, text: Traced) -> list[tuple[int, int]]:
        """Returns the spans that the template itself marks as generated, each with the end of its turn."""
        wanted = {message_mark(index) for index in _targets(conversation)}
        spans = []
        for region in re.finditer(f"[{chr(GENERATED_OFFSET)}-\U0010ffff]+", text.marks):
            if not wanted & {chr(ord(mark) - GENERATED_OFFSET) for mark in set(region.group())}:
                continue
            end = region.end()
            if not str.endswith(text[: region.end()].rstrip(), self.end_token):
                following = self._special_after(text, end)
                if following is None or following.group() != self.end_token:
                    raise InputError(
                        f"missing end of turn: the template does not end an answer with {self.end_token!r}"
                    )
                end = following.end()
            spans.append((region.start(), end))
        return spans


def _message_of(mark: str) -> str | None:
    """Returns the mark of the message that a mark belongs to, None for the template's own and plain text."""
    own = chr(ord(mark) % GENERATED_OFFSET)
    return None if own in (TEMPLATE, PLAIN) else own


def _targets(conversation: Conversation) -> list[int]:
    """Returns the messages to learn: the assistant's from `first_target` on, but for those of weight 0."""
    messages = conversation.messages
    return [
        index
        for index in range(conversation.first_target, len(messages))
        if messages[index]["role"] == "assistant" and messages[index].get("weight", 1) != 0
    ]


def _cut(text: str, special: list[re.Match[str]], spans: list[tuple[int, int]], ids: Mapping[str, int]) -> list[Piece]:
    cuts = sorted(
        {
            0,
            len(text),
            *(edge for span in spans for edge in span),
            *(edge for match in special for edge in match.span()),
        }
    )
    at = {match.start(): ids[match.group()] for match in special}
    pieces, upcoming = [], 0
    for start, end in itertools.pairwise(cuts):
        while upcoming < len(spans) and spans[upcoming][1] <= start:
            upcoming += 1
        target = upcoming < len(spans) and spans[upcoming][0] <= start
        pieces.append(Piece(text[start:end], at.get(start, -1), target))
    return pieces
