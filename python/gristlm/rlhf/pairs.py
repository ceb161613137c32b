"""The stage `pairs`: two answers of a model to one prompt, the better one named by a criterion, some of them wrongly.

It stands in for people who compare answers. Answers are sampled from the tuned model, so the reward model learns on
what the policy says; a share of the labels is flipped, as people err. Pairs are of distinct texts; a prompt's pairs
are of answers that the criterion tells apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from gristlm.errors import ConfigError
from gristlm.model import Model
from gristlm.rlhf.config import PairsConfig
from gristlm.rlhf.criterion import Criterion, own_file
from gristlm.rlhf.data import Messages, read_prompts
from gristlm.rlhf.rollouts import EncodedPrompt, Sampler
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.training import device
from gristlm.training.chat_prompt import load_template

_PROMPTS_AT_ONCE = 128
_MAX_ROUNDS = 32
_ORDER, _SAMPLING, _PAIRING, _FLIPS = range(4)
Row = dict[str, object]
_Key = tuple[str, str, str]


def run(config: PairsConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Returns the manifest of the artifact "pairs".

    Args:
        config: the `[pairs]` table.
        inputs: "checkpoint", "prompts" and "heldout_prompts".
        output_dir: gets `preferences.jsonl`, `preferences_second.jsonl`, `preferences_heldout.jsonl` (true labels) and
            `preferences_heldout_noisy.jsonl`: rows `prompt, chosen, rejected, flipped`.

    Raises:
        ConfigError: the criterion is not there, or tells too few answers apart.
    """
    if config.criterion is None:
        raise ConfigError("pairs.criterion is not set; give 'path/to/file.py:function', here or as rlhf.criterion")
    sources = {**inputs, "criterion": own_file("pairs.criterion", config.criterion)}
    stage = artifact.begin(output_dir, kind="pairs", config=config, inputs=sources)
    if stage.manifest is not None:
        return stage.manifest
    try:
        maker = _Maker(config, inputs["checkpoint"])
        wanted = config.pairs + config.second_pairs
        rows = maker.make(inputs["prompts"], wanted, salt=0)
        heldout = maker.make(inputs["heldout_prompts"], config.heldout_pairs, salt=1)
        files = {
            "preferences": maker.flipped(rows[: config.pairs], salt=0),
            "preferences_heldout": heldout,
            "preferences_heldout_noisy": maker.flipped(heldout, salt=1),
        }
        if config.second_pairs:
            files["preferences_second"] = maker.flipped(rows[config.pairs :], salt=2)
        for name, lines in files.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            write_atomic(output_dir / f"{name}.jsonl", text)
        counts: dict[str, object] = {name: len(lines) for name, lines in files.items()}
        counts["answers"], counts["criterion"] = maker.answers, maker.total / max(1, maker.answers)
        progress.say(
            f"      pairs: {len(rows):,} of {maker.answers:,} answers, criterion {counts['criterion']:.3f} on average"
        )
        return stage.finish(counts=counts)
    finally:
        stage.close()


class _Maker:
    """Samples answers and pairs them."""

    def __init__(self, config: PairsConfig, checkpoint: Path) -> None:
        assert config.criterion is not None
        self._config = config
        self._criterion = Criterion(config.criterion, setting="pairs.criterion")
        self._model = Model.from_pretrained(checkpoint, device=device.pick(config.num_threads))
        self._sampler = Sampler(
            Tokenizer.from_file(checkpoint),
            load_template(checkpoint),
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
        )
        self.answers, self.total = 0, 0.0

    def make(self, path: Path, wanted: int, *, salt: int) -> list[Row]:
        """Returns `wanted` pairs of answers to the prompts of a file, truly labelled."""
        prompts = self._sampler.encode(read_prompts(path), self._model.config.max_seq_len)
        rows: list[Row] = []
        seen: set[_Key] = set()
        for number, chunk in enumerate(self._chunks(prompts, salt)):
            rows += self._pairs(chunk, seen, (salt, number))
            if len(rows) >= wanted:
                return rows[:wanted]
        raise ConfigError(
            f"the criterion {self._config.criterion!r} told only {len(rows)} pairs of answers apart in {_MAX_ROUNDS} "
            f"rounds over {len(prompts)} prompts; lower pairs.pairs (now {wanted} are wanted), or let the tuned model "
            "see some answers that it likes"
        )

    def flipped(self, rows: Sequence[Row], *, salt: int) -> list[Row]:
        """Returns the rows, a share of them with the labels turned round."""
        config = self._config
        turned = np.random.default_rng((config.seed, _FLIPS, salt)).random(len(rows)) < config.flip
        return [
            {**row, "chosen": row["rejected"], "rejected": row["chosen"], "flipped": True} if turn else row
            for row, turn in zip(rows, turned.tolist(), strict=True)
        ]

    def _chunks(self, prompts: list[EncodedPrompt], salt: int) -> Iterator[list[EncodedPrompt]]:
        for turn in range(_MAX_ROUNDS):
            order = np.random.default_rng((self._config.seed, _ORDER, salt, turn)).permutation(len(prompts)).tolist()
            for start in range(0, len(order), _PROMPTS_AT_ONCE):
                yield [prompts[i] for i in order[start : start + _PROMPTS_AT_ONCE]]

    def _pairs(self, prompts: list[EncodedPrompt], seen: set[_Key], key: tuple[int, int]) -> list[Row]:
        config, count = self._config, self._config.samples_per_prompt
        rng = np.random.default_rng((config.seed, _SAMPLING, *key))
        seeds = [int(seed) for seed in rng.integers(2**63, size=len(prompts))]
        answers = self._sampler.sample(self._model, prompts, group_size=count, seeds=seeds)
        scores = self._criterion.score(
            [answer.prompt.prompt.messages for answer in answers], [answer.text for answer in answers]
        )
        self.answers, self.total = self.answers + len(answers), self.total + float(scores.sum())
        draw = np.random.default_rng((config.seed, _PAIRING, *key))
        rows = []
        for start in range(0, len(answers), count):
            texts = {answers[i].text: float(scores[i]) for i in range(start, start + count)}
            prompt = answers[start].prompt.prompt.messages
            rows += [_row(prompt, *pair) for pair in self._matched(texts, prompt, seen, draw)]
        return rows

    def _matched(
        self, texts: Mapping[str, float], prompt: Messages, seen: set[_Key], draw: np.random.Generator
    ) -> Iterator[tuple[str, str]]:
        """Yields (better, worse) texts that were not paired before, each better one at most `uses` times.

        The first is a near miss, the others are drawn: what tells a near miss apart is what a policy errs in last.
        """
        for better, high in texts.items():
            worse = [text for text, score in texts.items() if score < high]
            worse = [worse[i] for i in draw.permutation(len(worse)).tolist()]
            if worse:
                nearest = min(worse, key=lambda text: _unlike(better, text))
                worse = [nearest, *(text for text in worse if text != nearest)]
            for text in worse[: self._config.uses]:
                key = (prompt[-1]["content"], better, text)
                if key not in seen:
                    seen.add(key)
                    yield better, text


def _unlike(one: str, other: str) -> tuple[int, int]:
    """Returns how unlike two answers are: the difference of their lengths, then the words they do not share."""
    words, others = one.split(), other.split()
    return abs(len(words) - len(others)), len(set(words) ^ set(others))


def _row(prompt: Messages, better: str, worse: str) -> Row:
    answers = [[{"role": "assistant", "content": text}] for text in (better, worse)]
    return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1], "flipped": False}
