"""Which of a run's checkpoints is the best: by which metric, and whether another is better, also after resuming."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from peclr.runs.durable import read_checkpoint
from peclr.untrusted.text import as_type

KEY: Final = "peclr_best"  # of a checkpoint: the best of its run until then
MONITORED: Final = ("val/pa_epe_mm", "probe/pa_epe_mm", "val/loss")  # unless another is asked for: the first there is
_LARGER_IS_BETTER: Final = ("auc",)  # ends of names


class Best(msgspec.Struct, frozen=True):
    """What is known of the best checkpoint."""

    metric: str
    value: float
    step: int  # optimizer steps before it

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.4g} at step {self.step}"


class BestSoFar:
    """Compares by a metric `monitor`, of which the least is the best, or by `mode` the greatest; None chooses both."""

    def __init__(self, monitor: str | None, mode: Literal["min", "max"] | None) -> None:
        self.monitor, self.mode = monitor, mode
        self.found: Best | None = None

    def improves(self, metrics: Mapping[str, Any], step: int) -> bool:
        """Note and return whether a metric has a better value than ever; one that is not logged has none."""
        name = next((name for name in self._names() if name in metrics), None)
        if name is None or not math.isfinite(value := float(metrics[name])):
            return False
        before = self.found.value if self.found is not None and self.found.metric == name else None
        mode = self.mode or ("max" if name.endswith(_LARGER_IS_BETTER) else "min")
        if before is not None and (value <= before if mode == "max" else value >= before):
            return False
        self.found = Best(name, value, step)
        return True

    def take_over(self, path: Path) -> bool:
        """Go on from what a run's best.ckpt says of itself; return whether it is one by the same metric."""
        said = read_checkpoint(path).get(KEY)
        found = None if said is None else as_type(said, Best, f"{path}: {KEY!r}")
        if found is not None and found.metric in self._names():
            self.found = found
        return self.found is not None

    def _names(self) -> tuple[str, ...]:
        """Metrics to look for: once one was there, none that is worth less takes its place."""
        if self.monitor is not None:
            return (self.monitor,)
        if self.found is not None and self.found.metric in MONITORED:
            return MONITORED[: MONITORED.index(self.found.metric) + 1]
        return MONITORED
