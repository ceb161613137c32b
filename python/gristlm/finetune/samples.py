"""What the model says to held-out prompts while it is tuned, and how long its answers get: `samples.jsonl`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import torch

from gristlm.chat_formats import Conversation, Labelled, Message, Pair, Ranking
from gristlm.finetune.chat import Chat
from gristlm.finetune.config import FinetuneConfig
from gristlm.finetune.data import Rows
from gristlm.finetune.lora import Lora
from gristlm.model import Model
from gristlm.model.generation import Completion
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer

FILE = "samples.jsonl"


class Samples:
    """Greedy answers to the first held-out prompts, a line per step and prompt; called with the step."""

    def __init__(
        self, stage_dir: Path, model: Model, lora: Lora | None, chat: Chat, tokenizer: Tokenizer, heldout: Rows | None,
        config: FinetuneConfig,
    ) -> None:  # fmt: skip
        self._file, self._model, self._lora, self._chat, self._tokenizer = (
            stage_dir / FILE,
            model,
            lora,
            chat,
            tokenizer,
        )
        self._limit = config.max_sample_tokens
        self._prompts: list[list[Message]] = []
        self._ids: list[list[int]] = []
        for example in () if heldout is None else heldout.examples:
            if len(self._ids) == config.num_samples:
                break
            prompt = _prompt(example)
            ids = chat.prompt_ids(prompt, tokenizer)
            if prompt and len(ids) < model.config.max_seq_len:
                self._prompts.append(prompt)
                self._ids.append(ids)

    def __len__(self) -> int:
        """Returns how many prompts are answered."""
        return len(self._ids)

    @torch.no_grad()
    def __call__(self, step: int, model: Model | None = None) -> dict[str, float | None]:
        """Writes this step's answers, after those of earlier steps; what a cut-off call wrote of later ones goes.

        Args:
            step: steps done.
            model: who answers, where the weights of the tuned model are spread over processes.

        Returns:
            `answer_tokens`, the mean length of an answer without its end of turn, and `answers_ended`, the share of
            answers that ended by themselves: where it is below 1, `answer_tokens` is cut by `max_sample_tokens`.
        """
        if not self._ids:
            return {}
        said = self._say(model or self._model, n=1, temperature=0.0, seed=0)
        kept = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        lines = [line for line in kept if json.loads(line)["step"] < step]
        lengths, ended = [], 0
        for prompt, (completion,) in zip(self._prompts, said, strict=True):
            ends = completion.tokens[-1:] == [self._chat.end_id]
            lengths.append(len(completion.tokens) - ends)
            ended += completion.finish_reason == "stop"
            answer = self._tokenizer.decode(completion.tokens[: len(completion.tokens) - ends])
            row = {"step": step, "prompt": prompt, "answer": answer, "finish_reason": completion.finish_reason}
            lines.append(json.dumps(row, ensure_ascii=False))
        write_atomic(self._file, "\n".join(lines) + "\n")
        return {"answer_tokens": sum(lengths) / len(lengths), "answers_ended": ended / len(lengths)}

    @torch.no_grad()
    def sampled(self, n: int, seed: int) -> list[tuple[list[int], list[int]]]:
        """Returns `n` answers to each prompt, drawn as the model gives them: the prompt's ids and the answer's."""
        if not self._ids:
            return []
        said = self._say(self._model, n=n, temperature=1.0, seed=seed)
        return [(ids, list(one.tokens)) for ids, group in zip(self._ids, said, strict=True) for one in group]

    def _say(self, plain: Model, *, n: int, temperature: float, seed: int) -> list[list[Completion]]:
        training = plain.training
        plain.eval()
        room = plain.config.max_seq_len - max(map(len, self._ids))
        with contextlib.nullcontext(plain) if self._lora is None else self._lora.merged() as model:
            said = model.generate(
                self._ids, n=n, max_new_tokens=max(1, min(self._limit, room)), temperature=temperature, seed=seed
            )
        plain.train(training)
        return said


def _prompt(example: Conversation | Pair | Labelled | Ranking) -> list[Message]:
    if isinstance(example, Pair | Ranking):
        return list(example.prompt)
    one = example.conversation if isinstance(example, Labelled) else example
    last = max((place for place, message in enumerate(one.messages) if message["role"] == "assistant"), default=0)
    return list(one.messages[:last])
