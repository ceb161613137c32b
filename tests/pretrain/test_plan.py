"""The plan's figures are those of the network: counted on fake tensors, where nothing is computed."""

from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from gristlm.cli.recipe import Recipe
from gristlm.errors import InputError
from gristlm.model import Model, head, products
from gristlm.pretrain import plan as planning
from gristlm.runs import recipe
from gristlm.training import flops, optimizer


def config_of(name: str) -> planning.PretrainConfig:
    whole = recipe.load(recipe.locate(name), Recipe, {})
    assert whole.tokenizer is not None
    config = whole.pretrain_config()
    shape = config.model.model_copy(update={"vocab_size": whole.tokenizer.vocab_size})
    return config.model_copy(update={"model": shape})


@pytest.mark.parametrize(("name", "parameters"), [("gpt2-124m", 124e6), ("1b", 1e9)])
def test_a_recipe_is_as_large_as_its_name(name: str, parameters: float) -> None:
    config = config_of(name)
    with torch.device("meta"):
        model = Model(config.model)
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert counted == planning.plan(config).parameters
    assert counted == pytest.approx(parameters, rel=0.05)


def test_one_step_of_the_1b_recipe_is_as_planned() -> None:
    config = config_of("1b")
    rows, length = 2, config.seq_len
    products.linear(torch.ones(16, 16), torch.ones(16, 16))  # decides, on real numbers, which library multiplies
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = Model(config.model)
        optim = optimizer.build(model, learning_rate=1e-3, kind=config.optimizer)
        ids = torch.zeros(rows, length, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            x_MD = model.hidden_states(ids).flatten(0, 1)
            assert x_MD.shape == (rows * length, config.model.d_model)
            loss, _ = head.summed_loss(x_MD, model.output_weight, ids.flatten(), divisor=1.0)
            torch.autograd.backward(loss)
        weights = sum(parameter.nbytes for parameter in model.parameters())
        gradients = sum(parameter.grad.nbytes for parameter in model.parameters() if parameter.grad is not None)
        optim.step()
        state = sum(value.nbytes for name, value in optim.state_tensors().items() if not name.endswith("/step"))
    planned = planning.plan(config.model_copy(update={"micro_batch_size": rows}))
    assert weights + gradients + state == planned.state_bytes
    # Attention is planned over the half of a row that is seen; the counter takes all of it, and its backward pass
    # counts the scores once more.
    shape = config.model
    matrices = rows * length * flops.per_token(shape, 0)
    attention = 12.0 * shape.num_layers * shape.num_heads * shape.head_dim * length * rows * length
    counted = counter.get_total_flops()
    assert matrices < counted <= (matrices + attention * 7 / 6) * 1.01
    assert counted == pytest.approx(matrices + attention * 7 / 6, rel=0.05)


def test_a_shape_for_a_size() -> None:
    assert planning.shape_for(124_000_000).num_parameters() == pytest.approx(124e6, rel=0.02)


@pytest.mark.parametrize("text", ["", "124Q", "-3M", "M", "nan"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(InputError, match="124M"):
        planning.amount(text)


def test_the_plan_is_printed() -> None:
    text = planning.plan(config_of("1b"), gpus=8).to_text()
    assert "parameters" in text
    assert "GB" in text
    assert Path(recipe.locate("1b")).is_file()
