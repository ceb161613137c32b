import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gristlm as gl
from gristlm.errors import InputError
from gristlm.rlhf.losses import ALGORITHMS, CLIP_RANGES


def batch(seed: int, sequences: int = 6, width: int = 5):
    generator = torch.Generator().manual_seed(seed)
    logprobs = -torch.rand(sequences, width, generator=generator, dtype=torch.float64) * 3
    old = logprobs + 0.3 * torch.randn(sequences, width, generator=generator, dtype=torch.float64)
    advantages = torch.randn(sequences, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, width + 1, (sequences,), generator=generator)
    mask = torch.arange(width)[None] < lengths[:, None]
    return logprobs, old, advantages, mask


def slow_twin(logprobs, old, advantages, mask, algorithm, max_tokens=None) -> float:
    """One token at a time, straight from each paper's formula."""
    low, high = CLIP_RANGES[algorithm]
    sequences, total_tokens, loss = len(mask), int(mask.sum()), 0.0

    def surrogate(ratio: float, advantage: float) -> float:
        return min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)

    for i in range(sequences):
        steps = [t for t in range(mask.shape[1]) if mask[i, t]]
        logs = [(logprobs[i, t] - old[i, t]).item() for t in steps]
        ratios = [torch.tensor(value).exp().item() for value in logs]
        advantage = advantages[i].item()
        if algorithm == "rloo":
            gain = surrogate(torch.tensor(sum(logs)).exp().item(), advantage) / sequences
        elif algorithm == "gspo":
            gain = surrogate(torch.tensor(sum(logs) / len(logs)).exp().item(), advantage) / sequences
        elif algorithm == "cispo":
            clipped = [min(max(ratio, 1 - low), 1 + high) for ratio in ratios]
            gain = (
                sum(c * advantage * logprobs[i, t].item() for c, t in zip(clipped, steps, strict=True)) / total_tokens
            )
        elif algorithm in ("best_of_n", "online_dpo"):
            counted = total_tokens if algorithm == "best_of_n" else sequences
            gain = sum(advantage * logprobs[i, t].item() for t in steps) / counted
        else:
            terms = sum(surrogate(ratio, advantage) for ratio in ratios)
            gain = terms / {"grpo": len(steps) * sequences, "dr_grpo": (max_tokens or 1) * sequences}.get(
                algorithm, total_tokens
            )
        loss -= gain
    return loss


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equals_the_formula_token_by_token(algorithm):
    logprobs, old, advantages, mask = batch(1)
    loss = gl.rlhf.policy_loss(
        logprobs,
        old,
        advantages,
        mask,
        algorithm=algorithm,
        total_tokens=mask.sum().item(),
        total_sequences=len(mask),
        max_tokens=9,
    )
    assert loss.item() == pytest.approx(slow_twin(logprobs, old, advantages, mask, algorithm, max_tokens=9), rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 7), max_size=4), algorithm=st.sampled_from(ALGORITHMS))
