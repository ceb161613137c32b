"""What breaks tools: empty texts, one word, no spaces, huge ones, a million times the same; a disk that fills up."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gristlm import clean, dedup, identify_language
from gristlm.errors import InputError

EVERY_RULE = ("encoding", "unicode", "gopher_quality", "gopher_repetition", "c4", "fineweb", "personal_data")
ODD = ["", " ", "\n\n", "word", "\u3000", "\u0301", "\ufeff", "\x00", "中", "🇩🇪", "a" * 5000, "\u200d" * 300]


def test_odd_texts_pass_every_step() -> None:
    for rule in EVERY_RULE:
        assert len(clean(ODD, rules=[rule]).texts) == len(ODD)
    assert len(identify_language(ODD).languages) == len(ODD)
    for unit in ("document", "paragraph", "line"):
        assert dedup.exact(ODD, unit=unit).keep.all()  # type: ignore[arg-type]
    assert dedup.minhash(ODD).keep.shape == (len(ODD),)
    assert dedup.substrings([*ODD, *ODD], min_tokens=1).spans.shape[1] == 3
    assert not dedup.contamination(ODD, ODD).contaminated.any()


def test_text_without_spaces_is_cut_by_characters() -> None:
    for text in (
        "河流弯曲是因为外侧河岸被水流侵蚀",
        "川が曲がるのは外側の岸が流れに削られるからです",
        "แม่น้ำคดเคี้ยวเพราะตลิ่งด้านนอกถูกน้ำกัดเซาะ",
    ):
        found = dedup.substrings([f"甲{text}乙", f"丙{text}丁"], min_tokens=10)
        [[document, start, end]] = found.spans.tolist()
        assert document == 1
        assert f"丙{text}丁".encode()[start:end].decode() == text
        assert dedup.contamination([f"x {text}"], [text]).contaminated.all()


def test_bytes_and_lone_surrogates_are_named() -> None:
    for call in (clean, identify_language, dedup.exact, dedup.minhash, dedup.substrings, dedup.signatures):
        with pytest.raises(InputError, match="row 1 is bytes; give str"):
            call(["fine", b"\xff\xfe"])  # type: ignore[arg-type]
        with pytest.raises(InputError, match="row 1 holds a lone surrogate"):
            call(["fine", "\ud800"])  # type: ignore[operator]


def test_a_million_equal_texts() -> None:
    texts = ["the same words in every one of them"] * 1_000_000
    assert dedup.exact(texts, memory=30_000_000).keep.sum() == 1
    assert len(dedup.substrings(texts[:200_000], min_bytes=20).spans) == 199_999
    assert dedup.contamination(texts[:200_000], texts[:1], ngram=5).contaminated.all()


SPENT = """
import sys
from pathlib import Path
import gristlm as gl

def peak():
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))

written = bytearray()
for at in range(int(sys.argv[1])):
    written += b"%x it is a word of a long text.%s" % (at % 7919, b"\\n" if at % 9 == 0 else b" ")
text = written.decode()
del written
step = sys.argv[2]
def run(texts):
    if step == "exact":
        gl.dedup.exact(texts, unit="line", num_threads=1, memory=8_000_000)
    elif step == "minhash":
        gl.dedup.signatures(texts, num_threads=1)
    elif step == "language":
        gl.identify_language(texts, num_threads=1)
    elif step == "contamination":
        gl.dedup.contamination(texts, ["a b c"], num_threads=1)
    else:
        gl.clean(texts, rules=[step], num_threads=1)
run(["what is made once"])
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = peak()
run([text])
print((peak() - before) / len(text))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
@pytest.mark.parametrize(
    ("step", "most"),
    [
        ("exact", 1.0),
        ("minhash", 0.5),
        ("language", 0.5),
        ("contamination", 0.5),
        ("gopher_quality", 5.0),
        ("gopher_repetition", 12.0),
        ("c4", 3.0),
        ("fineweb", 3.0),
        ("personal_data", 2.5),
    ],
)
def test_a_huge_text_takes_memory_in_proportion(step: str, most: float) -> None:
    """Of a text of 30 MB, how many times its size a step holds beside it."""
    done = subprocess.run([sys.executable, "-c", SPENT, "900000", step], capture_output=True, text=True, check=True)
    assert float(done.stdout) <= most


FULL = """
import resource, signal, sys
import gristlm as gl
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
texts = ["\\n".join(f"line {at} of {document}" for at in range(40)) for document in range(4000)]
options = {"unit": "line"} if sys.argv[1] == "exact" else {}
getattr(gl.dedup, sys.argv[1])(texts, memory=1_000_000, folder=sys.argv[2], **options)
"""


@pytest.mark.parametrize("call", ["exact", "minhash"])
def test_a_full_disk_is_named_and_the_call_succeeds_later(call: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, call, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "StorageError: cannot write" in done.stderr
    assert str(tmp_path) in done.stderr
    texts = ["\n".join(f"line {at} of {document}" for at in range(40)) for document in range(4000)]
    again = getattr(dedup, call)(texts, memory=1_000_000, folder=tmp_path)
    assert np.array_equal(again.keep, getattr(dedup, call)(texts).keep)
