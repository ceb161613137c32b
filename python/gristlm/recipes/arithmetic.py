"""Two-digit addition: data for `rl-arithmetic.toml`.

The 8,100 sums of two numbers from 10 to 99 are divided once per seed, at random: 1,000 are held out, and no file for
training contains them (the same two numbers the other way round are another sum). The rest are shown in supervised
tuning with their right answers, and asked, without answers, in reinforcement learning.
"""

import random


def make(seed: int) -> dict[str, list[dict[str, object]]]:
    """Returns the rows of every file."""
    sums = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(seed).shuffle(sums)
    heldout, train = sums[:1000], sums[1000:]
    return {
        "sft": [_shown(a, b) for a, b in train],
        "sft_heldout": [_shown(a, b) for a, b in heldout],
        "prompts": [_asked(a, b) for a, b in train],
        "prompts_heldout": [_asked(a, b) for a, b in heldout],
    }


def _shown(a: int, b: int) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": f"{a}+{b}"}, {"role": "assistant", "content": str(a + b)}]}


def _asked(a: int, b: int) -> dict[str, object]:
    return {"prompt": f"{a}+{b}", "kind": "answer", "reference": str(a + b)}
