"""A row of training data, in any of the formats, read as what it says."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping

from gristlm.chat_formats.examples import Conversation, Example, Labelled, Message, Pair, Ranking, Tools
from gristlm.errors import InputError

_ROLES = {
    "system": "system", "developer": "developer", "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant",
    "function_call": "assistant", "tool": "tool", "observation": "tool", "function": "function", "ipython": "ipython",
}  # fmt: skip
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")


def detect(row: Mapping[str, object]) -> str | None:
    """Returns the name of the format that `row` is in, None where it is in none."""
    keys = {key for key, value in row.items() if value is not None}
    if {"chosen", "rejected"} <= keys:
        if keys & {"prompt", "conversations", "messages"}:
            return "preference"
        return "hh" if isinstance(row["chosen"], str) else "preference_implicit"
    if {"prompt", "responses"} <= keys:
        return "ranking"
    if "label" in keys and (keys >= {"prompt", "completion"} or "messages" in keys):
        return "label"
    for name, needed in (
        ("messages", {"messages"}), ("prompt_completion", {"prompt", "completion"}),
        ("question_answer", {"question", "answer"}),
        ("alpaca", {"instruction", "output"}), ("alpaca", {"instruction", "instances"}),
    ):  # fmt: skip
        if needed <= keys:
            return name
    if "conversations" in keys:
        turns = row["conversations"]
        return (
            "messages"
            if isinstance(turns, list) and turns and isinstance(turns[0], Mapping) and "role" in turns[0]
            else "sharegpt"
        )
    return None


def parse(row: object, where: str, format: str | None = None) -> Example:
    """Returns what `row` says.

    Args:
        row: a JSON object.
        where: how errors name it ("data.jsonl:3").
        format: one of `FORMATS`; None detects it.

    Raises:
        InputError: the row is in no known format, or not in the stated one, or a part of it is missing, empty or of the
            wrong type. The message starts with `where`.
    """
    if isinstance(row, list) and row and format in (None, "messages"):
        row = {"messages": row}
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: a row must be an object; given {_short(row)}")
    name = format or detect(row)
    if name is None:
        raise InputError(
            f"{where}: the keys {', '.join(map(repr, row)) or '(none)'} fit none of the formats {', '.join(FORMATS)}"
        )
    if name not in FORMATS:
        raise InputError(f"format {name!r} is unknown; allowed are {', '.join(FORMATS)}")
    try:
        return FORMATS[name](row, where)
    except KeyError as error:
        raise InputError(
            f"{where}: a row in the format {name!r} needs {error.args[0]!r}; given {', '.join(map(repr, row))}"
        ) from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _messages(row: Mapping[str, object], where: str) -> Conversation:
    return Conversation(
        where,
        _system(row) + _turns(row["conversations" if row.get("messages") is None else "messages"], "messages"),
        tools=_tools(row),
    )


def _sharegpt(row: Mapping[str, object], where: str) -> Conversation:
    return Conversation(where, _system(row) + _turns(row["conversations"], "conversations"), tools=_tools(row))


def _prompt_completion(row: Mapping[str, object], where: str) -> Conversation:
    prompt = _system(row) + _side(row["prompt"], "user", "prompt")
    return Conversation(where, prompt + _side(row["completion"], "assistant", "completion"), len(prompt), _tools(row))


def _question_answer(row: Mapping[str, object], where: str) -> Conversation:
    return Conversation(
        where,
        [*_system(row), *_side(row["question"], "user", "question"), *_side(row["answer"], "assistant", "answer")],
    )


def _alpaca(row: Mapping[str, object], where: str) -> Conversation:
    instances = row.get("instances")
    task = instances[0] if isinstance(instances, list) and instances else row
    if not isinstance(task, Mapping):
        raise InputError(f"'instances' must hold objects; given {_short(task)}")
    instruction, given = row["instruction"], task.get("input")
    if not isinstance(instruction, str):
        raise InputError(f"'instruction' must be a text; given {_short(instruction)}")
    question = f"{instruction}\n\n{given}" if isinstance(given, str) and given.strip() else instruction
    return Conversation(
        where, [*_system(row), *_side(question, "user", "instruction"), *_side(task["output"], "assistant", "output")]
    )


def _preference(row: Mapping[str, object], where: str) -> Pair:
    stated = row.get("prompt") or row.get("conversations") or row.get("messages")
    prompt = _system(row) + _side(stated, "user", "prompt")
    chosen, rejected = _side(row["chosen"], "assistant", "chosen"), _side(row["rejected"], "assistant", "rejected")
    if chosen[0]["role"] != "assistant" and rejected[0]["role"] != "assistant":  # the prompt is said again in both
        return _implicit(chosen, rejected, where, _tools(row))
    return _pair(prompt, chosen, rejected, where, _tools(row))


def _preference_implicit(row: Mapping[str, object], where: str) -> Pair:
    return _implicit(_turns(row["chosen"], "chosen"), _turns(row["rejected"], "rejected"), where, _tools(row))


def _hh(row: Mapping[str, object], where: str) -> Pair:
    return _implicit(_hh_turns(row["chosen"], "chosen"), _hh_turns(row["rejected"], "rejected"), where, None)


def _label(row: Mapping[str, object], where: str) -> Labelled:
    label = row["label"]
    if not isinstance(label, bool):
        raise InputError(f"'label' must be true or false; given {_short(label)}")
    if row.get("messages") is None:
        return Labelled(where, _prompt_completion(row, where), label)
    conversation = _messages(row, where)
    last = max((i for i, message in enumerate(conversation.messages) if message["role"] == "assistant"), default=0)
    return Labelled(where, dataclasses.replace(conversation, first_target=last), label)


def _ranking(row: Mapping[str, object], where: str) -> Ranking:
    responses = row["responses"]
    if not isinstance(responses, list) or len(responses) < 2:
        raise InputError(f"'responses' must be a list of at least two answers; given {_short(responses)}")
    answers = [_side(answer, "assistant", f"responses[{index}]") for index, answer in enumerate(responses)]
    stated = next((name for name in ("ranks", "scores") if row.get(name) is not None), None)
    places = list(range(1, len(answers) + 1)) if stated is None else row[stated]
    if (
        not isinstance(places, list)
        or len(places) != len(answers)
        or any(isinstance(place, bool) or not isinstance(place, int | float) or place != place for place in places)
    ):
        raise InputError(
            f"{stated!r} must hold one number for each of the {len(answers)} responses; given {places!r:.80}"
        )
    ranks = tuple(-place if stated == "scores" else place for place in places)
    ranking = Ranking(where, _system(row) + _side(row["prompt"], "user", "prompt"), answers, ranks, _tools(row))
    if not ranking.pairs():
        raise InputError("no response is ranked above another")
    return ranking


FORMATS: Mapping[str, Callable[[Mapping[str, object], str], Example]] = {
    "messages": _messages,
    "sharegpt": _sharegpt,
    "prompt_completion": _prompt_completion,
    "question_answer": _question_answer,
    "alpaca": _alpaca,
    "preference": _preference,
    "preference_implicit": _preference_implicit,
    "hh": _hh,
    "label": _label,
    "ranking": _ranking,
}


def _implicit(chosen: list[Message], rejected: list[Message], where: str, tools: Tools | None) -> Pair:
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    return _pair(chosen[:shared], chosen[shared:], rejected[shared:], where, tools)


def _pair(
    prompt: list[Message], chosen: list[Message], rejected: list[Message], where: str, tools: Tools | None
) -> Pair:
    if chosen == rejected:
        raise InputError("chosen and rejected are the same")
    if not prompt:
        raise InputError("chosen and rejected begin with no common prompt")
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if not side or side[0]["role"] != "assistant":
            raise InputError(
                f"{name} must go on with the assistant's answer where the two part; it "
                f"{'ends' if not side else 'goes on with the user'}"
            )
    return Pair(where, prompt, chosen, rejected, tools)


def _side(value: object, role: str, name: str) -> list[Message]:
    if isinstance(value, str):
        return [_message({"role": role, "content": value}, name)]
    return _turns([value] if isinstance(value, Mapping) else value, name)


def _turns(value: object, name: str) -> list[Message]:
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{name!r} must be a list of messages, at least one; given {_short(value)}")
    return [_message(message, f"{name}[{index}]") for index, message in enumerate(value)]


def _message(value: object, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must be an object with 'role' and 'content'; given {_short(value)}")
    role, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
    known = _ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise InputError(f"{name} has the role {role!r:.80}; known are {', '.join(_ROLES)}")
    if isinstance(content, list):
        content = _joined(content, name)
    extra = {
        key: item for key, item in value.items() if key not in ("role", "from", "content", "value") and item is not None
    }
    if role == "function_call":
        content, extra = "", {**extra, "tool_calls": _calls(content, name)}
    if content is None and extra.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise InputError(f"{name} ({known}) must have a text as its content; given {_short(content)}")
    if not content.strip() and known in ("user", "assistant") and not extra.get("tool_calls"):
        raise InputError(f"{name} ({known}) is empty")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} ({known}) is not Unicode text: it has a lone surrogate at character {error.start}"
        ) from None
    return {"role": known, "content": content, **extra}


def _calls(text: object, name: str) -> list[object]:
    """Returns the calls that the JSON of a turn from `function_call` holds."""
    found = _from_json(text, name)
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        raise InputError(f"{name} (function_call) must be an object with 'name' and 'arguments'; given {_short(text)}")
    return [{"type": "function", "function": call} for call in calls]


def _from_json(value: object, name: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}; given {_short(value)}") from None


def _joined(parts: list[object], name: str) -> str:
    texts = [
        part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else None for part in parts
    ]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{name} holds a part that is not text; only text is trained on; given {_short(parts)}")
    return "".join(map(str, texts))


def _system(row: Mapping[str, object]) -> list[Message]:
    text = row.get("system")
    return [_message({"role": "system", "content": text}, "system")] if text else []


def _tools(row: Mapping[str, object]) -> Tools | None:
    tools = row.get("tools")
    if isinstance(tools, str) and tools.lstrip()[:1] in ("[", ""):
        tools = _from_json(tools or "[]", "'tools'")
    if not tools:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise InputError(f"'tools' must be a list of JSON schemas; given {_short(tools)}")
    return tools


def _hh_turns(text: object, name: str) -> list[Message]:
    if not isinstance(text, str):
        raise InputError(f"{name!r} must be a text; given {_short(text)}")
    before, *turns = _HH_TURN.split(text)
    if before.strip() or not turns:
        raise InputError(
            f"{name!r} must begin with '\\n\\nHuman:' or have its prompt in 'prompt'; given {_short(text)}"
        )
    return [
        _message({"role": "user" if who == "Human" else "assistant", "content": said.strip()}, f"{name}[{index}]")
        for index, (who, said) in enumerate(zip(turns[::2], turns[1::2], strict=True))
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
