"""Two checkpoints answer prompts, so that people can compare them.

A thread of its own fills the project while people already judge. Pairs are stored as they are made, and a project that
is opened again goes on where it stopped. Equal answers and empty ones make no pair: there is nothing to compare, or
nothing to learn from.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from gristlm.model import Model, generation_engine
from gristlm.model.sampling import Sampling
from gristlm.runs.progress import say
from gristlm.serve.label.pairs import Messages, Pair, read_prompts
from gristlm.serve.label.project import Project
from gristlm.tokenize import Tokenizer
from gristlm.training.chat_prompt import encode_prompt, load_template

AT_ONCE = 8
"""Prompts answered in one batch; their pairs are stored together."""
MAX_NEW_TOKENS = 256
TEMPERATURE = 0.8
RUN_PROMPTS = Path("conversations", "prompts_heldout.jsonl")
BUILT_IN = Path(__file__).parent / "prompts.jsonl"
logger = logging.getLogger(__name__)


def find_prompts(checkpoint: Path) -> Path:
    """Returns the held-out prompts of the run that `checkpoint` is in, else a short list of our own."""
    for folder in checkpoint.resolve().parents[:4]:
        if (folder / RUN_PROMPTS).is_file():
            return folder / RUN_PROMPTS
    return BUILT_IN


class Speaker:
    """A checkpoint that answers prompts."""

    def __init__(self, name: str, checkpoint: Path) -> None:
        """Loads it; `name` is how the votes will know it."""
        self.name = name
        self._model = Model.from_pretrained(checkpoint)
        self._tokenizer = Tokenizer.from_file(checkpoint)
        self._template = load_template(checkpoint)
        self._specials = frozenset(self._tokenizer.special_tokens.values())

    def answers(self, prompts: Mapping[int, Messages], closing: threading.Event) -> dict[int, str] | None:
        """Returns an answer to each prompt, made in one batch; None when `closing` came first.

        An answer depends on its prompt and seed (the key of `prompts`) alone; it is empty where the prompt leaves no
        room.
        """
        engine = generation_engine.Engine(self._model)
        tokens: dict[int, list[int]] = {seed: [] for seed in prompts}
        asked: dict[int, int] = {}
        for seed, prompt in prompts.items():
            ids = encode_prompt(self._tokenizer, prompt, self._template)
            if len(ids) < self._model.config.max_seq_len:
                how = Sampling(MAX_NEW_TOKENS, TEMPERATURE)
                asked[engine.add(generation_engine.Request(ids, how, seed))] = seed
        while len(engine):
            if closing.is_set():
                return None
            for event in engine.step():
                if event.token not in self._specials and event.token < self._tokenizer.vocab_size:
                    tokens[asked[event.handle]].append(event.token)
        return {seed: self._tokenizer.decode(made).strip() for seed, made in tokens.items()}


class PairMaker:
    """Fills a project with the answers of two checkpoints."""

    def __init__(self, project: Project, speakers: tuple[Speaker, Speaker], prompts: Path) -> None:
        """Reads the prompts.

        Raises:
            MissingArtifactError, FormatError: `prompts` cannot be used.
        """
        self._project, self._speakers = project, speakers
        self._prompts = read_prompts(prompts)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gristlm-pairs", daemon=True)

    def start(self) -> None:
        """Starts making pairs beside everything else."""
        self._thread.start()

    def close(self) -> None:
        """Stops after the token that it is at, and leaves that batch out; Python must not end while torch computes."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def making(self) -> bool:
        """Whether more pairs are on their way."""
        return self._thread.is_alive()

    def _work(self) -> None:
        try:
            say(f"{self.make():,} new pairs from {len(self._prompts):,} prompts")
        except Exception:
            logger.exception("making pairs failed; those made so far are kept")

    def make(self) -> int:
        """Makes a pair from every prompt that has none of these two models yet; returns how many were new."""
        a, b = self._speakers
        names = (a.name, b.name)
        done = [pair.prompt for pair in self._project.pairs().values() if (pair.model_a, pair.model_b) == names]
        left = [(index, prompt) for index, prompt in enumerate(self._prompts) if prompt not in done]
        added = 0
        for batch in (left[start : start + AT_ONCE] for start in range(0, len(left), AT_ONCE)):
            of_a = a.answers({2 * index: prompt for index, prompt in batch}, self._closing)
            of_b = b.answers({2 * index + 1: prompt for index, prompt in batch}, self._closing)
            if of_a is None or of_b is None:
                break
            found = []
            for index, prompt in batch:
                answers = (of_a[2 * index], of_b[2 * index + 1])
                if all(answers) and answers[0] != answers[1]:
                    said_a, said_b = ([{"role": "assistant", "content": answer}] for answer in answers)
                    found.append(Pair(prompt, said_a, said_b, *names))
            added += self._project.add(found)
        return added
