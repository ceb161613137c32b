"""Rows of chat and preference data: each becomes a document whose text is the JSON of what it says for training.

That text is `{"sft": […], "preferences": […], "labelled": […], "prompts": […]}`, each with rows as `finetune` and
`rlhf` read them, in ASCII, so that no cleaning changes it. `collect.conversations.gather` lays them into files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from gristlm.chat_formats import Conversation, Example, Labelled, Message, Pair, Ranking, detect, parse, unparse
from gristlm.collect.document import Document, Drop
from gristlm.collect.files.reading import File, licence_of, read_whole
from gristlm.collect.files.refusal import Refusal
from gristlm.errors import InputError

FILES = ("sft", "preferences", "labelled", "prompts")
LANGUAGE = "und"  # of the JSON; a conversation may be in several
_Row = dict[str, object]


def read_json(file: File) -> Iterator[Document | Drop]:
    """Yields a document per element of a JSON array."""
    try:
        rows = json.loads(read_whole(file))
    except (ValueError, RecursionError) as error:
        raise Refusal("damaged file", f"{file.where} is not JSON: {error}") from error
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        yield from_row(file, number, row)


def from_row(file: File, number: int, row: object, size: int = 0) -> Document | Drop:
    """Returns the document of a row in any format of `gristlm.chat_formats`."""
    part = f"row={number}"
    try:
        found = _rows(parse(row, f"{file.where}:{number}"))
    except (InputError, RecursionError) as error:
        return file.drop(part, "bad row", str(error), size=size)
    told = row if isinstance(row, Mapping) else {}
    names = {name: file.limits.columns.get(name, name) for name in ("licence", "id", "uri")}
    licence = told.get(names["licence"], told.get("license"))
    about = {
        name: told[key] for name, key in (("id", names["id"]), ("url", names["uri"])) if isinstance(told.get(key), str)
    }
    return file.document(
        json.dumps(found),
        title="",
        part=part,
        licence=licence_of("", licence if isinstance(licence, str) else None),
        language=LANGUAGE,
        metadata={"format": detect(told) or "messages", **about},
    )


def _rows(example: Example) -> dict[str, list[_Row]]:
    match example:
        case Conversation():
            return {"sft": [unparse(example, "messages")], "prompts": _prompt(example.messages)}
        case Pair():
            prompt = _prompt([*example.prompt, *example.chosen])
            return {"preferences": [unparse(example, "preference")], "prompts": prompt}
        case Ranking():
            best = min(range(len(example.ranks)), key=example.ranks.__getitem__)
            prompt = _prompt([*example.prompt, *example.answers[best]])
            return {"preferences": [unparse(pair, "preference") for pair in example.pairs()], "prompts": prompt}
        case Labelled():
            return {"labelled": [unparse(example, "label")]}


def _prompt(messages: Sequence[Message]) -> list[_Row]:
    """Returns a prompt where the last message is the assistant's: all before it, and its text as the reference."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant" or messages[-2]["role"] != "user":
        return []
    return [{"prompt": list(messages[:-1]), "kind": "answer", "reference": messages[-1]["content"]}]
