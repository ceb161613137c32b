"""What a run reads: its own tokens alone, or a weighted mixture with other token artifacts."""

from __future__ import annotations

from pathlib import Path

from gristlm.errors import ConfigError
from gristlm.pretrain.config import OWN, PretrainConfig
from gristlm.training.packed_loader import PackedLoader, Source, Weight


def folders(config: PretrainConfig, tokens_dir: Path) -> dict[str, Path]:
    """Returns the token artifacts by their name in `mixture`; the run's own is the first.

    Raises:
        ConfigError: the mixture leaves the run's own tokens out, or limits the epochs of what it does not hold.
    """
    names = config.mixture or {OWN: 1.0}
    if OWN not in names:
        raise ConfigError(
            f"pretrain.mixture has {', '.join(names)}; it also needs the share of {OWN!r}, the run's own tokens"
        )
    if unknown := [name for name in config.max_epochs if name not in names]:
        raise ConfigError(f"pretrain.max_epochs names {unknown[0]!r}; pretrain.mixture has {', '.join(names)}")
    return {name: tokens_dir if name == OWN else Path(name) for name in (OWN, *(name for name in names if name != OWN))}


def open_loader(config: PretrainConfig, tokens_dir: Path, *, rank: int = 0, world_size: int = 1) -> PackedLoader:
    """Returns the loader of a run's batches, at its first step; see `folders` for what it raises."""
    paths = {name: path / "train" for name, path in folders(config, tokens_dir).items()}
    mixture = config.mixture or {OWN: 1.0}
    sources: dict[Source, Weight] = {path: mixture[name] for name, path in paths.items()}
    limits: dict[Source, int | None] = {paths[name]: limit for name, limit in config.max_epochs.items()}
    loader = PackedLoader(
        sources,
        seq_len=config.seq_len,
        batch_size=config.global_batch_size // world_size,
        seed=config.seed,
        rank=rank,
        world_size=world_size,
        epochs=limits or None,
    )
    if loader.num_steps is not None and loader.num_steps < config.steps:
        raise ConfigError(
            f"pretrain.max_epochs allows {loader.num_steps} steps of {config.global_batch_size} x {config.seq_len} "
            f"tokens, pretrain.steps is {config.steps}; raise a limit or lower steps"
        )
    return loader
