"""`gristlm serve` as a process, over HTTP: 16 streams at once against one, and the time to the first token.

A model of the demo's shape with random weights, one thread. Rounds of both kinds take turns; the ratio is that of the
best rounds. `GRISTLM_BENCH_CHECKPOINT` measures a checkpoint of yours instead.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
torch = pytest.importorskip("torch")

from gristlm.model import Model, ModelConfig  # noqa: E402
from gristlm.tokenize import Tokenizer  # noqa: E402

STREAMS, TOKENS, ROUNDS = 16, 96, 4
MESSAGES = [{"role": "user", "content": "Tell me what a number is, and what it is for, in a few words please."}]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    if given := os.environ.get("GRISTLM_BENCH_CHECKPOINT"):
        return Path(given)
    path = tmp_path_factory.mktemp("bench") / "model"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    texts = [f"Number {n} is the sum of {n - 1} and one, and {n * 7} is what it is seven times.\n" for n in range(4000)]
    tokenizer = Tokenizer.train(texts, vocab_size=4096, special_tokens=special)
    config = ModelConfig(vocab_size=4096, num_layers=4, d_model=256, num_heads=4, num_kv_heads=2, max_seq_len=512)
    Model(config, seed=0).save_pretrained(path)
    tokenizer.save(path / "tokenizer.json")
    return path


@pytest.fixture(scope="module")
def server(checkpoint):
    command = [sys.executable, "-m", "gristlm", "serve", str(checkpoint), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(checkpoint.parent / "state")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        found = re.search(r"serving (\S+) at (http\S+)/\?token=(\S+)", process.stdout.readline())
        yield found.groups()
        process.kill()


def stream(client, server, seed, lines):
    """Asks for one answer and notes when each line came; they are read when the clock has stopped."""
    name, _, token = server
    body = {"model": name, "messages": MESSAGES, "max_tokens": TOKENS, "seed": seed, "stream": True}
    body |= {"return_token_ids": True}
    key = {"Authorization": f"Bearer {token}"}
    begun = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json=body, headers=key) as response:
        for part in response.iter_raw():
            lines.append((time.perf_counter() - begun, part))


def counted(lines):
    """Returns how many tokens came, and when the first did."""
    count, first = 0, None
    for at, part in lines:
        for line in part.split(b"\n"):
            if line.startswith(b"data: {") and (ids := json.loads(line[6:])["choices"][0].get("token_ids")):
                count += len(ids)
                first = at if first is None else first
    return count, first


def tokens_per_second(server, count):
    lines = [[] for _ in range(count)]
    with httpx.Client(base_url=server[1], timeout=120, limits=httpx.Limits(max_connections=count)) as client:
        threads = [threading.Thread(target=stream, args=(client, server, seed, one)) for seed, one in enumerate(lines)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
    found = [counted(one) for one in lines]
    return sum(tokens for tokens, _ in found) / seconds, [first for _, first in found]


def test_sixteen_streams_against_one(server, benchmark):
    tokens_per_second(server, 1)
    rounds = [(tokens_per_second(server, 1), tokens_per_second(server, STREAMS)) for _ in range(ROUNDS)]
    one, many = (max(round[kind][0] for round in rounds) for kind in (0, 1))
    first = min(round[0][1][0] for round in rounds)
    first_of_many = min(max(round[1][1]) for round in rounds)
    benchmark.extra_info |= {
        "one_tokens_per_second": round(one), "sixteen_tokens_per_second": round(many), "ratio": round(many / one, 2),
        "first_token_ms": round(1000 * first, 1), "last_first_token_of_sixteen_ms": round(1000 * first_of_many, 1),
    }  # fmt: skip
    print(json.dumps(benchmark.extra_info))
    assert many >= 4 * one
    assert first <= 0.1
    benchmark.pedantic(tokens_per_second, args=(server, STREAMS), rounds=1)
