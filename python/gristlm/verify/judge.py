"""A judge: any server with OpenAI's chat protocol that scores an answer by a rubric, or says which of two is better.

Every reply is kept on disk under a hash of the question, so a run that was cut off asks nothing twice and ends the
same. Requests are retried with growing pauses, have a timeout, and a budget. A reply without a verdict is asked for
again; what stays without one gets `no_verdict_score` and is counted as garbage.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import logging
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from gristlm.errors import TrainingError

KEY = "GRISTLM_JUDGE_KEY"
RUBRIC = "Judge how helpful, right, honest and harmless the assistant's last answer is. Do not favour long answers."
_SCORE = re.compile(r"score[^\w-]{0,8}(-?\d+(?:\.\d+)?)", re.IGNORECASE)
_BETTER = re.compile(r"better\W{0,8}(A|B|tie)\b", re.IGNORECASE)
_MAX_REPLY_BYTES = 1 << 20
_MAX_PAUSE_SECONDS = 60.0
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_log = logging.getLogger(__name__)
Messages = Sequence[Mapping[str, str]]


class JudgeConfig(BaseModel):
    """A judge's server, its rubric, and what it may cost."""

    model_config = ConfigDict(extra="forbid")

    endpoint: str
    """Address of the server, such as "http://127.0.0.1:8000/v1"; its key is read from GRISTLM_JUDGE_KEY."""
    model: str
    """What the server calls the model."""
    rubric: str = RUBRIC
    """What makes an answer good; the form of the reply is added to it."""
    lowest: float = 1.0
    """Score of the worst answer; becomes 0."""
    highest: float = 10.0
    """Score of the best answer; becomes 1."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the judge's replies."""
    max_reply_tokens: int = Field(default=256, ge=1)
    """Longest reply (tokens)."""
    max_calls: int | None = Field(default=10_000, ge=1)
    """Requests the run may make, those kept from before it was cut off included; none is no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens the run may use, prompts and replies as the server counts them; none is no limit."""
    timeout_seconds: float = Field(default=60.0, gt=0)
    """Longest wait for a reply (seconds)."""
    retries: int = Field(default=5, ge=0)
    """Further tries where the server does not answer or is busy; the pauses double from half a second."""
    asks: int = Field(default=2, ge=1)
    """Times that a question is asked until the reply has a verdict."""
    no_verdict_score: float = Field(default=0.0, ge=0, le=1)
    """Score of an answer on which no reply had a verdict, 0 to 1."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """Requests at a time."""
    cache: str | None = None
    """File of kept replies; none is `judge.jsonl` beside the run's other files."""

    @field_validator("endpoint")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"must begin with http:// or https://; given {value!r}")
        return value.rstrip("/")


