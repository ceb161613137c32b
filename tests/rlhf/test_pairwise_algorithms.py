"""Best-of-n distillation and online DPO, written as weights of log-probabilities, against what they stand for."""

import pytest
import torch

import gristlm as gl
from gristlm.finetune import losses
from gristlm.rlhf.advantages import dpo_weights


def test_best_of_n_learns_the_best_answer_alone():
    rewards = torch.tensor([[0.2, 0.9, 0.1], [1.0, 1.0, 1.0]])
    assert gl.rlhf.group_advantages(rewards, "best_of_n").tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_online_dpo_has_the_gradient_of_dpo(beta):
    """Of each group's best and worst answer, with the policy that sampled."""
    generator = torch.Generator().manual_seed(0)
    logprobs = torch.randn(6, 4, generator=generator, dtype=torch.float64) - 1
    reference = torch.randn(6, 4, generator=generator, dtype=torch.float64) - 1
    rewards = torch.tensor([[0.1, 0.9, 0.4], [2.0, -1.0, 0.5]], dtype=torch.float64)
    lengths = torch.tensor([4, 2, 3, 1, 4, 2])
    mask = torch.arange(4)[None] < lengths[:, None]

    ours = logprobs.clone().requires_grad_()
    marks = gl.rlhf.group_advantages(rewards, "online_dpo")
    log_ratios = ((logprobs - reference) * mask).sum(1).reshape(2, 3)
    weights = dpo_weights(marks, log_ratios, beta).flatten()
    gl.rlhf.policy_loss(
        ours, logprobs, weights, mask, algorithm="online_dpo", total_tokens=int(mask.sum()), total_sequences=6
    ).backward()

    theirs = logprobs.clone().requires_grad_()
    sums, reference_sums = (theirs * mask).sum(1), (reference * mask).sum(1)
    best, worst = torch.tensor([1, 3]), torch.tensor([0, 4])
    loss = losses.dpo(sums[best], sums[worst], reference_sums[best], reference_sums[worst], beta=beta)
    (loss * 2 / 6).backward()  # the mean over 2 pairs, as a sum over pairs divided by 6 sequences
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
