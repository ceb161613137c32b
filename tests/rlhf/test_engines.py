"""Sampling elsewhere: a server's protocol and its garbage, Ray actors, and the correction that both need."""

import http.server
import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gristlm as gl
from gristlm.errors import ConfigError, TrainingError
from gristlm.model import Completion
from gristlm.rlhf import RLHFConfig
from gristlm.rlhf.correction import corrected
from gristlm.rlhf.data import Prompt
from gristlm.rlhf.engines import KEY, RayEngine, ServerEngine, connect
from gristlm.rlhf.rollouts import EncodedPrompt, Rollout, Scored

Handle = Callable[[str, Any], Any]


@pytest.fixture
def served() -> Iterator[Callable[[Handle], str]]:
    """Starts a server on loopback that answers with what a function of (path, body) returns."""
    servers = []

    def start(handle: Handle) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def do_GET(self) -> None:
                self._answer(None)

            def _answer(self, body: Any) -> None:
                found = handle(self.path, body)
                data = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def answers(model: gl.Model, loaded: list[str]) -> Handle:
    """A server with a model of ours behind it; `loaded` gets the paths it was told to read."""
    held = {"model": model}

    def handle(path: str, body: Any) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "ours"}]}
        if path == "/update":
            loaded.append(body["model_path"])
            held["model"] = gl.Model.from_pretrained(body["model_path"])
            return {}
        group = held["model"].generate(
            [body["prompt"]], max_new_tokens=body["max_tokens"], n=body["n"], seed=body["seed"], logprobs=True
        )[0]
        return {
            "choices": [
                {
                    "index": index,
                    "token_ids": one.tokens,
                    "prompt_token_ids": body["prompt"],
                    "logprobs": {"token_logprobs": one.logprobs},
                    "finish_reason": one.finish_reason,
                }
                for index, one in enumerate(group)
            ]
        }

    return handle


def settings(likes_e: str, **changes: object) -> RLHFConfig:
    small = {"steps": 6, "prompts_per_step": 4, "group_size": 8, "max_new_tokens": 8, "learning_rate": 3e-2}
    return RLHFConfig.model_validate(
        {**small, "kl_coef": 0.01, "num_threads": 1, "checkpoint_every": 4, "rewards": {likes_e: 1.0}, **changes}
    )


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_server_that_takes_new_weights_trains_as_the_process_itself(served, checkpoint, prompts, likes_e, tmp_path):
    loaded: list[str] = []
    url = served(answers(gl.Model.from_pretrained(checkpoint), loaded))
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    config = settings(likes_e, engine=url, engine_reload="/update", steps=20)
    manifest = gl.rlhf.run(config, inputs, tmp_path / "run")
    assert manifest.counts["reward_after"] > manifest.counts["reward_before"] + 0.2
    assert len(loaded) == 20
    steps = [row for row in metrics(tmp_path / "run") if "loss" in row]
    assert all(row["importance"] == pytest.approx(1, abs=1e-4) and row["engine_kl"] < 1e-8 for row in steps)


def test_a_server_with_old_weights_is_corrected_for(served, checkpoint, prompts, likes_e, tmp_path):
    url = served(answers(gl.Model.from_pretrained(checkpoint), []))
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    gl.rlhf.run(settings(likes_e, engine=url), inputs, tmp_path / "run")
    steps = [row for row in metrics(tmp_path / "run") if "loss" in row]
    assert steps[0]["engine_kl"] < 1e-8
    assert steps[-1]["engine_kl"] > 1e-3
    assert all(row["importance_capped"] < 0.5 for row in steps)


def test_a_server_that_turns_to_garbage_ends_the_run_where_it_was(served, checkpoint, prompts, likes_e, tmp_path):
    honest, asked = answers(gl.Model.from_pretrained(checkpoint), []), [0]

    def turns(path: str, body: Any) -> Any:
        asked[0] += path == "/v1/completions"
        return {"choices": "oops"} if asked[0] > 2 * 4 else honest(path, body)

    with pytest.raises(TrainingError, match="nothing of it was learned"):
        gl.rlhf.run(
            settings(likes_e, engine=served(turns), checkpoint_every=1),
            {"checkpoint": checkpoint, "prompts": prompts},
            tmp_path / "run",
        )
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000001",
        "step-00000002",
    ]


