"""A step's gradient depends on its answers alone: not on micro-batches, their order, or how many ranks share them."""

import numpy as np
import pytest
import torch

import gristlm as gl
from gristlm.rlhf import rollouts as rolled
from gristlm.rlhf.config import RLHFConfig
from gristlm.rlhf.data import Prompt
from gristlm.rlhf.losses import ALGORITHMS
from gristlm.rlhf.rollouts import EncodedPrompt, Rollout, Scored
from gristlm.rlhf.update import _accumulate, _Sums, learn_policy
from gristlm.training import optimizer
from gristlm.training.distributed import Ranks

COUNT = 11


def answers(model: gl.Model, seed: int = 0) -> tuple[Scored, list[list[float]]]:
    """Answers of many lengths with log-probabilities a little off the policy's, and an advantage for each token."""
    rng = np.random.default_rng(seed)
    rollouts = []
    for i in range(COUNT):
        prompt = EncodedPrompt(Prompt([], {}), rng.integers(5, 250, size=2 + i % 4).tolist())
        rollouts.append(Rollout(prompt, rng.integers(5, 250, size=1 + i).tolist(), [0.0], "stop", ""))
    exact = rolled.logprobs_under(model, rollouts, temperature=1.0, micro_batch_size=COUNT)
    moved = [(np.array(row) + rng.normal(0, 0.3, len(row))).tolist() for row in exact]
    rollouts = [Rollout(r.prompt, r.tokens, row, "stop", "") for r, row in zip(rollouts, moved, strict=True)]
    references = [(np.array(row) + rng.normal(0, 0.1, len(row))).tolist() for row in exact]
    empty = np.zeros(COUNT)
    advantages = [[float(rng.normal())] * len(r.tokens) for r in rollouts]
    return Scored(rollouts, references, {}, empty, empty, empty, 0.1), advantages


def gradient(
    model: gl.Model, config: RLHFConfig, scored: Scored, advantages: list[list[float]], ranks: int = 1
) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and the gradient, as FSDP's mean over the ranks' shares."""
    model.zero_grad()
    loss = 0.0
    for rank in range(ranks):
        sums = _Sums()
        _accumulate(model, scored, advantages, config, list(range(COUNT)), sums, Ranks(rank, ranks), first=False)
        loss += sums.loss
    return loss, {name: p.grad / ranks for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_micro_batches_order_and_ranks_change_nothing(algorithm, checkpoint):
    torch.set_num_threads(1)
    model = gl.Model.from_pretrained(checkpoint)
    scored, advantages = answers(model)
    settings = {"algorithm": algorithm, "kl_in": "loss", "max_new_tokens": COUNT}
    settings |= {} if algorithm == "online_dpo" else {"updates_per_step": 2}  # so that ratios are not 1

    def config(size: int) -> RLHFConfig:
        return RLHFConfig.model_validate({**settings, "micro_batch_size": size})

    loss, whole = gradient(model, config(COUNT), scored, advantages)
    largest = max(float(part.abs().max()) for part in whole.values())
    assert largest > 1e-4
    order = np.random.default_rng(1).permutation(COUNT)
    shuffled = Scored(
        [scored.rollouts[i] for i in order],
        [scored.ref_logprobs[i] for i in order],
        *({}, scored.total, scored.kl, scored.kl_k3, scored.kl_coef),
    )
    cases = [(size, ranks, scored, advantages) for size, ranks in ((1, 1), (3, 1), (1, 4), (2, 2), (3, 3), (COUNT, 2))]
    cases.append((4, 2, shuffled, [advantages[i] for i in order]))
    for size, ranks, given, weights in cases:
        other, found = gradient(model, config(size), given, weights, ranks)
        assert other == pytest.approx(loss, rel=1e-6, abs=1e-6)
        assert found.keys() == whole.keys()
        for name, part in found.items():
            assert float((part - whole[name]).abs().max()) <= 1e-6 * max(1.0, largest), (size, ranks, name)


def test_a_step_is_the_same_in_micro_batches_of_any_size(checkpoint):
    found = []
    for size in (1, 4, COUNT):
        model = gl.Model.from_pretrained(checkpoint)
        scored, advantages = answers(model)
        exact = rolled.logprobs_under(model, scored.rollouts, temperature=1.0, micro_batch_size=COUNT)
        same = [Rollout(r.prompt, r.tokens, e, "stop", "") for r, e in zip(scored.rollouts, exact, strict=True)]
        step = Scored(same, *(scored.ref_logprobs, {}, scored.total, scored.kl, scored.kl_k3, 0.1))
        config = RLHFConfig(micro_batch_size=size, max_new_tokens=COUNT, updates_per_step=2, kl_in="loss")
        trainer = optimizer.build(model, learning_rate=1e-3, weight_decay=0.0)
        rng = np.random.default_rng(3)
        figures = learn_policy(model, trainer, step, advantages, config, learning_rate=1e-3, rng=rng)
        found.append({name: figures[name] for name in ("loss", "grad_norm", "clipped")})
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-6)
    assert found[2] == pytest.approx(found[0], rel=1e-4, abs=1e-6)
