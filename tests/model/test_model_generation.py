"""Generation: seeds, batches, stops, log-probabilities, and a slow twin."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_model

from gristlm.errors import InputError, TrainingError
from gristlm.model import Model, generation_engine
from gristlm.model.sampling import row_key, uniforms

MODEL = tiny_model(num_kv_heads=2, eos_token_ids=(3,))
PROMPTS = [[1, 2, 5], [5], [7, 8, 9, 10, 11, 12, 13], [1, 2, 5], list(range(20))]


def slow(model: Model, prompt: list[int], *, new: int, seed: int, sample: int, temperature: float) -> list[int]:
    """Generates without a cache, one prompt at a time, by the definition of inverse sampling."""
    tokens: list[int] = []
    key = row_key(seed, sample)
    for position in range(new):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens]))[0, -1].double()
        if temperature == 0:
            tokens.append(int(logits.argmax()))
        else:
            uniform = float(uniforms(_u64(key), _u64(position))[0])
            total, weights = 0.0, (logits / temperature).softmax(-1).tolist()
            for token, weight in enumerate(weights):  # noqa: B007 - the loop leaves at the sampled token
                total += weight
                if uniform < total:
                    break
            tokens.append(token)
        if tokens[-1] in model.config.eos_token_ids:
            break
    return tokens


def _u64(value: int) -> np.ndarray:
    return np.array([value], np.uint64)


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_equals_the_slow_twin(temperature: float) -> None:
    groups = MODEL.generate(PROMPTS, max_new_tokens=25, n=2, temperature=temperature, seed=4)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for sample, completion in enumerate(group):
            assert completion.tokens == slow(MODEL, prompt, new=25, seed=4, sample=sample, temperature=temperature)
            assert completion.finish_reason == ("stop" if completion.tokens[-1] == 3 else "length")
            assert completion.logprobs is None


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    n=st.integers(1, 3),
    cache_rows=st.integers(1, 8),
    seed=st.integers(0, 2**63),
)
def test_neighbours_and_cache_size_change_nothing(lengths: list[int], n: int, cache_rows: int, seed: int) -> None:
    prompts = [[(7 * i + j) % 97 for j in range(length)] for i, length in enumerate(lengths)]
    seeds = [seed + i for i in range(len(prompts))]
    together = MODEL.generate(prompts, max_new_tokens=12, n=n, seed=seeds)
    budget, generation_engine.CACHE_BYTES = generation_engine.CACHE_BYTES, cache_rows * 52 * 2 * 2 * 2 * 16 * 4
    try:
        crowded = MODEL.generate(prompts, max_new_tokens=12, n=n, seed=seeds)
    finally:
        generation_engine.CACHE_BYTES = budget
    alone = [
        MODEL.generate([prompt], max_new_tokens=12, n=n, seed=one)[0]
        for prompt, one in zip(prompts, seeds, strict=True)
    ]
    assert together == alone == crowded


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_equal_the_trainers(temperature: float) -> None:
    groups = MODEL.generate(PROMPTS, max_new_tokens=30, n=3, temperature=temperature, seed=9, logprobs=True, top_p=0.9)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for completion in group:
            ids = torch.tensor([prompt + completion.tokens])
            with torch.no_grad():
                logprobs = MODEL.token_logprobs(ids[:, :-1], ids[:, 1:], temperature=temperature)[0, len(prompt) - 1 :]
            assert completion.logprobs is not None
            assert (logprobs - torch.tensor(completion.logprobs)).abs().max() <= 1e-5


def test_seeds() -> None:
    same = MODEL.generate([[1, 2], [1, 2]], max_new_tokens=20, seed=1)
    assert same[0] == same[1]
    pair = MODEL.generate([[1, 2], [1, 2]], max_new_tokens=20, seed=[1, 2])
    assert pair[0] == same[0]
    assert pair[0] != pair[1]
    samples = MODEL.generate([[1, 2]], max_new_tokens=20, seed=1, n=4)[0]
    assert samples[0] == same[0][0]
    assert len({tuple(sample.tokens) for sample in samples}) == 4
    assert MODEL.generate([[1, 2]], max_new_tokens=20) != MODEL.generate([[1, 2]], max_new_tokens=20)
    assert MODEL.generate([], max_new_tokens=3) == []


def test_stream_yields_what_generate_returns() -> None:
    whole = MODEL.generate([[5, 6]], max_new_tokens=40, seed=3)[0][0]
    stream = MODEL.stream([5, 6], max_new_tokens=40, seed=3)
    assert next(stream) == whole.tokens[0]
    assert torch.is_grad_enabled(), "a stream in use leaves the caller's gradients alone"
    assert list(stream) == whole.tokens[1:]


def test_stops() -> None:
    plain = MODEL.generate([[5, 6]], max_new_tokens=40, seed=3, ignore_eos=True)[0][0].tokens
    assert len(plain) == 40
    by_id = MODEL.generate([[5, 6]], max_new_tokens=40, seed=3, ignore_eos=True, stop=[plain[7]])[0][0]
    assert by_id.tokens == plain[: plain.index(plain[7]) + 1]
    assert by_id.finish_reason == "stop"
    by_sequence = MODEL.generate([[5, 6]], max_new_tokens=40, seed=3, ignore_eos=True, stop=[plain[7:10]])[0][0]
    assert by_sequence.tokens == plain[:10]
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        MODEL.generate([[5]], max_new_tokens=3, stop=["end"])
    with pytest.raises(InputError, match="empty"):
        MODEL.generate([[5]], max_new_tokens=3, stop=[""])


def test_a_stop_string_may_begin_inside_a_token(tmp_path: Path) -> None:
    vocab = {f"t{i}": i for i in range(97)} | {"Ġa": 0}
    body = {
        "model": {"vocab": vocab},
        "added_tokens": [{"id": 3, "content": "<end>"}],
        "decoder": {"type": "ByteLevel"},
    }
    MODEL.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(body))
    model = Model.from_pretrained(tmp_path)
    plain = model.generate([[5, 6]], max_new_tokens=40, seed=3, ignore_eos=True)[0][0].tokens
    first, second = (f"t{token}" for token in plain[6:8])
    stopped = model.generate([[5, 6]], max_new_tokens=40, seed=3, ignore_eos=True, stop=[first[-1] + second[:2]])[0][0]
    text = "".join(f"t{token}" for token in stopped.tokens)
    assert first[-1] + second[:2] in text
    assert first[-1] + second[:2] not in "".join(f"t{token}" for token in stopped.tokens[:-1])


def test_the_context_ends_a_completion() -> None:
    long = [5] * 120
    completion = MODEL.generate([long, [5]], max_new_tokens=50, seed=1, ignore_eos=True)
    assert [len(group[0].tokens) for group in completion] == [8, 50]
    assert completion[0][0].finish_reason == "length"


@pytest.mark.parametrize(
    ("prompts", "options", "named"),
    [
        ([[]], {}, "prompt 0"),
        ([[1], [5] * 128], {}, "prompt 1"),
        ([[97]], {}, "vocabulary"),
        ([[-1]], {}, "vocabulary"),
        ([[1]], {"n": 0}, "n is 0"),
        ([[1]], {"seed": [1, 2]}, "2 seeds"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens"),
        ([[1]], {"temperature": -1.0}, "temperature"),
        ([[1]], {"temperature": math.nan}, "temperature"),
        ([[1]], {"top_k": 0}, "top_k"),
        ([[1]], {"top_p": 0.0}, "top_p"),
        ([[1]], {"min_p": 2.0}, "min_p"),
    ],
)
def test_wrong_settings_are_named(prompts: list[list[int]], options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        MODEL.generate(prompts, **{"max_new_tokens": 3, **options})


def test_damaged_weights_are_an_error_not_a_token() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.norm.weight[0] = math.nan
    with pytest.raises(TrainingError, match="not finite"):
        model.generate([[1]], max_new_tokens=3)