def test_micro_batches_add_up(seed, cuts, algorithm):
    """However a batch is cut and each piece padded, losses and gradients add up to the whole batch's."""
    logprobs, old, advantages, mask = batch(seed, sequences=8)
    totals = {"algorithm": algorithm, "total_tokens": mask.sum().item(), "total_sequences": len(mask)}
    whole = logprobs.clone().requires_grad_()
    loss = gl.rlhf.policy_loss(whole, old, advantages, mask, **totals)
    loss.backward()
    parts = logprobs.clone().requires_grad_()
    total = 0.0
    edges = sorted({0, *cuts, 8})
    for start, stop in itertools.pairwise(edges):
        width = int(mask[start:stop].sum(1).max())
        piece = gl.rlhf.policy_loss(
            parts[start:stop, :width],
            old[start:stop, :width],
            advantages[start:stop],
            mask[start:stop, :width],
            **totals,
        )
        piece.backward()
        total += piece.item()
    assert total == pytest.approx(loss.item(), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(parts.grad, whole.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_on_policy_gradient_raises_the_good_and_lowers_the_bad(algorithm):
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    loss = gl.rlhf.policy_loss(
        logprobs,
        logprobs.detach(),
        torch.tensor([1.0, -1.0]),
        mask,
        algorithm=algorithm,
        total_tokens=5,
        total_sequences=2,
    )
    loss.backward()
    assert logprobs.grad is not None
    assert (logprobs.grad[0] < 0).all()
    assert (logprobs.grad[1, :2] > 0).all()
    assert logprobs.grad[1, 2] == 0


def test_clip_stops_the_gradient_where_the_ratio_has_gone_far_enough():
    logprobs = torch.tensor([[0.5, -0.5]], requires_grad=True)
    old = torch.zeros(1, 2)
    gl.rlhf.policy_loss(
        logprobs, old, torch.tensor([1.0]), torch.ones(1, 2), algorithm="grpo", total_tokens=2, total_sequences=1
    ).backward()
    assert logprobs.grad is not None
    assert logprobs.grad[0, 0] == 0  # already likelier than 1.2 times
    assert logprobs.grad[0, 1] < 0  # less likely than before: pulled back up


def test_dapo_clips_higher_than_grpo():
    logprobs, old = torch.log(torch.tensor([[1.25]])), torch.zeros(1, 1)
    common = {"total_tokens": 1, "total_sequences": 1}
    dapo = gl.rlhf.policy_loss(logprobs, old, torch.ones(1), torch.ones(1, 1), algorithm="dapo", **common)
    grpo = gl.rlhf.policy_loss(logprobs, old, torch.ones(1), torch.ones(1, 1), algorithm="grpo", **common)
    assert dapo.item() == pytest.approx(-1.25)
    assert grpo.item() == pytest.approx(-1.2)


def test_per_token_advantages_equal_one_per_sequence_when_constant():
    logprobs, old, advantages, mask = batch(5)
    for algorithm in ALGORITHMS:
        common = {"algorithm": algorithm, "total_tokens": 10, "total_sequences": 6}
        torch.testing.assert_close(
            gl.rlhf.policy_loss(logprobs, old, advantages[:, None].expand(-1, 5), mask, **common),
            gl.rlhf.policy_loss(logprobs, old, advantages, mask, **common),
        )


def test_masked_places_may_hold_infinities():
    logprobs = torch.tensor([[-1.0, -torch.inf]], requires_grad=True)
    for algorithm in ALGORITHMS:
        loss = gl.rlhf.policy_loss(
            logprobs,
            torch.tensor([[-1.0, -torch.inf]]),
            torch.ones(1),
            torch.tensor([[True, False]]),
            algorithm=algorithm,
            total_tokens=1,
            total_sequences=1,
        )
        loss.backward()
        assert torch.isfinite(loss)
        assert logprobs.grad is not None
        assert torch.isfinite(logprobs.grad).all()


def test_errors_name_what_is_allowed():
    ok = torch.zeros(1, 2)
    with pytest.raises(InputError, match=r"grpo.*given 'a2c'"):
        gl.rlhf.policy_loss(ok, ok, torch.zeros(1), ok, algorithm="a2c", total_tokens=1, total_sequences=1)
    with pytest.raises(InputError, match="positive"):
        gl.rlhf.policy_loss(ok, ok, torch.zeros(1), ok, algorithm="grpo", total_tokens=0, total_sequences=1)
    with pytest.raises(InputError, match="advantages"):
        gl.rlhf.policy_loss(ok, ok, torch.zeros(1, 3), ok, algorithm="grpo", total_tokens=1, total_sequences=1)
    with pytest.raises(InputError, match="alike"):
        gl.rlhf.policy_loss(
            ok, torch.zeros(1, 3), torch.zeros(1), ok, algorithm="grpo", total_tokens=1, total_sequences=1
        )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_gradient_is_that_of_finite_differences(algorithm):
    """On and off the policy that sampled, inside the clip and outside; cispo holds its weight fixed, as its paper."""
    logprobs, old, advantages, mask = batch(5)
    totals = {"algorithm": algorithm, "total_tokens": int(mask.sum()), "total_sequences": len(mask), "max_tokens": 5}
    leaf = logprobs.clone().requires_grad_()
    gl.rlhf.policy_loss(leaf, old, advantages, mask, **totals).backward()
    assert leaf.grad is not None
    if algorithm == "cispo":
        low, high = CLIP_RANGES[algorithm]
        weights = (logprobs - old).exp().clamp(1 - low, 1 + high) * advantages[:, None] * mask / mask.sum()
        torch.testing.assert_close(leaf.grad, -weights)
        return
    step, outside = 1e-6, 0
    for place in itertools.product(*map(range, logprobs.shape)):
        up, down = (logprobs.clone() for _ in range(2))
        up[place] += step
        down[place] -= step
        losses = [gl.rlhf.policy_loss(moved, old, advantages, mask, **totals) for moved in (up, down)]
        finite = float(losses[0] - losses[1]) / (2 * step)
        assert float(leaf.grad[place]) == pytest.approx(finite, abs=1e-8), place
        outside += finite == 0 and bool(mask[place])
    assert (outside > 0) == (algorithm not in ("best_of_n", "online_dpo"))
