"""The fixtures of `servers.py`."""

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from servers import api, checkpoint, label, shared_label, slow, start_server  # noqa: F401
