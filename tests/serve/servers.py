"""A tiny checkpoint and servers on free ports: fixtures of the tests of servers and of those in a browser."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")

from gristlm.serve.label.accounts import Accounts  # noqa: E402
from gristlm.serve.label.app import access_for  # noqa: E402
from gristlm.serve.label.app import create_app as create_label_app  # noqa: E402
from gristlm.serve.label.pairs import Pair  # noqa: E402
from gristlm.serve.label.project import Project  # noqa: E402
from gristlm.serve.listen import configure  # noqa: E402
from gristlm.serve.security import Access  # noqa: E402

TEXTS = [f"Number {n} is the sum of {n - 1} and one. Is it even? Yes, number {n} is. 日本語 🙂\n" for n in range(80)]


@dataclasses.dataclass
class Server:
    """A server that is running, and a client of it that has no token."""

    url: str
    access: Access
    client: Any
    opened: contextlib.ExitStack

    def owner(self) -> dict[str, str]:
        """The header that opens everything."""
        return {"Authorization": f"Bearer {self.access.token}"}

    def page(self, **options: Any) -> Page:
        """A browser of its own that has opened nothing yet."""
        return Page(self.opened.enter_context(httpx.Client(base_url=self.url, timeout=30, **options)), self)


class Page:
    """What a page in a browser does: it keeps cookies and sends its CSRF token."""

    def __init__(self, client: Any, server: Server) -> None:
        self.client, self.server = client, server
        self.csrf = ""

    def load(self, path: str = "/") -> Any:
        response = self.client.get(path, follow_redirects=True)
        if found := re.search(r'<meta name="csrf-token" content="([^"]+)">', response.text):
            self.csrf = found[1]
        return response

    def enter(self) -> Page:
        """Opens the link that the server printed."""
        self.load(f"/?token={self.server.access.token}").raise_for_status()
        return self

    def sign_in(self, name: str, password: str) -> Any:
        self.load()
        return self.post("/api/login", name=name, password=password)

    def post(self, path: str, headers: dict[str, str] | None = None, **body: object) -> Any:
        sent = {"X-CSRF-Token": self.csrf, "Origin": self.server.url} | (headers or {})
        return self.client.post(path, json=body, headers=sent)

    def next(self) -> Any:
        return self.client.get("/api/next").raise_for_status().json()["pair"]


@contextlib.contextmanager
def serving(app: Any, access: Access) -> Iterator[Server]:
    config = configure(app)
    config.port, config.timeout_graceful_shutdown = 0, 1
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        with contextlib.ExitStack() as opened, httpx.Client(base_url=url, timeout=60) as client:
            yield Server(url, access, client, opened)
    finally:
        server.should_exit = True
        thread.join(10)


def write_checkpoint(path: Path, *, seed: int = 0, max_seq_len: int = 256) -> Path:
    from gristlm.model import Model, ModelConfig
    from gristlm.tokenize import Tokenizer

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300, special_tokens=special)
    ends = (tokenizer.special_tokens["<|im_end|>"], tokenizer.special_tokens["<|endoftext|>"])
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, num_layers=1, d_model=32, num_heads=2, max_seq_len=max_seq_len,
        eos_token_ids=ends,
    )  # fmt: skip
    Model(config, seed=seed).save_pretrained(path)
    tokenizer.save(path / "tokenizer.json")
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def api(checkpoint: Path) -> Iterator[Server]:
    """The API with one model, "tiny"."""
    from gristlm.serve.app import create_app
    from gristlm.serve.engine import Engine
    from gristlm.serve.feedback import Feedback

    access, feedback = Access(), Feedback(checkpoint.parent / "feedback")
    with serving(create_app({"tiny": Engine("tiny", checkpoint)}, access, feedback), access) as server:
        yield server


def pairs(count: int = 3) -> list[Pair]:
    def said(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    return [
        Pair(said("user", f"Prompt {n}"), said("assistant", f"A{n}"), said("assistant", f"B{n}"), "old", "new")
        for n in range(count)
    ]


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts any application behind an `Access`."""
    with contextlib.ExitStack() as stack:
        yield lambda app, access: stack.enter_context(serving(app, access))


class SlowBatch:
    """A batch that says one token for everybody, and knows how far it came.

    While `held_from` is a number, answers of at least that many tokens say one and then wait, however long it takes.
    """

    def __init__(self) -> None:
        self._left: dict[int, int] = {}
        self._handle, self.made, self.failing = 0, 0, False
        self._wanted: dict[int, int] = {}
        self.held_from: int | None = None
        self.most_together = 0

    @property
    def active(self) -> int:
        return len(self._left)

    def add(self, request: Any) -> int:
        self._handle += 1
        self._left[self._handle] = self._wanted[self._handle] = request.how.max_new_tokens
        if self.failing:
            raise RuntimeError("the model broke")
        return self._handle

    def cancel(self, handle: int) -> None:
        self._left.pop(handle, None)

    def step(self) -> list[Any]:
        from gristlm.model.generation_engine import Event

        time.sleep(0.005)
        self.most_together = max(self.most_together, len(self._left))
        events = []
        for handle, left in list(self._left.items()):
            wanted = self._wanted[handle]
            if self.held_from is not None and wanted >= self.held_from and left < wanted:
                continue
            self.made += 1
            self._left[handle] -= 1
            events.append(Event(handle, 65, 0.0, None if self._left[handle] else "length"))
            if not self._left[handle]:
                del self._left[handle]
        return events


@pytest.fixture
def slow(checkpoint: Path, start_server: Any) -> Any:
    """A server whose one model takes its time; also the engine."""
    from gristlm.serve.app import create_app
    from gristlm.serve.engine import Engine

    engine = Engine("tiny", checkpoint)
    engine.batch = SlowBatch()  # type: ignore[assignment]
    access = Access()
    return start_server(create_app({"tiny": engine}, access), access), engine


@pytest.fixture
def label(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a labelling server: `label(pairs, overlap=1, annotators={name: password})`."""
    with label_servers(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_label(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A labelling server without annotators, for tests that leave no trace."""
    with label_servers(tmp_path_factory.mktemp("shared")) as start:
        yield start()[0]


@contextlib.contextmanager
def label_servers(folder: Path) -> Iterator[Callable[..., Any]]:
    with contextlib.ExitStack() as stack:

        def start(
            given: list[Pair] | None = None, *, overlap: int = 1, annotators: dict[str, str] | None = None
        ) -> Any:
            project = Project(folder / "project", create=True, overlap=overlap)
            stack.callback(project.database.close)
            project.add(pairs() if given is None else given)
            accounts = Accounts(project.database)
            for name, password in (annotators or {}).items():
                accounts.add(name, password)
            access = access_for(accounts, project.database.setting("csrf_key"))
            server = stack.enter_context(serving(create_label_app(project, accounts, access), access))
            return server, project

        yield start
