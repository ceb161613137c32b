"""Pairs of answers that share the computation of their prompt, see `gristlm.model.shared_prompt`.

Shapes: S flat positions, M targets, U pairs.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gristlm.finetune.prepared import Prepared
from gristlm.model import Model, ModelConfig
from gristlm.model.head import token_logprobs
from gristlm.model.shared_prompt import Layout, lay_out


@dataclasses.dataclass(frozen=True)
class PairBatch:
    """U pairs as the network's arguments."""

    layout: Layout
    rows: Tensor
    """int64[M], the flat position before each target."""
    labels: Tensor
    """int64[M], the targets."""
    owner: Tensor
    """int64[M], the answer of each target: u for pair u's chosen, U + u for its rejected one."""
    num_answers: int

    def logprobs(self, model: Model) -> Tensor:
        """Returns float32[2U], log p of each answer: those chosen, then those rejected."""
        x_SD = model.run_blocks(self.layout.input_ids, self.layout.position_ids, self.layout.attend)[0]
        logprobs_M = token_logprobs(
            x_SD.index_select(0, self.rows), model.output_weight, self.labels, softcap=model.config.logit_softcap
        )
        return logprobs_M.new_zeros(self.num_answers).index_add(0, self.owner, logprobs_M)


def lay_out_pairs(
    prepared: Prepared, units: NDArray[np.int64], *, config: ModelConfig, device: torch.device
) -> PairBatch:
    """Returns the pairs `units`, int64[U, 2], each the chosen and the rejected conversation."""
    conversations = [prepared.conversation(int(one)) for side in units.T for one in side]
    prompts = [int(mask.argmax()) for _, mask in conversations]
    layout = lay_out([ids.tolist() for ids, _ in conversations], prompts, config=config, device=device)
    targets = [np.flatnonzero(mask) for _, mask in conversations]
    rows = [flat[target - 1] for flat, target in zip(layout.flats, targets, strict=True)]
    labels = [ids[target].astype(np.int64) for (ids, _), target in zip(conversations, targets, strict=True)]
    owner = np.repeat(np.arange(len(targets)), [len(target) for target in targets])
    rows_M, labels_M, owner_M = (
        torch.from_numpy(array).to(device) for array in (np.concatenate(rows), np.concatenate(labels), owner)
    )
    return PairBatch(layout, rows_M, labels_M, owner_M, len(conversations))
