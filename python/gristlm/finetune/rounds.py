"""Rounds of tuning a model on its own answers: generate, score, select, train; then again from what was trained.

Each round samples several answers to every prompt and scores them. With method `sft` the best answer to each prompt is
learnt: best-of-n, or rejection sampling (Dong et al. 2023, RAFT, arXiv 2304.06767; Touvron et al. 2023, Llama 2,
section 3.2.3). With a preference method the best and the worst make a pair, and the round's own start is the
reference: iterated preference tuning (Xu et al. 2023, arXiv 2312.16682, section 3; Yuan et al. 2024, arXiv 2401.10020,
section 2.3).

Ours, for the papers do not say: an answer that was cut off before its end, or is not valid UTF-8, is never learnt (it
may be the worst of a pair); one with special tokens in it is left out; and so is a prompt whose answers all score the
same, since it tells nothing apart.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from gristlm.chat_formats import Conversation, Example, Message, Pair, parse
from gristlm.errors import ConfigError, FormatError, InputError
from gristlm.finetune import stage as tuning
from gristlm.finetune.chat import Chat
from gristlm.finetune.config import FinetuneConfig
from gristlm.finetune.templates import choose
from gristlm.finetune.writing import write
from gristlm.model import Model
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.config import StageConfig
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.training import device, distributed
from gristlm.training.chat_prompt import load_template

Row = Mapping[str, object]
Score = Callable[[Sequence[Sequence[Message]], Sequence[str], Sequence[Row]], Sequence[float]]
"""Called with N prompts (messages), the answer to each and the row that each prompt came from; returns N scores."""
_PROMPTS_AT_ONCE = 64
_ANSWERS, _SELECTED, _HELD_OUT = "answers.jsonl", "selected.jsonl", 1_000_000


class RoundsConfig(StageConfig):
    """Rounds of tuning on a model's own answers."""

    rounds: int = Field(default=3, ge=1, le=1000)
    """How often to generate, score, select and train."""
    answers_per_prompt: int = Field(default=8, ge=2)
    """Answers sampled to each prompt in each round: the n of best-of-n."""
    max_new_tokens: int = Field(default=128, ge=1)
    """The longest answer, in tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""
    max_heldout_prompts: int = Field(default=500, ge=1)
    """Held-out prompts to measure the score on, the first ones of the file."""
    finetune: FinetuneConfig = FinetuneConfig()
    """How each round trains; `method` says whether the best answers are learnt (sft) or pairs of the best and worst."""
    scored_by: str = ""
    """What the scores come from, for the record: a directory of rounds with another value is other work."""


@dataclasses.dataclass(frozen=True)
class _Prompt:
    where: str
    messages: Sequence[Message]
    row: Row


@dataclasses.dataclass(frozen=True)
class _Answer:
    text: str
    ended: bool
    plain: bool
    """It says something, and no special token stands in it."""

    @property
    def whole(self) -> bool:
        """Whether it may be learnt as it is."""
        return self.plain and self.ended and "\ufffd" not in self.text


def run(config: RoundsConfig, inputs: Mapping[str, Path], output_dir: Path, score: Score) -> Manifest:
    """Returns the manifest of the last round's model, `final/`, with what each round did in `round-N/`.

    Args:
        config: the settings.
        inputs: `checkpoint`, to start from; `prompts`, JSON Lines of `{"prompt": text or messages, …}`;
            `heldout_prompts`, the same (optional), to measure the score on; any other file that scores depend on.
        output_dir: the directory to write. Each `round-N/` has `answers/answers.jsonl` (every answer and its score),
            `answers/selected.jsonl` (what was learnt) and `tuned/`, an artifact of the stage `finetune`. What an
            earlier, cut-off call left there is gone on with: finished answers are not scored again.
        score: what says how good an answer is; higher is better.

    Raises:
        ConfigError: an input is missing, or there are several processes.
        FormatError: a prompt cannot be read; names the file and line.
        InputError: the scores are not one finite number for each answer, or tell no answers apart.
    """
    if not {"checkpoint", "prompts"} <= set(inputs):
        raise ConfigError(f"rounds need the inputs checkpoint and prompts; given {', '.join(inputs) or 'none'}")
    with distributed.joined() as ranks:
        if ranks.world_size > 1:
            raise ConfigError(
                f"rounds run in one process; this is one of {ranks.world_size}: start it without torchrun"
            )
    whole = artifact.begin(output_dir, kind="rounds", config=config, inputs=inputs)
    if whole.manifest is not None:
        return whole.manifest
    with contextlib.closing(whole):
        start, done = inputs["checkpoint"], list[dict[str, object]]()
        for number in range(1, config.rounds + 1):
            place = output_dir / f"round-{number}"
            made = _generate(config, number, start, inputs, place / "answers", score)
            settings = config.finetune.model_copy(update={"seed": config.finetune.seed + number - 1})
            tuned = tuning.run(settings, {"checkpoint": start, "data": place / "answers" / _SELECTED}, place / "tuned")
            start = place / "tuned" / "final"
            done.append({"round": number, **made.counts, "steps": tuned.counts["steps"]})
            progress.say(f"      round {number}: " + ", ".join(f"{k} {v:.4g}" for k, v in _shown(made.counts)))
        after = _heldout_score(config, config.rounds + 1, start, inputs, score)
        temporary = output_dir / ".final.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(start, temporary)
        shutil.rmtree(output_dir / "final", ignore_errors=True)
        temporary.rename(output_dir / "final")
        if after is not None:
            progress.say(f"      heldout_score: {done[0]['heldout_score']:.4g} -> {after:.4g}")
        counts = {"rounds": done, "heldout_score_before": done[0]["heldout_score"], "heldout_score_after": after}
        return whole.finish(counts=counts, apart=[f"round-{number}" for number in range(1, config.rounds + 1)])


def _shown(counts: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for name in ("score", "best_score", "selected", "left_out", "heldout_score"):
        if isinstance(value := counts[name], int | float):
            yield name, value


def _generate(
    config: RoundsConfig, number: int, start: Path, inputs: Mapping[str, Path], output_dir: Path, score: Score
) -> Manifest:
    """Returns the manifest of a round's answers, with what is learnt from them."""
    given = {**inputs, "checkpoint": start}
    stage = artifact.begin(output_dir, kind="answers", config=config, inputs=given)
    if stage.manifest is not None:
        return stage.manifest
    with contextlib.closing(stage):
        prompts = _read(inputs["prompts"])
        speaker = _Speaker(config, start)
        answers = speaker.answers(prompts, key=number, count=config.answers_per_prompt)
        scores = _scores(score, prompts, answers)
        selected = [
            example
            for prompt, said, values in zip(prompts, answers, scores, strict=True)
            if (example := _select(config.finetune.method, prompt, said, values)) is not None
        ]
        if not selected:
            raise InputError(
                f"round {number}: the scores tell no answers to any of {len(prompts)} prompts apart, or every better "
                f"one was cut off; raise answers_per_prompt (now {config.answers_per_prompt}), max_new_tokens (now "
                f"{config.max_new_tokens}) or temperature (now {config.temperature})"
            )
        lines = [
            json.dumps(
                {"prompt": list(prompt.messages), "answer": answer.text, "whole": answer.whole, "score": value},
                ensure_ascii=False,
            )
            for prompt, said, values in zip(prompts, answers, scores, strict=True)
            for answer, value in zip(said, values.tolist(), strict=True)
        ]
        write_atomic(output_dir / _ANSWERS, "\n".join(lines) + "\n")
        write(output_dir / _SELECTED, selected, format="messages" if config.finetune.method == "sft" else "preference")
        counts = {
            "prompts": len(prompts),
            "selected": len(selected),
            "left_out": len(prompts) - len(selected),
            "score": float(scores.mean()),
            "best_score": float(scores.max(axis=1).mean()),
            "heldout_score": _heldout_score(config, number, start, inputs, score, speaker),
        }
        return stage.finish(counts=counts)


