"""The figures of each step besides the loss: speed, share of the device's peak, waiting for data, memory."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from gristlm.model import ModelConfig
from gristlm.pretrain.config import PretrainConfig
from gristlm.training import flops, sinks
from gristlm.training.distributed import Ranks
from gristlm.training.metrics import MetricsLog


class Telemetry:
    """Measures steps and writes their figures, on the first rank alone.

    Args:
        config: names the sinks.
        stage_dir: where `metrics.jsonl` is.
        shape: of the model.
        device: where it computes.
        ranks: all processes.
    """

    def __init__(
        self, config: PretrainConfig, stage_dir: Path, shape: ModelConfig, device: torch.device, ranks: Ranks
    ) -> None:
        self._first = ranks.first
        self._log = MetricsLog(stage_dir)
        self._sinks = sinks.open_sinks(config.sinks, stage_dir) if ranks.first else []
        self._flops_per_token = flops.per_token(shape, config.seq_len)
        peak = flops.peak(torch.cuda.get_device_name(device) if device.type == "cuda" else None)
        self._peak = None if peak is None else peak * (ranks.world_size if device.type == "cuda" else 1)
        self._device = device
        self._began = self._waited = 0.0

    def begin(self, step: int) -> None:
        """Forgets figures after `step`, which will come again."""
        if self._first:
            self._log.truncate(step)

    def step_begins(self) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()

    def data_arrived(self) -> None:
        """Notes how long the loader took."""
        self._waited = time.perf_counter() - self._began

    def step_ends(self, tokens: int) -> dict[str, float]:
        """Returns the step's figures; `tokens` are of all ranks."""
        speed = tokens / (time.perf_counter() - self._began)
        figures = {"tokens_per_second": speed, "data_wait_seconds": self._waited}
        if self._peak is not None:
            figures["mfu"] = speed * self._flops_per_token / self._peak
        figures["memory_bytes"] = float(
            torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else _resident()
        )
        return figures

    def write(self, step: int, tokens: int, figures: dict[str, float]) -> None:
        """Writes one step's figures everywhere."""
        if self._first:
            self._log.write(step, tokens=tokens, **figures)
        for sink in self._sinks:
            sink.write(step, figures)

    def close(self) -> None:
        """Ends the sinks."""
        for sink in self._sinks:
            sink.close()


def _resident() -> int:
    """Returns this process's memory in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096
