"""Our losses give TRL's values and gradients: its own loss methods, called on log-probabilities of our making.

A trainer is stood in for by the attributes that its loss method reads, and the model by one that answers with given
log-probabilities of tokens, so no part of TRL but the loss is in question. What each library feeds its loss differs in
two places, which the two tests of ORPO and CPO name.
"""

import warnings
from collections import defaultdict
from types import MethodType, SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl", reason="TRL is not installed")

from gristlm.finetune import losses  # noqa: E402

PAIRS, LONGEST = 7, 12


@pytest.fixture(scope="module")
def trainers():
    """TRL's trainers by name; a version that keeps its losses elsewhere is skipped by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from trl import DPOTrainer, KTOTrainer
            from trl.experimental.cpo import CPOTrainer
            from trl.experimental.orpo import ORPOTrainer

            found = {"dpo": DPOTrainer, "kto": KTOTrainer, "cpo": CPOTrainer, "orpo": ORPOTrainer}
            methods = {name: trainer._compute_loss for name, trainer in found.items() if name in ("dpo", "kto")}
            methods |= {"cpo": CPOTrainer.cpo_loss, "orpo": ORPOTrainer.odds_ratio_loss}
        except (ImportError, AttributeError) as error:
            pytest.skip(f"TRL {trl.__version__} has its losses elsewhere: {error}")
    return found


class Numbers:
    """Random log-probabilities of the tokens of answers of different lengths: all chosen, then all rejected."""

    def __init__(self, seed=0, count=2 * PAIRS):
        generator = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(1, LONGEST + 1, (count,), generator=generator)
        self.mask = torch.arange(LONGEST)[None] < self.lengths[:, None]
        drawn = [-4 * torch.rand(count, LONGEST, generator=generator, dtype=torch.float64) - 0.01 for _ in range(2)]
        self.tokens = (drawn[0] * self.mask).requires_grad_()
        self.reference = (drawn[1] * self.mask).sum(1)

    @property
    def sums(self):
        return self.tokens.sum(1)

    def pair(self, normalised=False):
        """What our losses take: chosen, rejected and the lengths where they count."""
        lengths = dict(zip(("chosen_lengths", "rejected_lengths"), self.lengths.chunk(2), strict=True))
        return self.sums.chunk(2), lengths if normalised else {}

    def inputs(self):
        """TRL's batch: a prompt of one token before each answer."""
        mask = torch.cat([torch.zeros(len(self.mask), 1, dtype=torch.long), self.mask.long()], 1)
        return {"input_ids": torch.zeros_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask}

    def model(self, **arguments):
        """Answers as TRL's patched model does."""
        zeros = torch.zeros_like(self.tokens)
        return SimpleNamespace(log_probs=self.tokens, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())


def stand_in(**attributes):
    accelerator = SimpleNamespace(device="cpu", gather=lambda tensor: tensor, gather_for_metrics=lambda tensor: tensor)
    return SimpleNamespace(
        model=SimpleNamespace(training=True), accelerator=accelerator, aux_loss_enabled=False,
        precompute_ref_logps=True, _metrics=defaultdict(lambda: defaultdict(list)), _total_train_tokens=0, _tp_size=1,
        **attributes,
    )  # fmt: skip


def assert_equal(numbers, ours, theirs, tolerance=1e-12):
    assert ours.item() == pytest.approx(theirs.item(), rel=tolerance, abs=tolerance)
    gradients = [torch.autograd.grad(loss, numbers.tokens, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=10 * tolerance, atol=tolerance)


def dpo_of_trl(trainers, numbers, kind, beta, label_smoothing=0.0):
    chosen, rejected = numbers.reference.chunk(2)
    trainer = stand_in(
        ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[kind], loss_weights=[1.0], use_weighting=False,
        beta=beta, label_smoothing=label_smoothing,
    )  # fmt: skip
    batch = {**numbers.inputs(), "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    return trainers["dpo"]._compute_loss(trainer, numbers.model, batch, False)


@pytest.mark.parametrize("beta", [0.01, 0.1, 0.7, 3.0])
@pytest.mark.parametrize(
    ("kind", "name", "normalised"),
    [
        ("sigmoid", "dpo", False),
        ("sigmoid_norm", "dpo", True),
        ("hinge", "hinge", False),
        ("ipo", "ipo", True),  # TRL's is always of means per token
    ],
)
def test_losses_with_a_reference(trainers, kind, name, normalised, beta):
    numbers = Numbers(seed=1)
    pair, lengths = numbers.pair(normalised)
    ours = getattr(losses, name)(*pair, *numbers.reference.chunk(2), beta=beta, **lengths)
    assert_equal(numbers, ours, dpo_of_trl(trainers, numbers, kind, beta))


@pytest.mark.parametrize("beta", [0.1, 0.7])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.25, 0.45])
def test_losses_with_doubtful_labels(trainers, beta, label_smoothing):
    numbers = Numbers(seed=2)
    pair, _ = numbers.pair()
    ours = losses.robust(*pair, *numbers.reference.chunk(2), beta=beta, label_smoothing=label_smoothing)
    assert_equal(numbers, ours, dpo_of_trl(trainers, numbers, "robust", beta, label_smoothing))
    # TRL's sigmoid takes no smoothing, but its "aot" of a single pair is that
    one = Numbers(seed=3, count=2)
    ours = losses.dpo(*one.pair()[0], *one.reference.chunk(2), beta=beta, label_smoothing=label_smoothing)
    assert_equal(one, ours, dpo_of_trl(trainers, one, "aot", beta, label_smoothing))


