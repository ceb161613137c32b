"""What people thought of answers on the chat page, in files that `finetune` reads.

`ratings.jsonl` holds thumbs as `{"prompt", "completion", "label"}` (KTO), `preferences.jsonl` the better of two answers
as `{"prompt", "chosen", "rejected"}` (DPO, reward models). A changed mind replaces its row: a file is written anew, to
a temporary name first, so that it is always whole.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gristlm.errors import InputError
from gristlm.runs.files import write_atomic
from gristlm.serve.requests import MAX_CHARACTERS, Message

MAX_FILE_BYTES = 50_000_000
Text = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Name = Annotated[str, Field(max_length=200)]


class _Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=r"^[0-9a-f]{24}(-[0-9a-f]{24})?$")
    prompt: list[Message] = Field(min_length=1, max_length=1000)
    reason: str = Field(default="", max_length=2000)


class Rating(_Judgement):
    """A thumb up or down for one answer."""

    kind: Literal["rating"]
    model: Name
    answer: Text
    good: bool

    def row(self) -> dict[str, object]:
        """Returns it as a row for `finetune`."""
        return {"completion": _said(self.answer), "label": self.good, "model": self.model}


class Preference(_Judgement):
    """The better of two answers."""

    kind: Literal["preference"]
    chosen: Text
    rejected: Text
    chosen_model: Name
    rejected_model: Name

    def row(self) -> dict[str, object]:
        """Returns it as a row for `finetune`."""
        return {
            "chosen": _said(self.chosen),
            "rejected": _said(self.rejected),
            "chosen_model": self.chosen_model,
            "rejected_model": self.rejected_model,
        }


class Feedback:
    """A folder of judgements; made with the first of them."""

    def __init__(self, folder: Path) -> None:
        """`folder` need not exist."""
        self.folder = folder
        self._one_at_a_time = threading.Lock()

    def store(self, judgement: Rating | Preference) -> None:
        """Stores a judgement in place of an earlier one of the same answer.

        Raises:
            InputError: the file is full, or the text holds half a surrogate pair.
            StorageError: it cannot be written.
        """
        file = self.folder / f"{judgement.kind}s.jsonl"
        prompt = [{"role": message.role, "content": message.content} for message in judgement.prompt]
        row = {"prompt": prompt, **judgement.row(), "reason": judgement.reason, "id": judgement.id, "at": time.time()}
        try:
            line = json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise InputError("the judgement holds half a surrogate pair, which is no text") from None
        with self._one_at_a_time:
            held = file.read_bytes().splitlines(keepends=True) if file.is_file() else []
            kept = [each for each in held if json.loads(each)["id"] != judgement.id]
            if sum(map(len, kept)) + len(line) > MAX_FILE_BYTES:
                raise InputError(f"{file} holds {MAX_FILE_BYTES:,} bytes; move it away to go on")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(file, b"".join([*kept, line, b"\n"]))


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
