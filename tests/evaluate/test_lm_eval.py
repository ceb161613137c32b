"""The harness's three questions, through its own interface or, where it is not installed, a copy of its shape."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gristlm.errors import InputError

if TYPE_CHECKING:
    from conftest import Prepared


INSTALLED = importlib.util.find_spec("lm_eval") is not None


@dataclasses.dataclass(frozen=True)
class Instance:
    args: tuple[Any, ...]


class Hook:
    def __init__(self) -> None:
        self.kept: list[tuple[str, object, object]] = []

    def add_partial(self, kind: str, request: object, answer: object) -> None:
        self.kept.append((kind, request, answer))


def fake() -> dict[str, types.ModuleType]:
    class LM:
        def __init__(self) -> None:
            self.cache_hook = Hook()

    def register_model(*names: str) -> Callable[[type], type]:
        assert names == ("gristlm",)
        return lambda made: made

    modules = {name: types.ModuleType(name) for name in ("lm_eval", "lm_eval.api", "lm_eval.api.model")}
    modules["lm_eval.api.registry"] = types.ModuleType("lm_eval.api.registry")
    modules["lm_eval.api.model"].LM = LM  # type: ignore[attr-defined]
    modules["lm_eval.api.registry"].register_model = register_model  # type: ignore[attr-defined]
    return modules


@pytest.fixture
def model(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    if not INSTALLED:
        for name, module in fake().items():
            monkeypatch.setitem(sys.modules, name, module)
    ours = importlib.import_module("gristlm.evaluate.lm_eval")
    made = ours.GristlmLM(str(prepared.checkpoint), batch_size="auto", max_batch_size=None, num_threads="1")
    made.cache_hook = Hook()
    yield made
    if not INSTALLED:
        del sys.modules["gristlm.evaluate.lm_eval"]


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model._checkpoint.model(torch.tensor([ids]))[0].log_softmax(-1)
    return found


def test_a_continuation_scores_as_its_tokens_do(model: Any) -> None:
    encode = model._checkpoint.tokenizer.encode
    best = "The function number"
    for _ in range(3):  # what the model itself would say, as long as it comes back from text as the same tokens
        best += model._checkpoint.tokenizer.decode([int(logits(model, encode(best))[-1].argmax())])
    pairs = [("The function ", "number 3"), ("", "It raises"), ("What?", " sum"), ("The function number", best[19:])]
    found = model.loglikelihood([Instance(pair) for pair in pairs])
    for (context, continuation), (total, greedy) in zip(pairs, found, strict=True):
        before = len(encode(context.rstrip())) if context else 0
        whole = encode(context + continuation)
        ids = whole if context else [model.eot_token_id, *whole]
        start = before if context else 1
        table = logits(model, ids)
        wanted = [float(table[place - 1, ids[place]]) for place in range(start, len(ids))]
        assert total == pytest.approx(sum(wanted), abs=1e-4)
        assert greedy == all(int(table[place - 1].argmax()) == ids[place] for place in range(start, len(ids)))
    assert [kind for kind, *_ in model.cache_hook.kept] == ["loglikelihood"] * 4


def test_a_text_longer_than_the_context_is_scored_whole(model: Any) -> None:
    text = "The function returns the sum. " * 40
    short, long, empty = model.loglikelihood_rolling([Instance(("The sum",)), Instance((text,)), Instance(("",))])
    ids = [model.eot_token_id, *model._checkpoint.tokenizer.encode("The sum")]
    table = logits(model, ids)
    assert short == pytest.approx(sum(float(table[i - 1, ids[i]]) for i in range(1, len(ids))), abs=1e-4)
    count = len(model._checkpoint.tokenizer.encode(text))
    assert count > 2 * model.max_length
    assert long / count == pytest.approx(short / (len(ids) - 1), rel=0.5)
    assert empty == 0.0


def test_answers_end_before_the_first_stop_and_depend_on_nothing_else(model: Any) -> None:
    contexts = ["The function", "It raises ValueError", "What does number 3 do? " * 20]
    plain = model.generate_until([Instance((context, {"until": [], "max_gen_toks": 12})) for context in contexts])
    assert plain == [
        model.generate_until([Instance((context, {"until": [], "max_gen_toks": 12}))])[0] for context in contexts
    ]
    said = next(text for text in plain if len(text) > 3)
    stop = said[2:4]
    context = contexts[plain.index(said)]
    (cut,) = model.generate_until([Instance((context, {"until": [stop, "\x00"], "max_gen_toks": 12}))])
    assert cut == said[: said.index(stop)]
    sampled = {"until": "\x00", "do_sample": True, "temperature": 1.5, "max_gen_toks": 12}
    twice = [model.generate_until([Instance((contexts[0], sampled))] * 2) for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0][0] != twice[0][1]
    with pytest.raises(InputError, match="beams"):
        model.generate_until([Instance(("x", {"beams": 3}))])


def test_chats_are_rendered_as_the_checkpoint_does(model: Any) -> None:
    text = model.apply_chat_template([{"role": "user", "content": "Hello"}])
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    special = model._checkpoint.tokenizer.special_tokens
    assert model._encode(text)[0] == special["<|im_start|>"]
    with pytest.raises(InputError, match="prefix"):
        model.apply_chat_template([{"role": "assistant", "content": "Hel"}], add_generation_prompt=False)