@pytest.mark.parametrize("beta", [0.1, 0.9])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.33, 0.5)])
@pytest.mark.parametrize("drift", [-3.0, 0.0, 2.0])
def test_kto(trainers, beta, weights, drift):
    numbers = Numbers(seed=4)
    good = torch.arange(2 * PAIRS) % 3 == 0
    of_others = numbers.reference + drift  # log-probabilities of answers to other prompts
    trainer = stand_in(
        loss_type="kto", calculate_KL=True, beta=beta, desirable_weight=weights[0], undesirable_weight=weights[1],
        _compute_kl_logps=lambda model, batch: of_others,
    )  # fmt: skip
    batch = {**numbers.inputs(), "label": good, "ref_logps": numbers.reference, "ref_KL_logps": numbers.reference}
    theirs = trainers["kto"]._compute_loss(trainer, numbers.model, batch, False)
    ours = losses.kto(
        numbers.sums[good], numbers.sums[~good], numbers.reference[good], numbers.reference[~good], beta=beta, kl=drift,
        desirable_weight=weights[0], undesirable_weight=weights[1],
    )  # fmt: skip
    assert_equal(numbers, ours, theirs)


def loss_of_trl(trainer_class, method, chosen, rejected, nll, **attributes):
    trainer = stand_in(concatenated_forward=lambda model, batch: (chosen, rejected, nll, nll, nll), **attributes)
    setattr(trainer, method, MethodType(getattr(trainer_class, method), trainer))
    return trainer_class.get_batch_loss_metrics(trainer, None, {})[0]


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_orpo_but_for_the_prompt_whose_likelihood_trl_learns_too(trainers, beta):
    numbers = Numbers(seed=5)
    pair, lengths = numbers.pair(normalised=True)
    means = [side / length for side, length in zip(pair, lengths.values(), strict=True)]
    theirs = loss_of_trl(trainers["orpo"], "odds_ratio_loss", *means, -means[0].mean(), beta=beta)
    assert_equal(numbers, losses.orpo(*pair, beta=beta, **lengths), theirs, 1e-6)  # TRL's is in float32


@pytest.mark.parametrize("beta", [0.1, 2.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_cpo_but_for_the_likelihood_which_trl_takes_per_token(trainers, beta, label_smoothing, weight):
    numbers = Numbers(seed=6)
    pair, _ = numbers.pair()
    settings = {"loss_type": "sigmoid", "alpha": 0.0, "beta": beta, "label_smoothing": label_smoothing}
    theirs = loss_of_trl(trainers["cpo"], "cpo_loss", *pair, -pair[0].mean(), cpo_alpha=weight, **settings)
    assert_equal(numbers, losses.cpo(*pair, beta=beta, alpha=weight, label_smoothing=label_smoothing), theirs)


@pytest.mark.parametrize("beta", [0.5, 2.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.6])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_simpo(trainers, beta, gamma, label_smoothing):
    numbers = Numbers(seed=7)
    pair, lengths = numbers.pair(normalised=True)
    means = [side / length for side, length in zip(pair, lengths.values(), strict=True)]
    settings = {"loss_type": "simpo", "alpha": 0.0, "beta": beta, "label_smoothing": label_smoothing}
    settings |= {"simpo_gamma": gamma, "cpo_alpha": 0.0}
    theirs = loss_of_trl(trainers["cpo"], "cpo_loss", *means, torch.zeros(()), **settings)
    ours = losses.simpo(*pair, beta=beta, gamma=gamma, label_smoothing=label_smoothing, **lengths)
    assert_equal(numbers, ours, theirs)
