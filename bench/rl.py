"""The three recipes of reinforcement learning, run from nothing, beside their goals: `make bench-rl`.

    python bench/rl.py [--seeds 0 1 2] [--recipes rl-arithmetic …] [--output DIR] [--num-threads N]

Each run is a directory under the output; what is complete is not run again. The exit code is 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

STAGES = ("task", "finetune", "pairs", "reward", "second_reward", "rlhf")


class Goal(NamedTuple):
    """A figure of a run and what it must be."""

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def least(name: str, value: float, bound: float) -> Goal:
    return Goal(name, value, bound, True)


def most(name: str, value: float, bound: float) -> Goal:
    return Goal(name, value, bound, False)


def counts(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((path / "manifest.json").read_text())["counts"]
    return body


def metrics(path: Path, name: str) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row[name]) for row in rows if name in row]


def seconds(run: Path) -> float:
    """Returns the seconds of all stages on the clock."""
    stages = [json.loads((run / stage / "manifest.json").read_text()) for stage in STAGES if (run / stage).is_dir()]
    return sum(float(stage["measured"]["seconds"]) for stage in stages)


def arithmetic(run: Path) -> list[Goal]:
    found = counts(run / "rlhf")
    return [
        most("sampled before", found["reward_before"], 0.45),
        least("sampled after", found["reward_after"], 0.90),
        least("greedy after", found["reward_greedy_after"], 0.97),
        most("seconds", seconds(run), 180),
    ]


def preferences(run: Path) -> list[Goal]:
    goals = [
        least("reward model, clean pairs", counts(run / "reward")["accuracy"], 0.93),
        least("reward model, noisy pairs", noisy_accuracy(run), 0.84),
    ]
    arms = counts(run / "rlhf")["arms"]
    for name in ("ppo", "grpo"):
        before, after = arms[name]["heldout_before"], arms[name]["heldout_after"]
        goals += [
            least(f"{name}: criterion", after["criterion"], 0.80),
            least(f"{name}: criterion gained", after["criterion"] - before["criterion"], 0.50),
            most(f"{name}: kl", after["kl_k1"], 4.0),
            most(f"{name}: over-refusal", after["over_refusal"], 0.05),
            most(f"{name}: unsafe compliance", after["unsafe_compliance"], 0.05),
            most(f"{name}: facts lost", before["factual"] - after["factual"], 0.03),
        ]
    best = arms["ppo"]["best_of_n"]
    print(f"    best of {best['n']} of the start: criterion {best['criterion']:.3f}")
    return [*goals, most("seconds", seconds(run), 240)]


def noisy_accuracy(run: Path) -> float:
    """Returns the reward model's accuracy on held-out pairs of which some labels are wrong."""
    from gristlm.rlhf import RewardModel

    lines = (run / "pairs" / "preferences_heldout_noisy.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    model = RewardModel.from_pretrained(run / "reward" / "final")
    scores = [
        model.score([row["prompt"] for row in rows], [row[side][0]["content"] for row in rows])
        for side in ("chosen", "rejected")
    ]
    return float((scores[0] > scores[1]).mean())


def hacking(run: Path) -> list[Goal]:
    arms = counts(run / "rlhf")["arms"]
    unguarded = [value for _, value in metrics(run / "rlhf" / "unguarded", "check_criterion")]
    guarded = metrics(run / "rlhf" / "guarded", "check_criterion")
    kept = arms["guarded"]["rolled_back_to"] or arms["guarded"]["steps"]
    ends = dict(guarded)[kept] if arms["guarded"]["rolled_back_to"] != 0 else guarded[0][1]
    before, after = (arms["guarded"][f"heldout_{when}"]["criterion"] for when in ("before", "after"))
    why = arms["guarded"]["stopped"] or "all steps"
    print(f"    guarded: ended with step {kept} of {arms['guarded']['steps']}: {why}")
    return [
        least("unguarded: fall from its peak", max(unguarded) - unguarded[-1], 0.30),
        most("guarded: below its best check", max(value for _, value in guarded) - ends, 0.05),
        most("guarded: below the start, held out", before - after, 0.0),
    ]


CHECKS: Mapping[str, Callable[[Path], list[Goal]]] = {
    "rl-arithmetic": arithmetic,
    "rlhf-preferences": preferences,
    "rl-hacking": hacking,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", choices=list(CHECKS), default=list(CHECKS))
    parser.add_argument("--output", type=Path, default=Path("runs/bench-rl"))
    parser.add_argument("--num-threads", type=int)
    given = parser.parse_args()
    missed = 0
    for recipe in given.recipes:
        for seed in given.seeds:
            run = given.output / f"{recipe}-{seed}"
            threads = [] if given.num_threads is None else ["--num-threads", str(given.num_threads)]
            command = [sys.executable, "-m", "gristlm", "run", recipe, "--output", str(run), "--seed", str(seed)]
            log = run.with_suffix(".log")
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                subprocess.run([*command, *threads], check=True, stdout=file, stderr=file)
            print(f"{recipe}, seed {seed}", flush=True)
            for goal in CHECKS[recipe](run):
                sign = ">=" if goal.at_least else "<="
                line = f"    {goal.name:<36} {goal.value:8.3f}  goal {sign} {goal.bound:g}"
                print(line + ("" if goal.met else "  MISSED"), flush=True)
                missed += not goal.met
    print("every goal met" if not missed else f"{missed} goals missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
