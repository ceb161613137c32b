"""The engine: requests that come and go between steps, each with its own settings."""

import pytest
import torch
from tiny_models import tiny_model

from gristlm.errors import InputError
from gristlm.model import generation_step
from gristlm.model.generation_engine import Engine, Event, Request
from gristlm.model.sampling import Sampling

MODEL = tiny_model(num_kv_heads=2, eos_token_ids=(3,))
REQUESTS = [
    Request([1, 2, 5], Sampling(20, temperature=0.7, ignore_eos=True), seed=1),
    Request([7, 8, 9, 10], Sampling(5, top_k=3, ignore_eos=True), seed=2),
    Request([1, 2, 5], Sampling(12, temperature=0.0), seed=3),
    Request(list(range(30)), Sampling(60, min_p=0.01, stop=(50, [4, 5])), seed=4),
    Request([1, 2, 5], Sampling(20, temperature=0.7, ignore_eos=True), seed=1, sample=1),
]


def drain(engine: Engine, into: dict[int, list[Event]]) -> None:
    while len(engine):
        for event in engine.step():
            into.setdefault(event.handle, []).append(event)


def alone(request: Request) -> list[int]:
    engine, found = Engine(MODEL), {}
    handle = engine.add(request)
    drain(engine, found)
    return [event.token for event in found[handle]]


@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("cache_bytes", [None, 60 * 2 * 2 * 2 * 16 * 4])
def test_requests_that_come_between_steps_get_what_they_get_alone(gap: int, cache_bytes: int | None) -> None:
    engine, found = Engine(MODEL, cache_bytes=cache_bytes), {}
    handles = []
    for request in REQUESTS:
        handles.append(engine.add(request))
        for _ in range(gap):
            for event in engine.step():
                found.setdefault(event.handle, []).append(event)
    drain(engine, found)
    for request, handle in zip(REQUESTS, handles, strict=True):
        events = found[handle]
        assert [event.token for event in events] == alone(request)
        assert [event.finish_reason is None for event in events] == [True] * (len(events) - 1) + [False]
    assert engine.step() == []


def test_a_cancelled_request_is_silent_and_disturbs_nobody() -> None:
    engine, found = Engine(MODEL), {}
    handles = [engine.add(request) for request in REQUESTS]
    engine.cancel(handles[1])
    for _ in range(3):
        for event in engine.step():
            found.setdefault(event.handle, []).append(event)
    engine.cancel(handles[0])
    engine.cancel(handles[0])
    drain(engine, found)
    assert handles[1] not in found
    assert len(found[handles[0]]) == 3
    for place in (2, 3, 4):
        assert [event.token for event in found[handles[place]]] == alone(REQUESTS[place])


def test_a_group_is_prefilled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    original = generation_step.Step.__call__

    def counted(self, ids_T, *places):
        computed.append(len(ids_T))
        return original(self, ids_T, *places)

    monkeypatch.setattr(generation_step.Step, "__call__", counted)
    MODEL.generate([[5, 6, 7, 8], [9] * 9], max_new_tokens=1, n=8, seed=1)
    assert computed == [13]


def test_the_laid_out_network_is_the_plain_one() -> None:
    """With and without: the same tokens, log-probabilities to rounding; and new weights only after `refresh`."""
    model = tiny_model(num_kv_heads=2)
    request = Request([1, 2, 5], Sampling(30, ignore_eos=True), seed=5)
    found: dict[int, list[Event]] = {}
    engine = Engine(model)
    first = engine.add(request)
    drain(engine, found)
    engine._step = None
    second = engine.add(request)
    drain(engine, found)
    assert [event.token for event in found[first]] == [event.token for event in found[second]]
    assert [event.logprob for event in found[first]] == pytest.approx(
        [event.logprob for event in found[second]], abs=1e-5
    )
    engine.refresh()
    with torch.no_grad():
        model.embed_tokens.weight.neg_()
    engine.refresh()
    third = engine.add(request)
    drain(engine, found)
    assert [event.token for event in found[third]] == model.generate(
        [[1, 2, 5]], max_new_tokens=30, seed=5, ignore_eos=True
    )[0][0].tokens


@pytest.mark.parametrize(
    "shape", [{"sliding_window": 6}, {"smear": True}, {"logit_softcap": 5.0}, {"value_embeddings": True}]
)
def test_unusual_shapes_equal_the_whole_forward_pass(shape: dict[str, object]) -> None:
    model = tiny_model(**shape)
    prompts = [[1, 2, 5], [7, 8, 9, 10, 11, 12, 13, 14, 15]]
    with torch.no_grad():
        if model.smear_gate is not None:
            model.smear_gate.fill_(0.5)
    groups = model.generate(prompts, max_new_tokens=20, seed=1, ignore_eos=True, logprobs=True)
    for prompt, group in zip(prompts, groups, strict=True):
        ids = torch.tensor([prompt + group[0].tokens])
        with torch.no_grad():
            expected = model.token_logprobs(ids[:, :-1], ids[:, 1:])[0, len(prompt) - 1 :]
        assert group[0].logprobs == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_wrong_request_leaves_the_engine_as_it_was() -> None:
    engine = Engine(MODEL)
    with pytest.raises(InputError, match="vocabulary"):
        engine.add(Request([97], Sampling(3)))
    assert len(engine) == 0
