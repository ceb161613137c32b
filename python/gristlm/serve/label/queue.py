"""What fills and orders the queue: the rollouts of RLHF, and the disagreement of reward models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gristlm.errors import FormatError, MissingArtifactError
from gristlm.serve.label.pairs import Messages, Pair, messages, read_rows
from gristlm.serve.label.project import Project

Scorer = Callable[[Sequence[Messages], Sequence[str]], NDArray[np.float32]]
"""A reward model: prompts and answers in, a reward for each out."""


def rollout_pairs(rollouts: Path, *, limit: int) -> list[Pair]:
    """Returns pairs of answers that one checkpoint gave to one prompt, from the last steps first.

    Of each prompt of a step the answer with the highest reward is compared with that with the lowest.

    Args:
        rollouts: a Parquet file, or a folder of them such as `RUN/rlhf/rollouts` (columns prompt, completion, reward,
            step).
        limit: the most pairs.

    Raises:
        MissingArtifactError: there are none.
        FormatError: a file is no Parquet or a row lacks a column; names it.
    """
    files = [rollouts] if rollouts.is_file() else sorted(rollouts.glob("*.parquet"), reverse=True)
    if not files:
        raise MissingArtifactError(f"{rollouts} has no *.parquet; give a run's rlhf/rollouts")
    groups: dict[tuple[int, str], list[tuple[float, str]]] = {}
    prompts: dict[tuple[int, str], Messages] = {}
    for file in files:
        if len(groups) > limit:
            break
        for where, row in read_rows(file):
            prompt, step, answer, reward = (row.get(name) for name in ("prompt", "step", "completion", "reward"))
            if not isinstance(step, int) or not isinstance(answer, str) or not isinstance(reward, int | float):
                raise FormatError(f"{where}: a rollout needs 'step', 'prompt', 'completion' and 'reward'")
            key = (step, str(prompt))
            if answer.strip():
                groups.setdefault(key, []).append((float(reward), answer))
                prompts[key] = messages(prompt, "user", f"{where}: 'prompt'")
    pairs: list[Pair] = []
    for key in sorted(groups, reverse=True)[: 10 * limit]:
        ordered = sorted(set(groups[key]))
        (_, worst), (_, best) = ordered[0], ordered[-1]
        if best != worst and len(pairs) < limit:
            said = [[{"role": "assistant", "content": text}] for text in (best, worst)]
            pairs.append(Pair(prompts[key], said[0], said[1]))
    return pairs


def prioritise_by_disagreement(project: Project, scorers: Sequence[Scorer]) -> int:
    """Shows first the pairs on which reward models disagree; returns how many pairs were scored.

    The priority of a pair is the variance over the models of the probability that `a` is better (Bradley-Terry), plus,
    so that one model orders them too, a hundredth of how undecided the mean is.
    """
    pairs = {number: pair for number, pair in project.pairs().items() if pair.kind == "pair"}
    if not pairs:
        return 0
    prompts = [pair.prompt for pair in pairs.values()]
    sides = [["\n\n".join(turn["content"] for turn in answer) for answer in side] for side in (
        [pair.a for pair in pairs.values()], [pair.b for pair in pairs.values()]
    )]  # fmt: skip
    margins_MP = np.array([score(prompts, sides[0]) - score(prompts, sides[1]) for score in scorers], np.float64)
    wins_MP = 1 / (1 + np.exp(-np.clip(margins_MP, -50, 50)))
    mean_P = wins_MP.mean(0)
    priority_P = wins_MP.var(0) + 0.01 * mean_P * (1 - mean_P)
    project.prioritise(dict(zip(pairs, priority_P.tolist(), strict=True)))
    return len(pairs)