class Judge:
    """Asks the server; safe to use from several threads."""

    def __init__(self, config: JudgeConfig, folder: Path, *, pause: Callable[[float], object] = time.sleep) -> None:
        """Reads the kept replies.

        Args:
            config: the server and its limits.
            folder: where replies are kept, unless `config.cache` says.
            pause: waits so many seconds before a retry.
        """
        self.config, self._pause = config, pause
        self._file = folder / "judge.jsonl" if config.cache is None else Path(config.cache)
        self._lock = threading.Lock()
        self._kept: dict[str, str] = {}
        self._calls = self._tokens = self._garbage = self._retries = 0
        self._read()

    def counts(self) -> dict[str, float]:
        """Returns what was asked so far: `calls`, `tokens`, `garbage` (questions without a verdict) and `retries`."""
        return {"calls": self._calls, "tokens": self._tokens, "garbage": self._garbage, "retries": self._retries}

    def score(self, prompts: Sequence[Messages], responses: Sequence[str]) -> NDArray[np.float64]:
        """Returns the score of each response, float64[N] within 0 and 1.

        Raises:
            TrainingError: the server fails for good, or the budget is spent.
        """
        config = self.config
        form = f"End with one line: Score: N, a number from {config.lowest:g} (worst) to {config.highest:g} (best)."
        questions = [
            self._question(form, f"{_told(prompt)}\n\n[assistant's last answer]\n{response}")
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        return np.array(self._all(questions, self._as_score), dtype=np.float64)

    def prefer(self, prompts: Sequence[Messages], first: Sequence[str], second: Sequence[str]) -> NDArray[np.float64]:
        """Returns how far the first answer is better, float64[N]: 1 it is, 0 the second is, 0.5 neither.

        Each pair is shown in both orders and the verdicts averaged, because judges favour a place (Zheng et al. 2023,
        arXiv 2306.05685, section 3.3). No verdict is 0.5; two equal answers are 0.5, and nobody is asked.

        Raises:
            TrainingError: as `score`.
        """
        form = "Which of the two answers is better? End with one line: Better: A, Better: B or Better: tie."
        pairs = list(zip(prompts, first, second, strict=True))
        questions = [
            self._question(form, f"{_told(prompt)}\n\n[answer A]\n{a}\n\n[answer B]\n{b}")
            for prompt, one, two in pairs
            if one != two
            for a, b in ((one, two), (two, one))
        ]
        found = np.array(self._all(questions, _as_preference, 0.5), dtype=np.float64).reshape(-1, 2)
        preferences = np.full(len(pairs), 0.5)
        preferences[[one != two for _, one, two in pairs]] = (found[:, 0] + 1 - found[:, 1]) / 2
        return preferences

    def _question(self, form: str, content: str) -> list[dict[str, str]]:
        return [
            {"role": "system", "content": f"{self.config.rubric}\n{form}"},
            {"role": "user", "content": content},
        ]

    def _all(
        self,
        questions: Sequence[list[dict[str, str]]],
        verdict: Callable[[str], float | None],
        otherwise: float | None = None,
    ) -> list[float]:
        with concurrent.futures.ThreadPoolExecutor(self.config.concurrency) as pool:
            waiting = [pool.submit(self._verdict, question, verdict) for question in questions]
            try:
                found = [each.result() for each in waiting]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        self._garbage += sum(value is None for value in found)
        missing = self.config.no_verdict_score if otherwise is None else otherwise
        return [missing if value is None else value for value in found]

    def _verdict(self, question: list[dict[str, str]], verdict: Callable[[str], float | None]) -> float | None:
        for turn in range(self.config.asks):
            found = verdict(self._reply(question, turn))
            if found is not None:
                return found
        _log.warning("the judge gave no verdict in %d replies", self.config.asks)
        return None

    def _as_score(self, reply: str) -> float | None:
        found = _SCORE.findall(reply)
        low, high = self.config.lowest, self.config.highest
        value = float(found[-1]) if found else None
        return None if value is None or not low <= value <= high else (value - low) / (high - low)

    def _reply(self, question: list[dict[str, str]], turn: int) -> str:
        config = self.config
        body: dict[str, object] = {
            "model": config.model,
            "messages": question,
            "temperature": config.temperature,
            "max_tokens": config.max_reply_tokens,
            "seed": turn,
        }
        key = hashlib.sha256(json.dumps([config.endpoint, body], sort_keys=True).encode()).hexdigest()
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            self._spend()
        reply, tokens = self._ask(body)
        with self._lock:
            self._tokens += tokens
            self._keep(key, reply, tokens)
        return reply

    def _spend(self) -> None:
        """Takes one call out of the budget."""
        for name, spent, most in (
            ("max_calls", self._calls, self.config.max_calls),
            ("max_tokens", self._tokens, self.config.max_tokens),
        ):
            if most is not None and spent >= most:
                raise TrainingError(f"the judge's budget is spent: {name} = {most:,}; raise it or ask for less")
        self._calls += 1

    def _ask(self, body: Mapping[str, object]) -> tuple[str, int]:
        """Returns a reply and the tokens that it took, after as many tries as are allowed."""
        why = ""
        for turn in range(self.config.retries + 1):
            try:
                return _content(self._send(body))
            except urllib.error.HTTPError as error:
                with error:
                    why = f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
                if error.code not in _AGAIN:
                    break
                wait = _seconds(error.headers.get("Retry-After"))
            except (OSError, HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
                why, wait = repr(error), None
            if turn < self.config.retries:
                with self._lock:
                    self._retries += 1
                self._pause(min(_MAX_PAUSE_SECONDS, 0.5 * 2**turn if wait is None else wait))
        raise TrainingError(f"the judge at {self.config.endpoint} gives no reply: {why[:400]}")

    def _send(self, body: Mapping[str, object]) -> object:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(  # noqa: S310 - checked to be http(s)
            f"{self.config.endpoint}/chat/completions", data=json.dumps(body).encode(), headers=headers
        )
        with _opener.open(request, timeout=self.config.timeout_seconds) as response:
            data = response.read(_MAX_REPLY_BYTES + 1)
        if len(data) > _MAX_REPLY_BYTES:
            raise ValueError(f"the reply has more than {_MAX_REPLY_BYTES:,} bytes")
        found: object = json.loads(data)
        return found

    def _read(self) -> None:
        if not self._file.is_file():
            return
        for line in self._file.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                row = json.loads(line)
                self._kept[row["key"]] = row["reply"]
                self._tokens += int(row["tokens"])
            except (ValueError, KeyError, TypeError):
                continue  # the line that a cut-off run was writing
        self._calls = len(self._kept)

    def _keep(self, key: str, reply: str, tokens: int) -> None:
        """Appends a reply; a line of its own even after one that was cut off."""
        self._kept[key] = reply
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            line = json.dumps({"key": key, "reply": reply, "tokens": tokens}) + "\n"
            file.write((b"\n" if torn else b"") + line.encode())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the key is for the named server alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Returns no request."""


_opener = urllib.request.build_opener(_NoRedirect)


def _content(reply: object) -> tuple[str, int]:
    if not isinstance(reply, dict):
        raise TypeError(f"the reply is no JSON object but {reply!r:.80}")
    content = reply["choices"][0]["message"]["content"]
    usage = reply.get("usage") or {}
    tokens = usage.get("total_tokens", 0)
    return content if isinstance(content, str) else "", tokens if isinstance(tokens, int) else 0


def _as_preference(reply: str) -> float | None:
    found = _BETTER.findall(reply)
    return {"a": 1.0, "b": 0.0, "tie": 0.5}[found[-1].lower()] if found else None


def _told(prompt: Messages) -> str:
    return "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in prompt)


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
