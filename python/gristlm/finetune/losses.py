"""Losses over preferences, each a function of log-probabilities of whole answers; a scalar, the mean over the pairs.

Arguments that mean the same in each:

- `chosen_logprobs`, `rejected_logprobs`: float[N], log π(y_w|x) and log π(y_l|x) of the policy.
- `ref_chosen_logprobs`, `ref_rejected_logprobs`: float[N], of the reference model; no gradient flows into them. Left
  out, they count as 0: the reference-free variant.
- `chosen_lengths`, `rejected_lengths`: int[N], tokens of each answer: the log-probabilities are sums, and are divided
  by them (h too). Left out, they are taken as given.
- `beta`: above 0, how strongly the policy is tied to the reference.
- `label_smoothing`: ε in [0, 0.5), the share of pairs whose label is taken to be wrong.

Each raises InputError where shapes differ, half of a pair of arguments is missing, or a number is out of range.

Symbols: y_w chosen, y_l rejected, sigma the logistic function, h the difference of log-ratios

    h = [log π(y_w|x) - log π_ref(y_w|x)] - [log π(y_l|x) - log π_ref(y_l|x)]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gristlm.errors import InputError


def dpo(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    ref_chosen_logprobs: Tensor | None = None,
    ref_rejected_logprobs: Tensor | None = None,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of -(1 - ε) log sigma(β h) - ε log sigma(-β h).

    Rafailov et al. 2023, "Direct Preference Optimization", eq. 7; ε > 0 is the conservative DPO of Mitchell 2023 ("A
    note on DPO with noisy preferences"). With lengths: length-normalised DPO, Lambert et al. 2024 (Tülu 3), section 5.
    """
    _check(beta, label_smoothing)
    h = _difference(
        chosen_logprobs, rejected_logprobs, ref_chosen_logprobs, ref_rejected_logprobs, chosen_lengths, rejected_lengths
    )
    return (-(1 - label_smoothing) * logsigmoid(beta * h) - label_smoothing * logsigmoid(-beta * h)).mean()


