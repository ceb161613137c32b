"""What training data says: conversations, pairs, judged answers and rankings, whatever they were written in."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

Message = Mapping[str, object]
Tools = Sequence[Mapping[str, object]]


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """Messages to learn from: the assistant's, from message `first_target` on. `where` names the row in errors."""

    where: str
    messages: Sequence[Message]
    first_target: int = 0
    tools: Tools | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two continuations of one prompt, of which people (or a judge) preferred `chosen`."""

    where: str
    prompt: Sequence[Message]
    chosen: Sequence[Message]
    rejected: Sequence[Message]
    tools: Tools | None = None

    def sides(self) -> tuple[Conversation, Conversation]:
        """Returns the prompt with the chosen and with the rejected continuation."""
        return tuple(  # type: ignore[return-value]
            Conversation(f"{self.where} ({name})", [*self.prompt, *side], len(self.prompt), self.tools)
            for name, side in (("chosen", self.chosen), ("rejected", self.rejected))
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Labelled:
    """One continuation of a prompt that was judged good (`label` is true) or bad, for itself."""

    where: str
    conversation: Conversation
    label: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Ranking:
    """Several answers to one prompt; `ranks[i]` is the place of answer i: the lowest is the best, equal ones tie."""

    where: str
    prompt: Sequence[Message]
    answers: Sequence[Sequence[Message]]
    ranks: Sequence[float]
    tools: Tools | None = None

    def pairs(self) -> list[Pair]:
        """Returns every pair of a better and a worse answer (Ouyang et al. 2022, section 3.5)."""
        return [
            Pair(f"{self.where} ({i + 1} over {j + 1})", self.prompt, self.answers[i], self.answers[j], self.tools)
            for i, j in itertools.permutations(range(len(self.answers)), 2)
            if self.ranks[i] < self.ranks[j] and self.answers[i] != self.answers[j]
        ]


Example = Conversation | Pair | Labelled | Ranking
