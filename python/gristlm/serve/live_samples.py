"""What the newest checkpoints of a run that is training say, for the live report.

A thread of its own reads each new checkpoint and lets it go on a few texts or answer a few prompts, greedily, so that
one step can be compared with the next. Training is not touched: a checkpoint that vanishes while it is read is passed
over.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import deque
from pathlib import Path

from gristlm.errors import GristlmError
from gristlm.model import Model
from gristlm.runs.layout import CHECKPOINT_STAGES
from gristlm.serve.label.answering import find_prompts
from gristlm.serve.label.pairs import Messages, read_prompts
from gristlm.tokenize import Tokenizer
from gristlm.training.chat_prompt import encode_prompt, load_template

EVERY_SECONDS = 3.0
MAX_NEW_TOKENS = 48
KEPT = 12
"""Samples shown, the newest first."""
NUM_PROMPTS = 3
TEXTS = ("The", "A number is", "def ")
"""What a base model goes on with."""
logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Sample:
    """What one checkpoint made of one prompt."""

    stage: str
    step: int
    prompt: str
    answer: str


class LiveSamples:
    """Samples of a run's checkpoints as they appear."""

    def __init__(self, run: Path) -> None:
        """`run` is a run directory, finished or not."""
        self._run = run
        self._seen: Path | None = None
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gristlm-samples", daemon=True)

    def start(self) -> None:
        """Starts looking for checkpoints."""
        self._thread.start()

    def close(self) -> None:
        """Stops after the checkpoint that it is at."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def rows(self) -> list[Sample]:
        """Returns the samples, those of the newest checkpoint first."""
        return list(self._samples)

    def look(self) -> bool:
        """Samples the newest checkpoint if that was not done yet; returns whether it was."""
        newest = self._newest()
        if newest is None or newest == self._seen:
            return False
        try:
            made = _samples(newest)
        except (GristlmError, OSError) as error:
            logger.info("%s is passed over: %s", newest, error)
            return False
        self._seen = newest
        self._samples.extendleft(reversed(made))
        return True

    def _newest(self) -> Path | None:
        found: list[tuple[float, Path]] = []
        for stage in CHECKPOINT_STAGES:
            for manifest in (self._run / stage / "checkpoints").glob("step-*/manifest.json"):
                try:
                    found.append((manifest.stat().st_mtime, manifest.parent))
                except OSError:  # it was the oldest and has just been removed
                    continue
        return max(found, default=(0.0, None))[1]

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                self.look()
            except Exception:
                logger.exception("sampling %s failed", self._run)
            self._closing.wait(EVERY_SECONDS)


def _samples(checkpoint: Path) -> list[Sample]:
    model, tokenizer = Model.from_pretrained(checkpoint), Tokenizer.from_file(checkpoint)
    stage, step = checkpoint.parents[1].name, int(checkpoint.name.removeprefix("step-"))
    asked: list[tuple[str, list[int]]]
    if stage == "pretrain":
        asked = [(text, tokenizer.encode(text)) for text in TEXTS]
    else:
        template = load_template(checkpoint)
        prompts = read_prompts(find_prompts(checkpoint))[:NUM_PROMPTS]
        asked = [(_said(prompt), encode_prompt(tokenizer, prompt, template)) for prompt in prompts]
    fitting = [(text, ids) for text, ids in asked if len(ids) < model.config.max_seq_len]
    made = model.generate([ids for _, ids in fitting], max_new_tokens=MAX_NEW_TOKENS, temperature=0.0)
    specials = frozenset(tokenizer.special_tokens.values())
    return [
        Sample(stage, step, text, tokenizer.decode([token for token in one.tokens if token not in specials]).strip())
        for (text, _), (one,) in zip(fitting, made, strict=True)
    ]


def _said(prompt: Messages) -> str:
    return "\n".join(message["content"] for message in prompt if message["role"] != "system")
