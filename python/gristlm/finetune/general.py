"""What tuning costs in general ability: bits per byte on the documents held out of pretraining."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from gristlm.errors import InputError
from gristlm.finetune.config import FinetuneConfig
from gristlm.finetune.prepared import Prepared
from gristlm.finetune.reference import answer_logprobs
from gristlm.model import Model
from gristlm.tokenize import TokenDataset, Tokenizer
from gristlm.training.distributed import Ranks


class General:
    """The first held-out documents of a tokens artifact, each up to the longest sequence, as `Prepared`.

    A document's first token is given, every other one is predicted. A token counts the bytes of text that it stands
    for; a special one stands for none, but its bits count, as in pretraining's own `heldout_bits_per_byte` (which
    fills rows with documents and differs by where they are cut).
    """

    def __init__(self, tokens_dir: Path, tokenizer: Tokenizer, config: FinetuneConfig, *, max_seq_len: int) -> None:
        """Reads them.

        Raises:
            InputError: the tokens are of another tokenizer, or there is no held-out document.
            MissingArtifactError: the directory is no tokens artifact.
        """
        dataset = TokenDataset(tokens_dir / "heldout")
        if dataset.vocab_size != tokenizer.vocab_size:
            raise InputError(
                f"the tokens in {tokens_dir} do not match the checkpoint: they are of {dataset.vocab_size} kinds, its "
                f"tokenizer has {tokenizer.vocab_size}; give the tokens that the model was pretrained on, or none"
            )
        parts, room = [], config.pretrain_tokens
        for ids in dataset:
            part = ids[: min(max_seq_len, room)]
            if len(part) > 1:
                parts.append(part.astype(np.uint32))
                room -= len(part)
            if room < 2:
                break
        if not parts:
            raise InputError(f"{tokens_dir / 'heldout'} has no document to measure on; keep some aside in collect")
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        mask = np.ones(int(offsets[-1]), dtype=np.bool_)
        mask[offsets[:-1]] = False
        self._documents = Prepared(np.concatenate(parts), offsets, mask, np.arange(len(parts)), [])
        special = set(tokenizer.special_tokens.values())
        ids, counts = np.unique(self._documents.ids[mask], return_counts=True)
        self._bytes = sum(
            count * len(tokenizer.id_to_bytes(token))
            for token, count in zip(ids.tolist(), counts.tolist(), strict=True)
            if token not in special
        )
        self._packing, self._at_once, self._max_seq_len = config.packing, config.micro_batch_tokens, max_seq_len

    def measure(self, model: Model, ranks: Ranks) -> dict[str, float | None]:
        """Returns `pretrain_bits_per_byte`; every rank must call it."""
        sums = answer_logprobs(
            model, self._documents, packing=self._packing, tokens=self._at_once, max_seq_len=self._max_seq_len,
            ranks=ranks,
        )  # fmt: skip
        nats = -float(sums.sum(dtype=np.float64))
        return {"pretrain_bits_per_byte": nats / math.log(2) / max(1, self._bytes)}
