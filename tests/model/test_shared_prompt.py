"""Sequences that share their beginnings, against each computed alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gristlm.errors import InputError  # noqa: E402
from gristlm.model import Model, ModelConfig  # noqa: E402
from gristlm.model.shared_prompt import lay_out  # noqa: E402

CPU = torch.device("cpu")
SHAPE = ModelConfig(vocab_size=90, num_layers=2, d_model=32, num_heads=4, num_kv_heads=2, max_seq_len=200)


def model_of(shape, seed):
    model = Model(shape, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.05)
    return model


def groups(draw, template=0):
    """Groups of 1 to 6 answers to a prompt, in random order, and how many ids each may share."""
    sequences, most = [], []
    start = draw.integers(0, 90, template)
    for size in (1, 6, 2, 3, 1):
        prompt = np.r_[start, draw.integers(0, 90, draw.integers(1, 40))]
        for _ in range(size):
            sequences.append([*prompt.tolist(), *draw.integers(0, 90, draw.integers(0, 30)).tolist()])
            most.append(int(draw.integers(0, len(prompt) + 1)) if draw.random() < 0.2 else len(prompt) - 1)
    order = draw.permutation(len(sequences))
    return [sequences[i] for i in order], [most[i] for i in order]


@pytest.mark.parametrize("template", [0, 8])
@pytest.mark.parametrize("kind", [{}, {"sliding_window": 5}, {"smear": True}, {"num_kv_heads": 4}])
def test_shared_sequences_have_the_values_and_gradients_of_each_alone(kind, template):
    for seed in range(3):
        draw = np.random.default_rng(seed)
        model = model_of(SHAPE.model_copy(update=kind), seed)
        sequences, most = groups(draw, template)
        layout = lay_out(sequences, most, config=model.config, device=CPU)
        total = sum(map(len, sequences))
        assert (layout.input_ids.numel() < 0.8 * total) != ("smear" in kind)
        assert [layout.input_ids[0, flat].tolist() for flat in layout.flats] == sequences
        assert all(layout.position_ids[0, flat].tolist() == list(range(len(flat))) for flat in layout.flats)
        owned = np.concatenate([flat[limit:] for flat, limit in zip(layout.flats, most, strict=True)])
        assert len(owned) == len(set(owned.tolist())), "what may not be shared is each sequence's own"
        weights = [torch.from_numpy(draw.normal(size=(len(ids), 32)).astype(np.float32)) for ids in sequences]
        results = []
        for shared in (True, False):
            model.zero_grad()
            if shared:
                hidden = model.hidden_states(layout.input_ids, position_ids=layout.position_ids, attend=layout.attend)[
                    0
                ]
                outputs = [hidden[flat] for flat in layout.flats]
            else:
                outputs = [model.hidden_states(torch.tensor([ids]))[0] for ids in sequences]
            sum((out * weight).sum() for out, weight in zip(outputs, weights, strict=True)).backward()
            gradients = [None if part.grad is None else part.grad.clone() for part in model.parameters()]
            results.append(([out.detach() for out in outputs], gradients))
        for one, other in zip(*(outputs for outputs, _ in results), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
        for one, other in zip(*(gradients for _, gradients in results), strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-3)


def test_the_answers_to_one_prompt_go_together_and_a_common_template_does_not_part_them():
    draw = np.random.default_rng(0)
    template = [1, 2, 3]
    prompts = [[*template, *draw.integers(5, 90, 20).tolist()] for _ in range(5)]
    sequences = [[*prompt, *draw.integers(5, 90, 9).tolist()] for prompt in prompts for _ in range(4)]
    layout = lay_out(sequences, [len(prompts[0]) - 1] * 20, config=SHAPE, device=CPU)
    assert layout.input_ids.numel() == 5 * 22 + 20 * 10
    assert len(layout.attend.copies) == 3


def test_equal_sequences_are_computed_once_and_long_ones_are_refused():
    layout = lay_out([[1, 2, 3]] * 4, [3] * 4, config=SHAPE, device=CPU)
    assert layout.input_ids.tolist() == [[1, 2, 3]]
    hidden = Model(SHAPE).hidden_states(layout.input_ids, position_ids=layout.position_ids, attend=layout.attend)
    assert hidden.shape == (1, 3, 32)
    with pytest.raises(InputError, match="sequence of 201 tokens is longer"):
        lay_out([[1], [1] * 201], [1, 1], config=SHAPE, device=CPU)
