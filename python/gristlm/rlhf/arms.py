"""Arms: several runs of RLHF from one start, side by side, each with settings of its own.

output_dir/NAME/            a whole run, an artifact of its own
output_dir/heldout.jsonl    the prompts they are measured on
output_dir/final/           the model of the last arm: what to chat with
output_dir/manifest.json    their counts side by side
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from gristlm.model import Model
from gristlm.rlhf.config import RLHFConfig
from gristlm.runs import progress
from gristlm.runs.artifact import Manifest
from gristlm.training import checkpoint
from gristlm.training.distributed import Ranks


def run_arms(
    config: RLHFConfig,
    inputs: Mapping[str, Path],
    path: Path,
    ranks: Ranks,
    one: Callable[[RLHFConfig, Mapping[str, Path], Path], Manifest],
) -> dict[str, object]:
    """Returns the counts of all arms; `one` runs each, skipping what is complete and resuming what was cut off."""
    names = list(config.arms or {})
    done: dict[str, Manifest] = {}
    for place, name in enumerate(names):
        settings = config.arm(name)
        if place:  # the baseline is of the start, which all arms share
            settings = settings.model_copy(update={"best_of_n": None})
        progress.say(f"  arm {name}: {settings.algorithm}")
        done[name] = one(settings, inputs, path / name)
    last = names[-1]
    if ranks.first:
        shutil.copyfile(path / names[0] / "heldout.jsonl", path / "heldout.jsonl")
        model = Model.from_pretrained(path / last / "final")
        checkpoint.write_final(path, model, tokenizer_dir=inputs["checkpoint"])
    counts: dict[str, object] = {
        key: done[last].counts[key] for key in ("reward_before", "reward_after", "kl", "steps", "stopped")
    }
    arms = {name: {**manifest.counts, "digest": manifest.digest} for name, manifest in done.items()}
    return {**counts, "arms": arms}
