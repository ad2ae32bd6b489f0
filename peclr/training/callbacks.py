"""Callbacks for any run: what it shows while it runs, and the results as a file that programs can read."""

import json
import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar

from peclr.models.encoders import encoders_in
from peclr.options import write_whole
from peclr.runs.layout import RESULTS

_SECONDS_BETWEEN_READINGS = 1.0
_KEY = "peclr_metrics"  # of a checkpoint


def _scalars(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(metrics.items())}


class EpochLine(Callback):
    """Prints one line per n epochs and for the last: progress in a file or a pipe.

    Args:
        label: what the line starts with.
        every_n_epochs: n.
    """

    def __init__(self, label: str = "", every_n_epochs: int = 1) -> None:
        self.label = label
        self.every_n_epochs = every_n_epochs
        self._started, self._first = math.nan, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, in the middle of an epoch if the run goes on there."""
        self._started, self._first = time.perf_counter(), trainer.fit_loop.batch_idx + 1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started, self._first = time.perf_counter(), 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs
        if not trainer.is_global_zero or (done % self.every_n_epochs and done != total):
            return
        seconds = time.perf_counter() - self._started
        metrics = _scalars(trainer.callback_metrics)
        logged = [name for name in metrics if name == "train/loss" or name.startswith(("val/", "probe/"))]
        shown = "  ".join(f"{name} {metrics[name]:.3f}" for name in logged)
        rate = (trainer.fit_loop.batch_idx + 1 - self._first) / max(seconds, 1e-9)
        of = f"/{total}" if total is not None and total > 0 else ""  # a number of steps may end the run
        print(f"{self.label:<10} epoch {done}{of}  {shown}  {rate:.1f} steps/s", flush=True)


class SparingProgressBar(TQDMProgressBar):
    """Lightning's bar of the epoch, with what is left of the run.

    Its loss is that of up to a second ago: to read it, the host waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._first, self._started = 0, math.nan
        self._read: dict[str, Any] = {}
        self._read_at = -math.inf

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Metrics that the bar shows."""
        now = time.monotonic()
        if now - self._read_at >= _SECONDS_BETWEEN_READINGS:
            self._read, self._read_at = dict(super().get_metrics(trainer, pl_module)), now
            done, all_steps = trainer.global_step - self._first, trainer.estimated_stepping_batches
            if done > 0 and math.isfinite(all_steps):
                seconds = (now - self._started) / done * (all_steps - trainer.global_step)
                self._read["left"] = str(timedelta(seconds=round(seconds)))
        return self._read

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._first, self._started = trainer.global_step, time.monotonic()
        super().on_train_start(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show its scores at once."""
        self._read_at = -math.inf
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the epoch's last values on the screen."""
        self._read_at = -math.inf
        super().on_train_epoch_end(trainer, pl_module)


class FiniteLoss(Callback):
    """Stops a run whose loss is no longer a number, before its weights replace a good checkpoint."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look as often as the logger writes, when the loss is on its way to the host anyway, or with 0 never."""
        every = trainer.log_every_n_steps * trainer.accumulate_grad_batches  # type: ignore[attr-defined]  # set at run time
        if every and (batch_idx + 1) % every == 0:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look before the epoch's checkpoint is written."""
        self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and not math.isfinite(loss):
            reason = f"train/loss is {float(loss)} at step {trainer.global_step}: the run has diverged"
            raise ValueError(f"{reason}; lower the learning rate, and resume from an earlier checkpoint")


class CompileEncoder(Callback):
    """Compiles the encoder, by far the most of a step, in place: checkpoints of compiled and other runs fit each other.

    Args:
        mode: of torch.compile; those that use CUDA graphs do not go with gradient caching.
        backend: of torch.compile.
    """

    def __init__(self, mode: str = "default", backend: str = "inductor") -> None:
        self.mode = mode
        self.backend = backend

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compile; the kernels themselves are made at the first step."""
        if not (encoders := encoders_in(pl_module)):
            raise ValueError(f"CompileEncoder: {type(pl_module).__name__} has no encoder to compile")
        for encoder in encoders:
            options = {} if self.backend != "inductor" else {"mode": self.mode}  # only inductor has modes
            encoder.compile(backend=self.backend, **options)


class ResultsFile(Callback):
    """Writes the run's last metrics to `FOLDER/results.json` when fitting or testing has succeeded.

    Checkpoints hold them, too: a run that was killed after its last one has nothing left to measure.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: dict[str, float] = {}
        self._step = -1

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the metrics."""
        checkpoint[_KEY] = _scalars(trainer.callback_metrics)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the metrics, and of which step they are."""
        self._before, self._step = checkpoint.get(_KEY, {}), checkpoint["global_step"]

    def _write(self, trainer: pl.Trainer, stage: str) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set at run time
            return
        before = self._before if stage == "fit" and trainer.global_step == self._step else {}
        metrics = _scalars(before | trainer.callback_metrics)
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}  # JSON has no NaN
        results: dict[str, Any] = {"stage": stage, "epoch": trainer.current_epoch, "step": trainer.global_step}
        loader: Any = trainer.test_dataloaders
        if stage == "test" and trainer.limit_test_batches == 1:
            results["images"] = len(loader.dataset)  # of all processes together
        if teacher := getattr(getattr(trainer, "datamodule", None), "teacher", None):
            results |= {"labels": "pseudo", "teacher": teacher}
        results["metrics"] = finite
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / RESULTS, json.dumps(results, indent=2, allow_nan=False) + "\n")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After training."""
        self._write(trainer, "fit")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After `validate`; validation inside `fit` is followed by on_fit_end."""
        if trainer.state.fn == "validate":
            self._write(trainer, "validate")

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After testing."""
        self._write(trainer, "test")
