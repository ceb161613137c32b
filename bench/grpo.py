"""Completions learned from per CPU second: a GRPO step of ours beside TRL's, the same weights, prompts and shapes.

What is sampled cannot be equal, so what is compared first is the work: so many completions of so many tokens each.
TRL has removed PPO; ours is measured alone.

    python bench/grpo.py
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gristlm.bench.frame import OURS, BenchTable, Contender
from gristlm.model import Model, ModelConfig
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.data import Prompt
from gristlm.rlhf.learners import GroupLearner, Learner, PPOLearner
from gristlm.rlhf.reward_model import RewardModel
from gristlm.rlhf.rewards import Rewards
from gristlm.rlhf.rollouts import EncodedPrompt, Sampler
from gristlm.rlhf.scoring import Scorer
from gristlm.tokenize import Tokenizer

PROMPTS, GROUP, NEW_TOKENS, STEPS = 2, 8, 48, 3
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
TEXTS = [f"Tell me about the number {number}, and what comes after it." for number in range(64)]
WORK = f"{STEPS} steps of {PROMPTS * GROUP} completions"


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    table = BenchTable.begin("rlhf")
    table.unit = "compl"
    table.versions["torch"] = torch.__version__
    with tempfile.TemporaryDirectory() as folder:
        start = _checkpoint(Path(folder))
        ours, ppo = (_Ours(start, algorithm) for algorithm in ("grpo", "ppo"))
        size = ours.policy.config.num_parameters() / 1e6
        table.text = f"{size:.1f} M weights, {PROMPTS} prompts x {GROUP} x {NEW_TOKENS} tokens a step, KL to the start"
        count = 1_000_000 * STEPS * PROMPTS * GROUP
        table.compare("GRPO step", count, [_contender(OURS, ours), *_peers(table, start)], rounds=2)
        table.compare("PPO step", count, [_contender(OURS, ppo)], rounds=2)
        table.skipped["trl: PPO step"] = "TRL has removed PPO"
    print(table.to_text())


def _contender(library: str, trainer: _Ours | _TRL) -> Contender[None]:
    return Contender(library, lambda: None, lambda _: trainer.run())


def _checkpoint(folder: Path) -> Path:
    tokenizer = Tokenizer.train(TEXTS, vocab_size=512, special_tokens=list(SPECIAL))
    tokenizer.save(folder / "tokenizer.json")
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        num_layers=6,
        d_model=256,
        num_heads=4,
        max_seq_len=256,
        qk_norm=False,
        pad_token_id=3,
    )
    Model(config, seed=0).save_pretrained(folder)
    return folder


class _Ours:
    """The parts of our loop, without what it writes to disk."""

    def __init__(self, start: Path, algorithm: str) -> None:
        self._config = RLHFConfig.model_validate(
            {
                "algorithm": algorithm, "rewards": {"regex:1": 1.0}, "prompts_per_step": PROMPTS, "group_size": GROUP,
                "max_new_tokens": NEW_TOKENS, "kl_in": "loss" if algorithm == "grpo" else "reward",
                "learning_rate": 1e-5, "steps": 10_000,
            }
        )  # fmt: skip
        self.policy, reference = Model.from_pretrained(start), Model.from_pretrained(start).requires_grad_(False)
        tokenizer = Tokenizer.from_file(start)
        self._sampler = Sampler(tokenizer, None, max_new_tokens=NEW_TOKENS, temperature=1.0)
        self._scorer = Scorer(
            self._config, self._sampler, reference, Rewards(self._config.rewards or {}), None, start / "failed.jsonl"
        )
        self._prompts = [
            EncodedPrompt(Prompt([{"role": "user", "content": text}], {}), tokenizer.encode(text)) for text in TEXTS
        ]
        self._learner: Learner = GroupLearner(self.policy, self._config)
        if algorithm == "ppo":
            critic = RewardModel.from_checkpoint(start)
            self._learner = PPOLearner(self.policy, critic, self._config, reward_mean=0.5, reward_std=0.5)
        self._step = 0

    def run(self) -> str:
        for _ in range(STEPS):
            self._step += 1
            first = (self._step * PROMPTS) % (len(self._prompts) - PROMPTS)
            chosen = self._prompts[first : first + PROMPTS]
            seeds = [self._step * PROMPTS + i for i in range(PROMPTS)]
            answers = self._sampler.sample(self.policy, chosen, group_size=GROUP, seeds=seeds)
            scored = self._scorer.score(answers, self._config.kl_coef)
            self._learner.learn(self._step, scored, self._learner.advantages(scored))
        return WORK


def _peers(table: BenchTable, start: Path) -> list[Contender[None]]:
    try:
        trl, transformers = (importlib.import_module(name) for name in ("trl", "transformers"))
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        table.skipped["trl"] = f"not installed: {error.name}"
        return []
    table.versions["trl"] = trl.__version__
    try:
        return [_contender("trl", _TRL(trl, transformers, datasets, start))]
    except Exception as error:  # the row's end, not the table's
        table.skipped["trl"] = f"it fails: {str(error).splitlines()[:1]}"
        return []


class _TRL:
    """TRL's GRPOTrainer; each run goes on for some steps."""

    def __init__(self, trl: Any, transformers: Any, datasets: Any, start: Path) -> None:
        self._trl, self._start = trl, start
        logging.getLogger("transformers").setLevel(logging.ERROR)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(start / "tokenizer.json"), eos_token="<|endoftext|>", pad_token="<|pad|>"
        )
        self._tokenizer, self._data = tokenizer, datasets.Dataset.from_list([{"prompt": text} for text in TEXTS])
        self._module = transformers.AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)

    def run(self) -> str:
        config = self._trl.GRPOConfig(
            output_dir=str(self._start / "trl"), max_steps=STEPS, per_device_train_batch_size=PROMPTS * GROUP,
            num_generations=GROUP, max_completion_length=NEW_TOKENS, beta=0.05, learning_rate=1e-5, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, bf16=False, use_vllm=False,
            gradient_checkpointing=False, generation_kwargs={"min_new_tokens": NEW_TOKENS},
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self._trl.GRPOTrainer(
                model=self._module, reward_funcs=_has_one, args=config, train_dataset=self._data,
                processing_class=self._tokenizer,
            ).train()  # fmt: skip
        return WORK


def _has_one(completions: Sequence[str], **_: Mapping[str, object]) -> list[float]:
    return [float("1" in text) for text in completions]


if __name__ == "__main__":
    main()
