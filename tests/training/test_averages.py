"""Averaged weights: the formula, in place and back, there and back from disk."""

import pytest
import torch

from gristlm.errors import DamagedArtifactError
from gristlm.training.averages import Averages


def test_the_formula() -> None:
    module = torch.nn.Linear(3, 2)
    averages = Averages(module, decay=0.9)
    slow = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for step in range(1, 200):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
        averages.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        slow = {name: decay * slow[name] + (1 - decay) * p.detach() for name, p in module.named_parameters()}
    for name, tensor in slow.items():
        torch.testing.assert_close(averages.tensors[name], tensor, rtol=1e-4, atol=1e-5)


def test_in_place_and_back() -> None:
    module = torch.nn.Linear(3, 2)
    averages = Averages(module, decay=0.5)
    with torch.no_grad():
        module.weight.zero_()
    with averages.in_place():
        assert torch.equal(module.weight, averages.tensors["weight"])
    assert not module.weight.any()


def test_those_of_another_model_are_refused() -> None:
    averages = Averages(torch.nn.Linear(3, 2), decay=0.5)
    averages.load({"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
    assert bool((averages.tensors["weight"] == 1).all())
    with pytest.raises(DamagedArtifactError, match="parameters"):
        averages.load({"weight": torch.ones(2, 3)})
    with pytest.raises(DamagedArtifactError, match="shape"):
        averages.load({"weight": torch.ones(3, 3), "bias": torch.zeros(2)})