def test_tokens_count_by_how_much_likelier_the_trainer_finds_them(checkpoint):
    """min(p_trainer/p_engine, cap) on each token's advantage, and the trainer's log-probabilities from there on."""
    model = gl.Model.from_pretrained(checkpoint)
    asked = EncodedPrompt(Prompt([{"role": "user", "content": "a"}], {}), [5, 6])
    tokens = model.generate([asked.ids], max_new_tokens=4, n=1, seed=0, logprobs=True)[0][0]
    assert tokens.logprobs is not None
    shifts = [0.0, -0.5, -3.0, 1.0]  # what the engine found them less likely by
    engine = [own + shift for own, shift in zip(tokens.logprobs, shifts, strict=False)]
    one = Rollout(asked, tokens.tokens, engine, "length", "")
    scored = Scored([one], [engine], {}, *(np.zeros(1) for _ in range(3)))
    config = RLHFConfig(importance_cap=2.0)
    found, advantages, figures = corrected(model, scored, [[1.0, 1.0, 1.0, -2.0]], config)
    wanted = [1.0, math.exp(0.5), 2.0, -2.0 * math.exp(-1.0)]
    assert advantages[0] == pytest.approx(wanted, rel=1e-4)
    assert found.rollouts[0].logprobs == pytest.approx(tokens.logprobs, abs=1e-5)
    assert figures["importance_capped"] == 0.25
    ratios = [1.0, math.exp(0.5), math.exp(3.0), math.exp(-1.0)]
    assert figures["engine_kl"] == pytest.approx(np.mean([r - 1 - math.log(r) for r in ratios]), rel=1e-3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>", "no JSON"),
        ({"error": "no"}, "no list of choices"),
        ({"choices": []}, "0 answers where 2"),
        ({"choices": [{"text": "a"}] * 2}, "return_token_ids"),
        ({"choices": [{"token_ids": [1, 2], "logprobs": {"token_logprobs": [-1.0]}}] * 2}, "2 tokens with 1"),
        ({"choices": [{"token_ids": [999], "logprobs": {"token_logprobs": [-1.0]}}] * 2}, "ids below 280"),
        ({"choices": [{"token_ids": ["a"], "logprobs": {"token_logprobs": [-1.0]}}] * 2}, "ids below 280"),
        ({"choices": [{"token_ids": [1] * 9, "logprobs": {"token_logprobs": [-1.0] * 9}}] * 2}, "1 to 4 ids"),
        ({"choices": [{"token_ids": [], "logprobs": {"token_logprobs": []}}] * 2}, "0 tokens"),
        (b'{"choices": [{"token_ids": [1], "logprobs": {"token_logprobs": [NaN]}}, {}]}', "at most 0"),
        ({"choices": [{"token_ids": [1], "logprobs": {"token_logprobs": [3.0]}}] * 2}, "at most 0"),
        (
            {"choices": [{"token_ids": [1], "prompt_token_ids": [9], "logprobs": {"token_logprobs": [-1]}}] * 2},
            "other prompt tokens",
        ),
    ],
)
def test_garbage_is_named_and_not_learned_from(served, answer, message):
    url = served(lambda path, body: answer)
    engine = ServerEngine(url, model="ours", reload=None, vocab_size=280)
    with pytest.raises(TrainingError, match=message):
        engine.generate([[1, 2, 3]], max_new_tokens=4, n=2, seed=1)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(TrainingError, match=r"127\.0\.0\.1:9/v1/completions cannot be reached"):
        ServerEngine("http://127.0.0.1:9/v1", model="ours", reload=None, vocab_size=280).generate(
            [[1]], max_new_tokens=1
        )


def test_our_own_server_is_an_engine(checkpoint, monkeypatch, tmp_path):
    """Token ids in and out of `gristlm serve`, with the log-probabilities that the trainer computes."""
    pytest.importorskip("fastapi")
    from servers import serving

    from gristlm.serve.app import create_app
    from gristlm.serve.engine import Engine
    from gristlm.serve.security import Access

    monkeypatch.chdir(tmp_path)
    access = Access()
    monkeypatch.setenv(KEY, access.token)
    model = gl.Model.from_pretrained(checkpoint)
    with serving(create_app({"tiny": Engine("tiny", checkpoint)}, access), access) as server:
        engine = ServerEngine(f"{server.url}/v1", model=None, reload=None, vocab_size=model.config.vocab_size or 0)
        prompts = [[5, 6, 7], [8, 9]]
        groups = engine.generate(prompts, max_new_tokens=6, n=3, seed=[1, 2])
    for prompt, group in zip(prompts, groups, strict=True):
        assert len(group) == 3
        for one in group:
            ids = torch.tensor([prompt + one.tokens])
            with torch.no_grad():
                expected = model.token_logprobs(ids[:, :-1], ids[:, 1:])[0, len(prompt) - 1 :]
            assert one.logprobs == pytest.approx(expected.tolist(), abs=1e-5)


def test_ray_actors_give_what_one_process_gives_with_the_newest_weights(checkpoint, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    model = gl.Model.from_pretrained(checkpoint)
    prompts, wanted = [[5, 6], [7], [8, 9, 10]], {"max_new_tokens": 5, "n": 2, "seed": [1, 2, 3], "logprobs": True}
    engine = RayEngine(checkpoint, workers=2, num_threads=1)
    try:
        found = engine.generate(prompts, **wanted)
        expected = model.generate(prompts, **wanted)
        assert [[one.tokens for one in group] for group in found] == [[one.tokens for one in g] for g in expected]
        assert isinstance(found[0][0], Completion)
        gl.Model(model.config, seed=9).save_pretrained(tmp_path)
        engine.load(tmp_path)
        assert [[one.tokens for one in group] for group in engine.generate(prompts, **wanted)] == [
            [one.tokens for one in group] for group in gl.Model.from_pretrained(tmp_path).generate(prompts, **wanted)
        ]
        with pytest.raises(TrainingError, match="Ray worker"):
            engine.load(tmp_path / "absent")
    finally:
        engine.close()


def test_an_engine_that_is_none_is_named(checkpoint):
    with pytest.raises(ConfigError, match=r"'vllm'.*'local'.*'ray'"):
        connect(RLHFConfig(engine="vllm"), checkpoint, 280)
    with pytest.raises(ValueError, match="temperature"):
        RLHFConfig(engine="ray", temperature=0.5)


@pytest.mark.parametrize("algorithm", ["grpo", "ppo"])
def test_one_step_off_learns_and_says_how_far_off(algorithm, checkpoint, prompts, likes_e, tmp_path):
    inputs = {"checkpoint": checkpoint, "prompts": prompts}
    config = settings(likes_e, one_step_off=True, steps=20, algorithm=algorithm)
    first = gl.rlhf.run(config, inputs, tmp_path / "one")
    assert first.counts["reward_after"] > first.counts["reward_before"] + 0.2
    steps = [row for row in metrics(tmp_path / "one") if "loss" in row]
    # after a checkpoint, every fourth step, a step is sampled anew
    assert [row["step"] for row in steps if "engine_kl" not in row] == [1, 5, 9, 13, 17]
    assert gl.rlhf.run(config, inputs, tmp_path / "two").digest == first.digest
