"""What the model writes while it is trained: `samples.jsonl`, a line per step and prompt.

The same prompts with the same seeds at every step, so that only the weights differ. A line is a function of the weights
and the settings: a run that was cut off and goes on writes the same lines, and sampling changes no weight.
"""

from __future__ import annotations

from pathlib import Path

import torch

from gristlm.errors import ConfigError
from gristlm.model import Model
from gristlm.pretrain.config import PretrainConfig
from gristlm.tokenize import TokenDataset, Tokenizer
from gristlm.training import distributed
from gristlm.training.distributed import Ranks
from gristlm.training.metrics import MetricsLog

FILE = "samples.jsonl"
NUM_HELDOUT, HELDOUT_TOKENS = 3, 12
"""Prompts where none are given: the first tokens of some held-out documents, spread over all of them."""


class Samples:
    """Writes the model's continuations of a few prompts.

    Args:
        config: says when, of what and how much.
        stage_dir: where the file is.
        tokenizer: the model's.
        max_seq_len: the model's.
        heldout: the held-out token dataset.
        ranks: all processes; the first one generates.

    Raises:
        ConfigError: a prompt leaves no room for a token.
    """

    def __init__(
        self,
        config: PretrainConfig,
        stage_dir: Path,
        *,
        tokenizer: Tokenizer,
        max_seq_len: int,
        heldout: Path,
        ranks: Ranks,
    ) -> None:
        self._config, self._tokenizer, self._ranks = config, tokenizer, ranks
        self._log = MetricsLog(stage_dir, FILE)
        self._prompts: list[list[int]] = []
        if config.sample_every is None:
            return
        self._prompts = [tokenizer.encode(text) for text in config.sample_prompts]
        if not self._prompts:
            documents = TokenDataset(heldout)
            places = sorted({len(documents) * place // NUM_HELDOUT for place in range(NUM_HELDOUT)})
            some = (documents[place].tolist() for place in places)
            self._prompts = [ids[: min(HELDOUT_TOKENS, max_seq_len - 1)] for ids in some if ids]
        for text, ids in zip(config.sample_prompts, self._prompts, strict=False):
            if len(ids) >= max_seq_len:
                raise ConfigError(
                    f"pretrain.sample_prompts has {text[:40]!r}, {len(ids)} tokens; the model's max_seq_len is "
                    f"{max_seq_len}, and a sample needs one more"
                )

    def begin(self, step: int) -> None:
        """Forgets lines after `step`, which will come again."""
        if self._prompts and self._ranks.first:
            self._log.truncate(step)

    def due(self, step: int) -> bool:
        """Returns whether samples are to be written after `step`."""
        every = self._config.sample_every
        return bool(self._prompts) and every is not None and (step % every == 0 or step == self._config.steps)

    @torch.no_grad()
    def write(self, step: int, model: Model) -> None:
        """Writes the lines of `step`; every rank must call it."""
        plain = distributed.plain(model, self._ranks)
        if plain is None:
            return
        said = plain.generate(
            self._prompts,
            max_new_tokens=self._config.sample_tokens,
            temperature=self._config.sample_temperature,
            seed=[self._config.seed + place for place in range(len(self._prompts))],
        )
        ends = plain.config.eos_token_ids
        for ids, (completion,) in zip(self._prompts, said, strict=True):
            tokens = [token for token in completion.tokens if token not in ends]
            self._log.write(
                step,
                prompt=self._tokenizer.decode(ids),
                text=self._tokenizer.decode(tokens),
                finish_reason=completion.finish_reason,
            )
