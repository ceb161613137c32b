"""Memory, threads, kills and damage: the result is the same, or the error names the file."""

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gristlm import clean, dedup
from gristlm.errors import DamagedArtifactError, InputError


def corpus(count: int = 3000) -> list[str]:
    """Texts of which some are copies and some near copies of others."""
    rng = random.Random(4)
    texts: list[str] = []
    for _ in range(count):
        kind = rng.random()
        if texts and kind < 0.2:
            texts.append(rng.choice(texts))
        elif texts and kind < 0.5:
            words = rng.choice(texts).split(" ")
            words[rng.randrange(len(words))] = "changed"
            texts.append(" ".join(words))
        else:
            texts.append(" ".join(f"w{rng.randrange(5000)}" for _ in range(rng.randrange(3, 90))) + "\nfooter\n")
    return texts


TEXTS = corpus()


def same(left: dedup.MinHashResult, right: dedup.MinHashResult) -> bool:
    names = ("keep", "cluster", "twin", "similarity")
    return all(getattr(left, name).tobytes() == getattr(right, name).tobytes() for name in names)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("memory", [1_000_000, 40_000_000])
def test_results_do_not_depend_on_memory_or_threads(tmp_path: Path, num_threads: int, memory: int) -> None:
    wanted = dedup.minhash(TEXTS, num_threads=1)
    assert 0 < wanted.keep.sum() < len(TEXTS)
    assert same(dedup.minhash(TEXTS, num_threads=num_threads, memory=memory, folder=tmp_path), wanted)
    for unit in ("document", "paragraph", "line"):
        free = dedup.exact(TEXTS, unit=unit)  # type: ignore[arg-type]
        tight = dedup.exact(TEXTS, unit=unit, num_threads=num_threads, memory=memory)  # type: ignore[arg-type]
        assert (tight.keep.tolist(), tight.cluster.tolist()) == (free.keep.tolist(), free.cluster.tolist())
        assert tight.spans.tolist() == free.spans.tolist()
    spans = dedup.substrings(TEXTS, min_bytes=50, num_threads=num_threads, memory=memory).spans
    assert spans.tolist() == dedup.substrings(TEXTS, min_bytes=50, num_threads=1).spans.tolist()


def test_a_killed_call_goes_on_and_other_texts_start_anew(tmp_path: Path) -> None:
    wanted = dedup.minhash(TEXTS)
    dedup.minhash(TEXTS, memory=1_000_000, folder=tmp_path)
    signed = tmp_path / "bands-00000.bin"
    before = signed.stat().st_mtime_ns
    (tmp_path / "groups-007.bin").unlink()
    (tmp_path / "bands-00000.tmp").write_bytes(b"torn")
    assert same(dedup.minhash(TEXTS, memory=1_000_000, folder=tmp_path), wanted)
    assert signed.stat().st_mtime_ns == before
    assert same(dedup.minhash(TEXTS[10:], memory=1_000_000, folder=tmp_path), dedup.minhash(TEXTS[10:]))
    assert signed.stat().st_mtime_ns != before


SLOW = """
import pickle, sys, time
from pathlib import Path
from gristlm import dedup
texts = pickle.loads(Path(sys.argv[1]).read_bytes())
print("ready", flush=True)
dedup.minhash(texts, memory=1_000_000, folder=sys.argv[2], num_threads=1)
"""


def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    texts = [f"{text} {number % 5}" for number in range(16) for text in TEXTS]
    wanted = dedup.minhash(texts)
    (tmp_path / "texts").write_bytes(pickle.dumps(texts))
    command = [sys.executable, "-c", SLOW, str(tmp_path / "texts"), str(tmp_path / "work")]
    rng = random.Random(6)
    for _ in range(6):
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.6))
        child.kill()
        child.communicate()
    assert same(dedup.minhash(texts, memory=1_000_000, folder=tmp_path / "work"), wanted)


FULL = """
import pickle, resource, signal, sys
from pathlib import Path
from gristlm import dedup
texts = pickle.loads(Path(sys.argv[1]).read_bytes())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
getattr(dedup, sys.argv[3])(texts, memory=1_000_000, folder=sys.argv[2])
"""


@pytest.mark.parametrize("call", ["minhash", "exact"])
def test_a_disk_that_fills_up_is_named_and_the_call_goes_on_later(tmp_path: Path, call: str) -> None:
    texts = TEXTS if call == "minhash" else [f"{text} {number}" for number in range(300) for text in TEXTS]
    (tmp_path / "texts").write_bytes(pickle.dumps(texts))
    command = [sys.executable, "-c", FULL, str(tmp_path / "texts"), str(tmp_path / "work"), call]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"StorageError: cannot write {tmp_path / 'work'}" in done.stderr
    assert "File too large" in done.stderr
    again = getattr(dedup, call)(texts, memory=1_000_000, folder=tmp_path / "work")
    assert again.keep.tolist() == getattr(dedup, call)(texts).keep.tolist()


