"""Counts the instructions of tokenizing, cleaning and deduplicating; compares them with `bench/instructions.json`.

    python bench/instructions.py            # compare: fails where one grew by more than 5 %
    python bench/instructions.py --update   # write the counts of now

One thread on texts that `rust/bpe/examples/instructions.rs` and `rust/dedup/examples/instructions_data.rs` make, under
valgrind's callgrind, which counts the same within 0.01 % however busy the machine is. A count that fell by more than
5 % is reported, so that it can be kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "bench" / "instructions.json"
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "dev-release" / "examples"
PROGRAMS = {"gristlm-bpe": "instructions", "gristlm-dedup": "instructions_data"}
"""The program of each crate."""
TOLERANCE = 0.05
CASES = (
    *(f"encode {pattern} {kind}" for pattern in ("cl100k", "o200k") for kind in ("english", "multilingual", "code")),
    "encode gpt2 english",
    "encode deepseek multilingual",
    *(f"encode cl100k {kind}" for kind in ("letter", "spaces", "newlines", "word", "carets", "han", "any")),
    "decode cl100k english",
    "train cl100k english",
    "train o200k multilingual",
    *(f"data {step}" for step in ("signatures", "minhash", "exact", "lines", "substrings", "contamination")),
    *(f"data {step}" for step in ("quality", "personal", "language")),
)


def missing() -> str | None:
    """Returns what keeps this machine from counting."""
    return None if shutil.which("valgrind") else "valgrind is not installed (Debian: apt-get install valgrind)"


def build() -> None:
    """Builds the programs that are counted."""
    for crate, program in PROGRAMS.items():
        command = ["cargo", "build", "--locked", "--quiet", "--profile", "dev-release", "-p", crate]
        subprocess.run([*command, "--example", program], cwd=ROOT, check=True)


def count(case: str, num_bytes: int = 1 << 20) -> int:
    """Returns the instructions of one case."""
    work, _, rest = case.partition(" ")
    program = (
        [BINARIES / PROGRAMS["gristlm-dedup"], rest] if work == "data" else [BINARIES / "instructions", *case.split()]
    )
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--toggle-collect=*work_{work}*"]
    done = subprocess.run([*command, *program, str(num_bytes)], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"{case}: {done.stderr.splitlines()[-1] if done.stderr else done.returncode}")
    return int(found[1])


def compare(case: str, counted: int, kept: dict[str, int]) -> str | None:
    """Returns what is wrong with a count: it grew, or none is kept."""
    if case not in kept:
        return f"{case}: no count is kept; run python bench/instructions.py --update and commit bench/instructions.json"
    change = counted / kept[case] - 1
    if change <= TOLERANCE:
        return None
    return (
        f"{case}: {counted:,} instructions, {change:+.1%} over the {kept[case]:,} kept. Make it as fast as it was; or, "
        "if it must be slower, run python bench/instructions.py --update, commit bench/instructions.json and say why"
    )


def main(update: bool) -> int:
    """Counts every case; returns 1 when one grew."""
    if why := missing():
        print(why)
        return 1
    build()
    kept: dict[str, int] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    counted, failures = {}, []
    for case in CASES:
        counted[case] = count(case)
        change = f"{counted[case] / kept[case] - 1:+8.2%}" if case in kept else "     new"
        print(f"{case:<32} {counted[case]:>14,} {counted[case] / (1 << 20):>8.1f} a byte {change}", flush=True)
        if failure := compare(case, counted[case], kept):
            failures.append(failure)
    if update:
        KEPT.write_text(json.dumps(counted, indent=2) + "\n")
        return 0
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main("--update" in sys.argv[1:]))