def _heldout_score(
    config: RoundsConfig,
    number: int,
    start: Path,
    inputs: Mapping[str, Path],
    score: Score,
    speaker: _Speaker | None = None,
) -> float | None:
    """Returns the mean score of one sampled answer to each held-out prompt, by the model that round `number` starts."""
    if "heldout_prompts" not in inputs:
        return None
    prompts = _read(inputs["heldout_prompts"])[: config.max_heldout_prompts]
    answers = (speaker or _Speaker(config, start)).answers(prompts, key=_HELD_OUT, count=1)
    return float(_scores(score, prompts, answers).mean())


def _select(method: str, prompt: _Prompt, answers: Sequence[_Answer], scores: NDArray[np.float64]) -> Example | None:
    """Returns what is learnt of the answers to a prompt; None where nothing is. The first of equal ones counts."""
    usable = [i for i, answer in enumerate(answers) if answer.plain]
    whole = [i for i in usable if answers[i].whole]
    if not whole:
        return None
    best, worst = max(whole, key=scores.__getitem__), min(usable, key=scores.__getitem__)
    if scores[best] <= scores[worst]:
        return None
    good, bad = ([{"role": "assistant", "content": answers[i].text}] for i in (best, worst))
    if method == "sft":
        return Conversation(prompt.where, [*prompt.messages, *good], len(prompt.messages))
    return Pair(prompt.where, prompt.messages, good, bad)


