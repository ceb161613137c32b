"""Where answers are sampled: in this process, on a server that speaks OpenAI's protocol, or in Ray actors.

An engine has `generate` as `gristlm.Model` has it, and `load`, which gives it the policy's newest weights:

    "local"             the policy itself, in this process
    "http://HOST/v1"    POST /completions with token ids in and out (`return_token_ids`: vLLM, SGLang, `gristlm serve`);
                        the key is the environment variable GRISTLM_ENGINE_KEY
    "ray" or "ray:N"    N actors (2), each with a copy of the policy; needs the extra `ray`

What comes from outside is checked before anything is learned from it: an answer must have as many log-probabilities as
tokens, all of the vocabulary, and none above 0. An engine that is not the trainer has other rounding, and maybe older
weights: `gristlm.rlhf.correction` weighs its tokens by p_trainer/p_engine.
"""

from __future__ import annotations

import concurrent.futures
import json
import math
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from gristlm.errors import ConfigError, TrainingError, missing_extra
from gristlm.model import Completion
from gristlm.rlhf.config import RLHFConfig

KEY = "GRISTLM_ENGINE_KEY"
_MOST_PER_REQUEST = 16
_REQUESTS_AT_ONCE = 8
_TOLERANCE = 1e-3  # a log-probability may be above 0 by rounding


