"""Settings of runs that take a second, and what it means that two ended alike."""

from pathlib import Path

from gristlm.pretrain import PretrainConfig
from gristlm.training import MetricsLog

SETTINGS: dict[str, object] = {
    "model": {"num_layers": 2, "d_model": 32, "num_heads": 2, "max_seq_len": 64},
    "steps": 8,
    "global_batch_size": 4,
    "seq_len": 64,
    "warmup_steps": 2,
    "checkpoint_every": 2,
    "evaluate_every": 4,
    "evaluate_batches": 2,
    "num_threads": 1,
    "seed": 3,
}


def config(**changes: object) -> PretrainConfig:
    return PretrainConfig.model_validate({**SETTINGS, **changes})


def assert_same_end(ours: Path, theirs: Path, step: int = 8) -> None:
    for name in ("final/model.safetensors", f"checkpoints/step-{step:08d}/train_state/optimizer.safetensors"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    keep = ("step", "loss", "bits_per_byte", "lr", "grad_norm", "tokens", "heldout_loss")
    lines = [[{key: line.get(key) for key in keep} for line in MetricsLog(path).read()] for path in (ours, theirs)]
    assert lines[0] == lines[1]