def _scores(score: Score, prompts: Sequence[_Prompt], answers: Sequence[Sequence[_Answer]]) -> NDArray[np.float64]:
    """Returns float64[prompts, answers]."""
    count = len(answers[0])
    asked = [prompt for prompt in prompts for _ in range(count)]
    texts = [answer.text for said in answers for answer in said]
    given = score([prompt.messages for prompt in asked], texts, [prompt.row for prompt in asked])
    scores = np.asarray(given, dtype=np.float64)
    if scores.shape != (len(texts),) or not np.isfinite(scores).all():
        odd = "" if scores.shape != (len(texts),) else f", that of {asked[int((~np.isfinite(scores)).argmax())].where}"
        raise InputError(
            f"a score must be a finite number for each of {len(texts)} answers; given {list(scores.shape)}{odd}"
        )
    return scores.reshape(len(prompts), count)


class _Speaker:
    """A checkpoint that answers."""

    def __init__(self, config: RoundsConfig, path: Path) -> None:
        self._config = config
        self._model = Model.from_pretrained(path, device=str(device.pick(config.num_threads))).eval()
        self._tokenizer = Tokenizer.from_file(path)
        self._special = set(self._tokenizer.special_tokens.values())
        template = config.finetune.template or load_template(path)
        self._chat = Chat(self._tokenizer, choose(template, self._tokenizer.special_tokens))

    @torch.no_grad()
    def answers(self, prompts: Sequence[_Prompt], *, key: int, count: int) -> list[list[_Answer]]:
        """Returns `count` answers to each prompt; they depend on the seed, `key` and the prompt's place alone."""
        said: list[list[_Answer]] = []
        with progress.bar("answers", len(prompts)) as bar:
            for at in range(0, len(prompts), _PROMPTS_AT_ONCE):
                some = prompts[at : at + _PROMPTS_AT_ONCE]
                groups = self._model.generate(
                    [self._ids(prompt) for prompt in some],
                    n=count,
                    max_new_tokens=self._config.max_new_tokens,
                    temperature=self._config.temperature,
                    stop=(self._chat.end_id,),
                    seed=[self._seed(key, at + place) for place in range(len(some))],
                )
                said += [[self._answer(one.tokens) for one in group] for group in groups]
                bar.update(len(said))
        return said

    def _seed(self, key: int, place: int) -> int:
        return int(np.random.SeedSequence((self._config.seed, key, place)).generate_state(1, np.uint64)[0])

    def _ids(self, prompt: _Prompt) -> list[int]:
        ids, longest = self._chat.prompt_ids(prompt.messages, self._tokenizer), self._model.config.max_seq_len
        if len(ids) >= longest:
            raise InputError(f"{prompt.where}: the prompt has {len(ids)} tokens, which leaves no room of {longest}")
        return ids

    def _answer(self, tokens: Sequence[int]) -> _Answer:
        ended = list(tokens[-1:]) == [self._chat.end_id]
        said = list(tokens[: len(tokens) - ended])
        text = self._tokenizer.decode(said)
        return _Answer(text, ended, bool(text.strip()) and self._special.isdisjoint(said))


def _read(path: Path) -> list[_Prompt]:
    prompts = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise FormatError(f"{where}: not JSON: {error}") from None
            if not isinstance(row, dict) or not row.get("prompt"):
                raise FormatError(f"{where}: a row must be an object with 'prompt'; given {line[:80]!r}")
            given = row["prompt"]
            messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
            one = parse({"messages": messages}, where, "messages")
            assert isinstance(one, Conversation)
            prompts.append(_Prompt(where, one.messages, row))
    if not prompts:
        raise FormatError(f"{path} has no prompts")
    return prompts
