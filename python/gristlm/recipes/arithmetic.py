"""Two-digit addition: data for `rl-arithmetic.toml`.

The 8,100 sums of two numbers from 10 to 99 are divided once per seed, at random: 1,000 are held out, 200 are for
looking at on the way (dev), and no file for training contains them (the same two numbers the other way round are
another sum). The rest are shown in supervised tuning by a careless teacher, who is right in every third answer
and otherwise off by one or by ten, as if a carry had been lost; in reinforcement learning they are asked without
answers.
"""

import random

SHOWN = 6
"""Answers shown to each sum."""
RIGHT = 0.33
"""Share of them that are right."""
SLIPS = (-10, -1, 1, 10)


def make(seed: int) -> dict[str, list[dict[str, object]]]:
    """Returns the rows of every file."""
    draw = random.Random(seed)
    sums = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    draw.shuffle(sums)
    heldout, dev, train = sums[:1000], sums[1000:1200], sums[1200:]
    shown = [_shown(a, b, draw) for a, b in train for _ in range(SHOWN)]
    draw.shuffle(shown)
    return {
        "sft": shown,
        "sft_heldout": [_shown(a, b, draw) for a, b in heldout],
        "prompts": [_asked(a, b) for a, b in train],
        "prompts_dev": [_asked(a, b) for a, b in dev],
        "prompts_heldout": [_asked(a, b) for a, b in heldout],
    }


def _shown(a: int, b: int, draw: random.Random) -> dict[str, object]:
    slip = 0 if draw.random() < RIGHT else draw.choice(SLIPS)
    answer = {"role": "assistant", "content": str(a + b + slip)}
    return {"messages": [{"role": "user", "content": f"{a}+{b}"}, answer]}


def _asked(a: int, b: int) -> dict[str, object]:
    return {"prompt": f"{a}+{b}", "kind": "answer", "reference": str(a + b)}