class Generates(Protocol):
    """Whatever samples answers."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        n: int = 1,
        temperature: float = 1.0,
        stop: Sequence[int] = (),
        seed: int | Sequence[int] | None = None,
        logprobs: bool = False,
    ) -> list[list[Completion]]:
        """Returns `n` completions for each prompt, with the log-probabilities of their tokens."""


class Engine(Generates, Protocol):
    """A `Generates` outside the trainer."""

    def load(self, path: Path) -> None:
        """Takes the weights of the checkpoint directory `path`."""

    def close(self) -> None:
        """Lets go of what it holds."""


def connect(config: RLHFConfig, start: Path, vocab_size: int) -> Engine | None:
    """Returns the engine that the settings name; None is the trainer itself.

    Raises:
        ConfigError: the name is none of those above.
        MissingExtraError: Ray is not installed.
    """
    name = config.engine
    if name == "local":
        return None
    if name.startswith(("http://", "https://")):
        return ServerEngine(name, model=config.engine_model, reload=config.engine_reload, vocab_size=vocab_size)
    kind, _, count = name.partition(":")
    if kind == "ray" and (not count or count.isdigit()):
        return RayEngine(start, workers=int(count or 2), num_threads=config.num_threads)
    raise ConfigError(f"rlhf.engine is {name!r}; allowed: 'local', 'http://HOST:PORT/v1', 'ray' or 'ray:N'")


class ServerEngine:
    """A server with OpenAI's completions protocol and token ids."""

    def __init__(
        self, url: str, *, model: str | None, reload: str | None, vocab_size: int, timeout_seconds: float = 600.0
    ) -> None:
        """Takes the server's base URL (`…/v1`), the name it has for the model, and the path that reloads weights."""
        self._url, self._reload, self._vocab_size, self._timeout = url.rstrip("/"), reload, vocab_size, timeout_seconds
        self._model = model or self._first_model()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        n: int = 1,
        temperature: float = 1.0,
        stop: Sequence[int] = (),
        seed: int | Sequence[int] | None = None,
        logprobs: bool = False,
    ) -> list[list[Completion]]:
        """Returns `n` completions for each prompt; log-probabilities always come with them.

        Raises:
            TrainingError: the server cannot be reached, refuses, or answers what cannot be an answer; says which.
        """
        del logprobs
        seeds = [seed] * len(prompts) if seed is None or isinstance(seed, int) else list(seed)
        parts = [(i, start) for i in range(len(prompts)) for start in range(0, n, _MOST_PER_REQUEST)]

        def ask(part: tuple[int, int]) -> list[Completion]:
            i, start = part
            one = seeds[i]
            body = {
                "model": self._model,
                "prompt": list(prompts[i]),
                "n": min(_MOST_PER_REQUEST, n - start),
                "max_tokens": max_new_tokens,
                "temperature": temperature,
                "logprobs": 0,
                "return_token_ids": True,
                "seed": None if one is None else (one + start) % 2**63,
            }
            return self._completions(self._post(f"{self._url}/completions", body), body, set(stop))

        with concurrent.futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
            answers = list(pool.map(ask, parts))
        groups: list[list[Completion]] = [[] for _ in prompts]
        for (i, _), completions in zip(parts, answers, strict=True):
            groups[i] += completions
        return groups

    def load(self, path: Path) -> None:
        """Tells the server to read the weights in `path`, where it can (`engine_reload`)."""
        if self._reload is not None:
            root = self._url.removesuffix("/v1")
            self._post(f"{root}/{self._reload.lstrip('/')}", {"model_path": str(path.resolve())})

    def close(self) -> None:
        """Does nothing: each request has its own connection."""

    def _first_model(self) -> str:
        body = self._post(f"{self._url}/models", None)
        try:
            return str(body["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise self._garbage("its list of models names none; give rlhf.engine_model") from None

    def _post(self, url: str, body: dict[str, object] | None) -> Any:
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {os.environ[KEY]}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - checked to be http(s)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310
                text = response.read()
        except urllib.error.HTTPError as error:
            said = error.read(500).decode("utf-8", "replace")
            raise TrainingError(f"engine {url} refused with {error.code}: {said}; its key is read from {KEY}") from None
        except (OSError, ValueError) as error:
            raise TrainingError(f"engine {url} cannot be reached: {error}") from None
        try:
            return json.loads(text) if text.strip() or body is None else {}
        except ValueError:
            raise self._garbage(f"no JSON: {text[:80]!r}") from None

    def _completions(self, answer: Any, body: dict[str, Any], stop: set[int]) -> list[Completion]:
        try:
            choices = sorted(answer["choices"], key=lambda choice: choice.get("index", 0))
        except (KeyError, TypeError, AttributeError):
            raise self._garbage(f"no list of choices: {answer!r:.200}") from None
        if len(choices) != body["n"]:
            raise self._garbage(f"{len(choices)} answers where {body['n']} were asked for")
        return [self._completion(choice, body, stop) for choice in choices]

    def _completion(self, choice: Any, body: dict[str, Any], stop: set[int]) -> Completion:
        asked, tokens = choice.get("prompt_token_ids"), choice.get("token_ids")
        found = choice.get("logprobs")
        logprobs = found.get("token_logprobs") if isinstance(found, dict) else None
        if not isinstance(tokens, list) or not isinstance(logprobs, list):
            raise self._garbage("an answer without token_ids or logprobs: it does not know return_token_ids")
        if asked is not None and asked != body["prompt"]:
            raise self._garbage("an answer to other prompt tokens than were sent: it has another tokenizer or template")
        good = all(type(token) is int and 0 <= token < self._vocab_size for token in tokens)
        if not tokens or len(tokens) != len(logprobs) or len(tokens) > body["max_tokens"] or not good:
            raise self._garbage(
                f"{len(tokens)} tokens with {len(logprobs)} log-probabilities, {min(tokens, default=0, key=str)!r} to "
                f"{max(tokens, default=0, key=str)!r}; needed: 1 to {body['max_tokens']} ids below {self._vocab_size}, "
                "one log-probability each"
            )
        if not all(isinstance(value, int | float) and -math.inf < value <= _TOLERANCE for value in logprobs):
            raise self._garbage(f"log-probabilities that are no numbers of at most 0: {logprobs!r:.200}")
        end = next((place + 1 for place, token in enumerate(tokens) if token in stop), len(tokens))
        stopped = end < len(tokens) or tokens[-1] in stop or choice.get("finish_reason") == "stop"
        return Completion(tokens[:end], [float(value) for value in logprobs[:end]], "stop" if stopped else "length")

    def _garbage(self, what: str) -> TrainingError:
        return TrainingError(f"engine {self._url} gave {what}; nothing of it was learned")


class RayEngine:
    """Ray actors, each with a copy of the policy; prompts are dealt out in equal, contiguous shares."""

    def __init__(self, start: Path, *, workers: int, num_threads: int | None) -> None:
        """Starts the actors, in a Ray of this process's own where none is running."""
        try:
            import ray
        except ImportError:
            raise missing_extra("ray", "ray") from None
        self._ray = ray
        self._mine = not ray.is_initialized()
        if self._mine:
            ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
        actor = ray.remote(num_cpus=0)(_Worker)
        self._workers: list[Any] = [actor.remote(str(start), num_threads or 1) for _ in range(workers)]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        n: int = 1,
        temperature: float = 1.0,
        stop: Sequence[int] = (),
        seed: int | Sequence[int] | None = None,
        logprobs: bool = False,
    ) -> list[list[Completion]]:
        """Returns `n` completions for each prompt: those that one worker would give, in any number."""
        settings = {
            "max_new_tokens": max_new_tokens,
            "n": n,
            "temperature": temperature,
            "stop": tuple(stop),
            "logprobs": logprobs,
        }
        count, ranks = len(prompts), len(self._workers)
        bounds = [count * rank // ranks for rank in range(ranks + 1)]
        pending = []
        for rank, worker in enumerate(self._workers):
            part = slice(bounds[rank], bounds[rank + 1])
            mine = list(seed[part]) if isinstance(seed, Sequence) else seed
            if part.start < part.stop:
                pending.append(worker.generate.remote([list(prompt) for prompt in prompts[part]], mine, settings))
        return [[Completion(*one) for one in group] for part in self._got(pending) for group in part]

    def load(self, path: Path) -> None:
        """Gives every worker the weights in `path`."""
        self._got([worker.load.remote(str(path.resolve())) for worker in self._workers])

    def _got(self, pending: list[Any]) -> Any:
        try:
            return self._ray.get(pending)
        except self._ray.exceptions.RayError as error:
            raise TrainingError(f"a Ray worker failed: {error}") from error

    def close(self) -> None:
        """Ends the actors, and Ray where it was started here."""
        for worker in self._workers:
            self._ray.kill(worker)
        if self._mine:
            self._ray.shutdown()


class _Worker:
    """What an actor does."""

    def __init__(self, start: str, num_threads: int) -> None:
        import torch

        torch.set_num_threads(num_threads)
        self.load(start)

    def load(self, path: str) -> None:
        """Reads the weights."""
        from gristlm.model import Model

        self._model = Model.from_pretrained(path)

    def generate(
        self, prompts: list[list[int]], seed: int | list[int] | None, settings: dict[str, Any]
    ) -> list[list[tuple[list[int], list[float] | None, str]]]:
        """Returns completions as tuples."""
        groups = self._model.generate(prompts, seed=seed, **settings)
        return [[(one.tokens, one.logprobs, one.finish_reason) for one in group] for group in groups]
