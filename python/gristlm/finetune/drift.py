"""How far tuning took a model from where it began: the KL divergence, estimated on the model's own answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gristlm.finetune.config import FinetuneConfig
from gristlm.finetune.prepared import Prepared
from gristlm.finetune.reference import answer_logprobs
from gristlm.finetune.samples import Samples
from gristlm.model import Model

ANSWERS_PER_PROMPT = 4


def sampled_kl(
    samples: Samples, model: Model, start: Path, config: FinetuneConfig, *, max_seq_len: int
) -> dict[str, float | None]:
    """Returns `sampled_kl`: the mean over sampled answers of log π(y|x) - log π_start(y|x), in nats per answer.

    The answers are drawn from `model` at temperature 1, to the held-out prompts of `samples`, each up to
    `max_sample_tokens`: an unbiased estimate of KL(π ‖ π_start) over answers of that length (k1 of Schulman 2020,
    "Approximating KL divergence"), which can fall below 0 where the true value is small.

    Args:
        samples: what draws them.
        model: as it is now, adapters in it.
        start: the checkpoint that tuning began with; it is in memory while this runs.
        config: the settings.
        max_seq_len: width of the rows computed, in tokens.
    """
    drawn = samples.sampled(ANSWERS_PER_PROMPT, config.seed)
    if not drawn:
        return {}
    parts = [np.array([*prompt, *answer], dtype=np.uint32) for prompt, answer in drawn]
    answers = Prepared(
        np.concatenate(parts),
        np.cumsum([0, *map(len, parts)], dtype=np.int64),
        np.concatenate([np.arange(len(prompt) + len(answer)) >= len(prompt) for prompt, answer in drawn]),
        np.arange(len(drawn)),
        [],
    )
    before = Model.from_pretrained(start, device=str(model.device), dtype=torch.float32)
    now, then = (
        answer_logprobs(
            each, answers, packing=config.packing, tokens=config.micro_batch_tokens, max_seq_len=max_seq_len
        )
        for each in (model, before)
    )
    return {"sampled_kl": float((now.astype(np.float64) - then).mean())}