def test_long_texts_keep_to_the_memory() -> None:
    """Two texts of 16 MB whose shingles take 20 MB each, and a third that is no duplicate."""
    code = (
        "import random, resource\n"
        "from gristlm import dedup\n"
        "rng = random.Random(7)\n"
        "words = [f'w{rng.randrange(10**4)}' for _ in range(2_700_000)]\n"
        "texts = [' '.join(words), ' '.join(words[:-100_000] + ['x', *words[:50_000]]), ' '.join(words[::-1])]\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = dedup.minhash(texts, memory=16_000_000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, found.twin.tolist(), found.similarity[1])\n"
        "free = dedup.minhash(texts)\n"
        "assert (free.similarity == found.similarity).all() and (free.twin == found.twin).all()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, rest = done.stdout.split(" ", 1)
    assert rest.startswith("[-1, 0, -1] 0.9")
    assert int(grown) < 32_000, f"{grown} KiB beside the texts"


def test_what_there_is_for_each_text_lies_in_files() -> None:
    """A million texts of eight letters, many of them copies: their places, order and twins take more than 60 MB."""
    code = (
        "import threading, numpy as np, pyarrow as pa\n"
        "from gristlm import dedup\n"
        "def held():\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('RssAnon'))\n"
        "letters = np.random.default_rng(0).integers(97, 123, (1_000_000, 8), dtype=np.uint8)\n"
        "letters[9::10] = letters[8::10]\n"
        "letters[600_000:] = letters[0]\n"
        "ends = pa.py_buffer(np.arange(1_000_001, dtype=np.int64) * 8)\n"
        "texts = pa.LargeStringArray.from_buffers(1_000_000, ends, pa.py_buffer(letters))\n"
        "dedup.minhash(texts.slice(0, 1000), memory=4_000_000)\n"
        "before, most, done = held(), 0, threading.Event()\n"
        "def look():\n"
        "    global most\n"
        "    while not done.wait(0.005):\n"
        "        most = max(most, held())\n"
        "thread = threading.Thread(target=look)\n"
        "thread.start()\n"
        "order, repeats = dedup.by_id(texts, texts, memory=4_000_000)\n"
        "copies = dedup.exact(texts, order=order, memory=4_000_000)\n"
        "near = dedup.minhash(texts, order=order, memory=4_000_000)\n"
        "done.set()\n"
        "thread.join()\n"
        "assert repeats.sum() >= 100_000 and (near.keep == copies.keep).all() and not near.keep[9::10].any()\n"
        "print(most - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32_000, f"{done.stdout} KiB"


@pytest.mark.parametrize("name", ["bands-00000.bin", "groups-100.bin"])
@pytest.mark.parametrize("harm", [-1, 0, 8, 15, 20, "cut short", "cut to nothing", "longer"])
def test_damaged_intermediate_files_are_named(tmp_path: Path, name: str, harm: int | str) -> None:
    dedup.minhash(TEXTS, memory=1_000_000, folder=tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    if isinstance(harm, int):
        content[harm] ^= 1
    else:
        content = content + b"1234" if harm == "longer" else content[:-4] if harm == "cut short" else content[:7]
    (tmp_path / name).write_bytes(content)
    if "bands" in name:
        for groups in tmp_path.glob("groups-*"):
            groups.unlink()
    with pytest.raises(DamagedArtifactError, match=name):
        dedup.minhash(TEXTS, memory=1_000_000, folder=tmp_path)


def test_wrong_memory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory is 10; give at least"):
        dedup.exact(["a"], memory=10)
    with pytest.raises(InputError, match="without memory"):
        dedup.exact(["a"], folder=tmp_path)


def test_progress_is_told_and_may_stop_the_call() -> None:
    seen: list[int] = []
    texts = ["some words of a text that is cleaned " * 300] * 3000
    clean(texts, rules=["personal_data", "gopher_repetition"], num_threads=1, progress=seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[0] <= seen[-1] <= sum(map(len, texts))

    def stop(_: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        clean(texts, rules=["gopher_repetition"], num_threads=1, progress=stop)


def test_ctrl_c_ends_a_long_call() -> None:
    code = (
        "import sys, gristlm as gl\n"
        "texts = [f'{i} ' + 'many words of a text ' * 3000 for i in range(20_000)]\n"
        "print('ready', flush=True)\n"
        "gl.dedup.minhash(texts, num_threads=1)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=20)
    assert child.returncode != 0
    assert "KeyboardInterrupt" in error


def _kept(_: int) -> int:
    return int(dedup.minhash(TEXTS[:500]).keep.sum()) + int(clean(TEXTS[:500]).keep.sum())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_call_it() -> None:
    wanted = _kept(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_kept, range(2)).get(timeout=30) == [wanted, wanted]


def test_adversarial_band_collisions_stay_linear() -> None:
    """Texts of which all share half their runs: every band has thousands of texts that are no duplicates."""
    rng = random.Random(1)
    common = " ".join(f"c{i}" for i in range(60))
    texts = [f"{common} {' '.join(f'u{rng.randrange(10**9)}' for _ in range(60))}" for _ in range(3000)]
    result = dedup.minhash(texts, num_perm=128, bands=64, rows=2, threshold=0.9)
    assert result.keep.all()


def test_signatures_estimate_the_similarity() -> None:
    words = [f"w{i}" for i in range(300)]
    texts = [" ".join(words), " ".join([*words[:250], *(f"x{i}" for i in range(50))]), ""]
    signed = dedup.signatures(texts, num_perm=512, ngram=1)
    assert signed.shape == (3, 512)
    assert signed.dtype == np.uint32
    assert abs((signed[0] == signed[1]).mean() - 250 / 350) < 0.08
    assert (signed[2] == 2**32 - 1).all()
