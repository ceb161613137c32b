"""What a run remembers besides weights: the best held-out loss so far and the losses that spikes are judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gristlm.errors import DamagedArtifactError
from gristlm.pretrain.config import PretrainConfig
from gristlm.training.spikes import Spikes


class BestSoFar:
    """The lowest held-out loss, and whether it is time to end.

    Args:
        patience: measurements without a lower loss after which training ends; None: never.
        step: of the lowest loss; None before the first measurement.
        loss: the lowest.
        worse: measurements since.
    """

    def __init__(self, patience: int | None, step: int | None = None, loss: float = math.inf, worse: int = 0) -> None:
        self._patience, self.step, self.loss, self.worse = patience, step, loss, worse

    def saw(self, step: int, loss: float) -> None:
        """Takes in one measurement."""
        if loss < self.loss:
            self.step, self.loss, self.worse = step, loss, 0
        else:
            self.worse += 1

    @property
    def ended(self) -> bool:
        """Whether patience has run out."""
        return self._patience is not None and self.worse >= self._patience


def saved(best: BestSoFar, spikes: Spikes) -> dict[str, object]:
    """Returns both as JSON."""
    loss = best.loss if math.isfinite(best.loss) else None
    return {"best": {"step": best.step, "loss": loss, "worse": best.worse}, "spikes": spikes.state()}


def restored(state: Mapping[str, object], config: PretrainConfig) -> tuple[BestSoFar, Spikes]:
    """Returns what `saved` gave.

    Raises:
        DamagedArtifactError: it is not what was written.
    """
    try:
        best, spikes = state["best"], state["spikes"]
        assert isinstance(best, dict)
        assert isinstance(spikes, dict)
        loss = math.inf if best["loss"] is None else float(best["loss"])
        return (
            BestSoFar(config.patience, best["step"], loss, int(best["worse"])),
            Spikes(config.spike_deviations, [float(value) for value in spikes["recent"]], int(spikes["skipped"])),
        )
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise DamagedArtifactError(f"the checkpoint's state.json lacks what pretraining keeps: {error!r}") from error
