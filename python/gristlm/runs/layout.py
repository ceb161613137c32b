"""Where things are in a run directory."""

from __future__ import annotations

from pathlib import Path

from gristlm.errors import MissingArtifactError

# The stages of a run in the order of work, each with its directory.
STAGES = {
    "task": "task",
    "collect": "documents",
    "tokenizer": "tokenizer",
    "tokens": "tokens",
    "pretrain": "pretrain",
    "conversations": "conversations",
    "finetune": "finetune",
    "preference": "preference",
    "pairs": "pairs",
    "reward": "reward",
    "second_reward": "second_reward",
    "rlhf": "rlhf",
    "evaluate": "evaluate",
}
# The training stages of a run, latest first: the first that is complete is the model to talk to.
CHECKPOINT_STAGES = ("rlhf", "preference", "finetune", "pretrain")
# What a sample or a score of each stage's model is called.
MODEL_NAMES = {"pretrain": "base", "finetune": "sft", "preference": "preference", "rlhf": "rlhf"}


def find_checkpoint(path: Path) -> Path:
    """Returns the checkpoint directory that `path` means: itself, a stage's `final/`, or a run's latest `final/`.

    Raises:
        MissingArtifactError: `path` holds no checkpoint; says what was looked for.
    """
    if not path.exists():
        raise MissingArtifactError(f"{path} does not exist; give a run directory or a checkpoint directory")
    for candidate in (path, path / "final", *(path / stage / "final" for stage in CHECKPOINT_STAGES)):
        if (candidate / "config.json").is_file():
            return candidate
    raise MissingArtifactError(
        f"{path} holds no checkpoint: neither config.json nor final/ nor "
        f"{', '.join(f'{stage}/final' for stage in CHECKPOINT_STAGES)}; "
        "if the run was cut off, run the same command again, it resumes"
    )
