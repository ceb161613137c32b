"""An example as a row of any of the formats; what is written reads back as the same example."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gristlm.chat_formats.examples import Conversation, Example, Labelled, Message, Pair, Ranking, Tools
from gristlm.chat_formats.parsing import FORMATS
from gristlm.errors import InputError

_Row = dict[str, object]


def unparse(example: Example, format: str) -> _Row:
    """Returns the row that says `example` in `format`.

    Raises:
        InputError: the format is unknown, or has no place for something that the example holds.
    """
    if format not in FORMATS:
        raise InputError(f"format {format!r} is unknown; allowed are {', '.join(FORMATS)}")
    for kind, writers in (
        (Conversation, _CONVERSATIONS), (Pair, _PAIRS), (Labelled, _LABELLED), (Ranking, _RANKINGS),
    ):  # fmt: skip
        if isinstance(example, kind):
            if format not in writers:
                raise InputError(
                    f"{example.where}: a {kind.__name__.lower()} cannot be written as {format!r}; "
                    f"choose one of {', '.join(writers)}"
                )
            return writers[format](example)
    raise InputError(f"given {type(example).__name__}; examples are what `finetune.read` returns")


def _with(row: _Row, tools: Tools | None) -> _Row:
    return row if tools is None else {**row, "tools": list(tools)}


def _messages(one: Conversation) -> _Row:
    messages = [
        {**message, "weight": 0} if index < one.first_target and message["role"] == "assistant" else dict(message)
        for index, message in enumerate(one.messages)
    ]
    return _with({"messages": messages}, one.tools)


def _sharegpt(one: Conversation) -> _Row:
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    turns: list[_Row] = []
    for message in _messages(one)["messages"]:  # type: ignore[attr-defined]
        others = {key: value for key, value in message.items() if key not in ("role", "content")}
        turns.append({"from": names.get(message["role"], message["role"]), "value": message["content"], **others})
    return _with({"conversations": turns}, one.tools)


def _prompt_completion(one: Conversation) -> _Row:
    first = one.first_target or next(
        (index for index, message in enumerate(one.messages) if message["role"] == "assistant"), len(one.messages)
    )
    if not 0 < first < len(one.messages):
        raise InputError(f"{one.where}: prompt_completion needs a prompt and an answer of the assistant after it")
    return _with({"prompt": list(one.messages[:first]), "completion": list(one.messages[first:])}, one.tools)


def _question_answer(one: Conversation) -> _Row:
    system, question, answer = _one_turn(one, "question_answer")
    return {**({"system": system} if system else {}), "question": question, "answer": answer}


def _alpaca(one: Conversation) -> _Row:
    system, question, answer = _one_turn(one, "alpaca")
    return {**({"system": system} if system else {}), "instruction": question, "input": "", "output": answer}


def _one_turn(one: Conversation, format: str) -> tuple[object, object, object]:
    roles = [message["role"] for message in one.messages]
    plain = all(set(message) <= {"role", "content"} for message in one.messages)
    if roles[-2:] != ["user", "assistant"] or roles[:-2] not in ([], ["system"]) or one.tools or not plain:
        raise InputError(
            f"{one.where}: {format} holds one question and one answer (and a system message), of text alone; the "
            f"conversation has {', '.join(map(str, roles))}; write it as messages"
        )
    return one.messages[0]["content"] if len(roles) == 3 else None, *(m["content"] for m in one.messages[-2:])  # type: ignore[return-value]


def _preference(pair: Pair) -> _Row:
    row = {"prompt": list(pair.prompt), "chosen": list(pair.chosen), "rejected": list(pair.rejected)}
    return _with({**row}, pair.tools)


def _preference_implicit(pair: Pair) -> _Row:
    return _with({"chosen": [*pair.prompt, *pair.chosen], "rejected": [*pair.prompt, *pair.rejected]}, pair.tools)


def _hh(pair: Pair) -> _Row:
    return {
        name: _hh_text(pair, [*pair.prompt, *side])
        for name, side in (("chosen", pair.chosen), ("rejected", pair.rejected))
    }


def _hh_text(pair: Pair, messages: Sequence[Message]) -> str:
    names = {"user": "Human", "assistant": "Assistant"}
    for message in messages:
        content = str(message["content"])
        if message["role"] not in names or set(message) - {"role", "content"} or pair.tools:
            raise InputError(f"{pair.where}: hh holds texts of user and assistant alone; write it as preference")
        if content != content.strip() or any(f"\n\n{name}:" in f"\n\n{content}" for name in names.values()):
            raise InputError(
                f"{pair.where}: a message reads like a turn, or begins or ends with white space; write it as preference"
            )
    return "".join(f"\n\n{names[str(message['role'])]}: {message['content']}" for message in messages)


def _label(one: Labelled) -> _Row:
    return {**_prompt_completion(one.conversation), "label": one.label}


def _ranking(one: Ranking) -> _Row:
    row = {"prompt": list(one.prompt), "responses": [list(answer) for answer in one.answers], "ranks": list(one.ranks)}
    return _with({**row}, one.tools)


_Writers = Mapping[str, Callable[..., _Row]]
_CONVERSATIONS: _Writers = {
    "messages": _messages, "sharegpt": _sharegpt, "prompt_completion": _prompt_completion,
    "question_answer": _question_answer, "alpaca": _alpaca,
}  # fmt: skip
_PAIRS: _Writers = {
    "preference": _preference, "preference_implicit": _preference_implicit, "hh": _hh,
    "ranking": lambda pair: _ranking(
        Ranking(pair.where, pair.prompt, [pair.chosen, pair.rejected], (1, 2), pair.tools)
    ),
}  # fmt: skip
_LABELLED: _Writers = {"label": _label}
_RANKINGS: _Writers = {"ranking": _ranking}