def ipo(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    ref_chosen_logprobs: Tensor | None = None,
    ref_rejected_logprobs: Tensor | None = None,
    *,
    beta: float = 0.1,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of (h - 1/(2β))², where β is the paper's τ.

    Azar et al. 2023, "A General Theoretical Paradigm to Understand Learning from Human Preferences", eq. 17. The
    paper's h is of sums; with lengths it is of means per token, as its authors computed it according to TRL.
    """
    _check(beta)
    h = _difference(
        chosen_logprobs, rejected_logprobs, ref_chosen_logprobs, ref_rejected_logprobs, chosen_lengths, rejected_lengths
    )
    return (h - 1 / (2 * beta)).square().mean()


def hinge(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    ref_chosen_logprobs: Tensor | None = None,
    ref_rejected_logprobs: Tensor | None = None,
    *,
    beta: float = 0.1,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of max(0, 1 - β h).

    Liu et al. 2023, "Statistical Rejection Sampling Improves Preference Optimization", the hinge-norm loss; without a
    reference it is the calibration loss of SLiC-HF (Zhao et al. 2023) times β, with margin 1/β.
    """
    _check(beta)
    h = _difference(
        chosen_logprobs, rejected_logprobs, ref_chosen_logprobs, ref_rejected_logprobs, chosen_lengths, rejected_lengths
    )
    return torch.relu(1 - beta * h).mean()


def robust(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    ref_chosen_logprobs: Tensor | None = None,
    ref_rejected_logprobs: Tensor | None = None,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.1,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of [-(1 - ε) log sigma(β h) + ε log sigma(-β h)] / (1 - 2ε), which can be negative.

    Unbiased when a share ε of the labels is flipped: Ray Chowdhury et al. 2024, "Provably Robust DPO", section 3.
    """
    _check(beta, label_smoothing)
    h = _difference(
        chosen_logprobs, rejected_logprobs, ref_chosen_logprobs, ref_rejected_logprobs, chosen_lengths, rejected_lengths
    )
    return (
        (-(1 - label_smoothing) * logsigmoid(beta * h) + label_smoothing * logsigmoid(-beta * h))
        / (1 - 2 * label_smoothing)
    ).mean()


def simpo(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    label_smoothing: float = 0.0,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of -log sigma(z) with z = β (log π(y_w|x) - log π(y_l|x)) - `gamma`, smoothed as in `dpo`.

    Meng et al. 2024, "SimPO", eq. 6; no reference model; `gamma` is the target reward margin. The paper's
    log-probabilities are means per token: give such, or sums and lengths.
    """
    _check(beta, label_smoothing)
    chosen, rejected = _answers(chosen_logprobs, rejected_logprobs, chosen_lengths, rejected_lengths)
    z = beta * (chosen - rejected) - gamma
    return (-(1 - label_smoothing) * logsigmoid(z) - label_smoothing * logsigmoid(-z)).mean()


def orpo(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    *,
    beta: float = 0.1,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of -m_w - β log sigma(log odds(m_w) - log odds(m_l)), with odds(m) = exp m / (1 - exp m).

    Hong et al. 2024, "ORPO", eqs. 4-7 (β is the paper's λ); no reference model. m is the mean log-probability per
    token, below 0: give such, or sums and lengths.
    """
    _check(beta)
    chosen, rejected = _answers(chosen_logprobs, rejected_logprobs, chosen_lengths, rejected_lengths)
    log_odds = (chosen - _log1mexp(chosen)) - (rejected - _log1mexp(rejected))
    return (-chosen - beta * logsigmoid(log_odds)).mean()


def cpo(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    *,
    beta: float = 0.1,
    alpha: float = 1.0,
    label_smoothing: float = 0.0,
    chosen_lengths: Tensor | None = None,
    rejected_lengths: Tensor | None = None,
) -> Tensor:
    """Returns the mean of -log sigma(β (log π(y_w|x) - log π(y_l|x))) - `alpha` log π(y_w|x), smoothed as in `dpo`.

    Xu et al. 2024, "Contrastive Preference Optimization", section 3 (the paper's alpha is 1); no reference model.
    """
    _check(beta, label_smoothing)
    chosen, rejected = _answers(chosen_logprobs, rejected_logprobs, chosen_lengths, rejected_lengths)
    z = beta * (chosen - rejected)
    return (-(1 - label_smoothing) * logsigmoid(z) - label_smoothing * logsigmoid(-z) - alpha * chosen).mean()


def kto(
    chosen_logprobs: Tensor,
    rejected_logprobs: Tensor,
    ref_chosen_logprobs: Tensor | None = None,
    ref_rejected_logprobs: Tensor | None = None,
    *,
    beta: float = 0.1,
    kl: Tensor | float = 0.0,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Returns the mean of λ_D (1 - sigma(β (r_w - z))) over good and λ_U (1 - sigma(β (z - r_l))) over bad answers.

    Ethayarajh et al. 2024, "KTO", eq. 8, up to a constant: r = log π(y|x) - log π_ref(y|x), z = max(0, `kl`). The two
    kinds of answers belong to no pairs: float[N] and float[M], either may be empty.

    Args:
        chosen_logprobs: float[N], of the desirable answers.
        rejected_logprobs: float[M], of the undesirable ones.
        ref_chosen_logprobs: float[N], or None.
        ref_rejected_logprobs: float[M], or None.
        beta: aversion to risk, above 0.
        kl: nats, the estimate of KL(π ‖ π_ref) that rewards are compared with; no gradient flows into it. The paper
            takes it from answers given to other prompts of the batch.
        desirable_weight: λ_D.
        undesirable_weight: λ_U.
    """
    _check(beta)
    z = torch.as_tensor(kl, dtype=chosen_logprobs.dtype, device=chosen_logprobs.device).detach().clamp(min=0)
    chosen = chosen_logprobs - _reference(ref_chosen_logprobs, chosen_logprobs)
    rejected = rejected_logprobs - _reference(ref_rejected_logprobs, rejected_logprobs)
    losses = torch.cat(
        [
            desirable_weight * (1 - torch.sigmoid(beta * (chosen - z))),
            undesirable_weight * (1 - torch.sigmoid(beta * (z - rejected))),
        ]
    )
    if losses.numel() == 0:
        raise InputError("kto needs at least one answer; given none")
    return losses.mean()


def _difference(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor | None,
    ref_rejected: Tensor | None,
    chosen_lengths: Tensor | None,
    rejected_lengths: Tensor | None,
) -> Tensor:
    if (ref_chosen is None) != (ref_rejected is None):
        raise InputError("give the reference's log-probabilities of both answers, or of neither (reference-free)")
    return torch.sub(
        *_answers(
            chosen - _reference(ref_chosen, chosen),
            rejected - _reference(ref_rejected, rejected),
            chosen_lengths,
            rejected_lengths,
        )
    )


def _answers(
    chosen: Tensor, rejected: Tensor, chosen_lengths: Tensor | None, rejected_lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    if chosen.shape != rejected.shape or chosen.dim() != 1 or not len(chosen):
        raise InputError(
            "chosen and rejected need one log-probability per pair, float[N] with N > 0; given "
            f"{list(chosen.shape)} and {list(rejected.shape)}"
        )
    if (chosen_lengths is None) != (rejected_lengths is None):
        raise InputError("give the lengths of both answers, or of neither")
    if chosen_lengths is None or rejected_lengths is None:
        return chosen, rejected
    if chosen_lengths.shape != chosen.shape or rejected_lengths.shape != chosen.shape:
        raise InputError(
            f"lengths need one number per pair ({len(chosen)}); given {list(chosen_lengths.shape)} and "
            f"{list(rejected_lengths.shape)}"
        )
    return chosen / chosen_lengths, rejected / rejected_lengths


def _reference(reference: Tensor | None, policy: Tensor) -> Tensor:
    if reference is None:
        return torch.zeros_like(policy)
    if reference.shape != policy.shape:
        raise InputError(
            f"the reference's log-probabilities have shape {list(reference.shape)}, the policy's {list(policy.shape)}"
        )
    return reference.detach()


def _log1mexp(x: Tensor) -> Tensor:
    """Returns log(1 - exp x) for x below 0, exact near and far from 0 (Mächler 2012, eq. 7); x is kept <= -1e-7."""
    x = x.clamp(max=-1e-7)
    near = x > -0.6931471805599453  # log 2
    return torch.where(
        near, torch.log(-torch.expm1(torch.where(near, x, -1.0))), torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    )


def _check(beta: float, label_smoothing: float = 0.0) -> None:
    if not beta > 0:
        raise InputError(f"beta must be above 0; given {beta}")
    if not 0 <= label_smoothing < 0.5:
        raise InputError(f"label_smoothing must be in [0, 0.5); given {label_smoothing}")
