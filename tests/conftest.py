"""What every test shares: few threads, no network, and where the development data is."""

import os
import signal
from pathlib import Path

import pytest

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

# Where the tests run in the background the shell has SIGINT ignored, and Python then leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def development_data() -> Path:
    """The folder of real texts that development machines carry beside the repository."""
    if not DATA.is_dir():
        pytest.skip("the development data is not on this machine")
    return DATA


@pytest.fixture(scope="session")
def topics_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real text files: the language topics that `help()` shows, one file each."""
    from pydoc_data import topics

    folder = tmp_path_factory.mktemp("topics")
    for name, text in sorted(topics.topics.items()):
        (folder / f"{name}.txt").write_text(text)
    return folder
