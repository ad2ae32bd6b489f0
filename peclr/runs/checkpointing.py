"""A run's own checkpoints: enough of them to lose little to a kill, one before every orderly end, and the best."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import msgspec
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_warn

from peclr.collectives import max_over_hosts
from peclr.runs.best import KEY, BestSoFar
from peclr.runs.durable import read_checkpoint, write_checkpoint
from peclr.runs.layout import BEST, LAST, last_checkpoint, listed
from peclr.runs.resuming import reschedule, restore, settle
from peclr.untrusted.binary import damage_of_zip

# What processes agree upon after a step: nothing, a checkpoint, or a signal, by its number; the greatest wins.
_NOTHING, _SAVE = 0, 1
# What ends a run, and the signals that schedulers send before they end one.
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_DEFERRABLE = (signal.SIGUSR1, signal.SIGUSR2)


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically and checks them when it reads them; Lightning's own does not wait for the disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write; errors as `write_checkpoint`."""
        if storage_options is not None:
            raise TypeError(f"{type(self).__name__} takes no storage_options, got {storage_options}")
        is_best = checkpoint.get(KEY, {}).get("step") == checkpoint.get("global_step")
        write_checkpoint(checkpoint, Path(path), best=is_best and Path(path).name == LAST)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,  # noqa: FBT001 (Lightning's signature)
    ) -> dict[str, Any]:
        """Read with weights_only, whatever is asked for; errors as `read_checkpoint`."""
        return read_checkpoint(Path(path), map_location or "cpu")


class RunCheckpoints(Checkpoint):
    """Keeps a run's `last.ckpt`, as `previous.ckpt` what it was before, and as `best.ckpt` the best by a metric.

    The last is written at every epoch's end; within epochs every few minutes or steps, against what gives no warning;
    and after the step in which Ctrl-C or SIGTERM comes, which then ends the run with status 130 or 143. Signals with a
    handler, as Lightning's for SLURM's requeueing, are passed on after the step, too. A run that resumes ends with the
    weights of one that was never interrupted: it is saved between two optimizer steps only.

    Args:
        every_minutes: longest time without a checkpoint within an epoch; 0 turns this off.
        every_n_steps: optimizer steps between two checkpoints within an epoch; 0 turns this off.
        monitor: metric of the best; null takes the first that the run logs of val/pa_epe_mm, probe/pa_epe_mm, val/loss.
        mode: whether its least or greatest value is the best; null takes the greatest of an AUC, the least of others.
    """

    def __init__(
        self,
        every_minutes: float = 10.0,
        every_n_steps: int = 0,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
    ) -> None:
        if min(every_minutes, every_n_steps) < 0:
            got = f"{every_minutes} and {every_n_steps}"
            raise ValueError(f"expected every_minutes ≥ 0 and every_n_steps ≥ 0, got {got}")
        super().__init__()
        self.every_minutes = every_minutes
        self.every_n_steps = every_n_steps
        self.best = BestSoFar(monitor, mode)
        self._interruptions = _Interruptions()
        self._step = self._saved_step = self._max_steps = -1
        self._between_steps = True
        self._saved_at = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Put what is damaged aside, or it would displace a good `previous.ckpt`; see how good the best has been."""
        if stage != "fit" or not trainer.is_global_zero:
            return
        best = _best(trainer)
        for path in (_last(trainer), best):
            if path.exists() and damage_of_zip(path):
                path.replace(path.with_name(f"{path.name}.damaged"))
        if best.exists() and not self.best.take_over(best):  # it is by another metric, or nobody knows by which
            best.replace(best.with_name(f"{BEST}.before"))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let the checkpoint say which was the best until then, perhaps itself."""
        if self.best.found is not None:
            checkpoint[KEY] = msgspec.to_builtins(self.best.found)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Correct the place to go on from, before Lightning takes it."""
        settle(checkpoint["loops"]["fit_loop"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hide `max_steps` while a checkpoint is loaded: with it, Lightning would go on in an epoch that has ended."""
        self._max_steps, trainer.fit_loop.epoch_loop.max_steps = trainer.max_steps, -1
        restore(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals from Lightning, which has its handlers by now."""
        trainer.fit_loop.epoch_loop.max_steps = self._max_steps
        reschedule(trainer)
        self._interruptions.install(verbose=trainer.is_global_zero)
        self._step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time; act upon signals; later, if validation or the epoch's end comes before another batch."""
        self._between_steps = trainer.global_step != self._step
        self._step, loop = trainer.global_step, trainer.fit_loop
        assert loop._data_fetcher is not None
        if (
            self._between_steps
            and not _is_whole(trainer)
            and not loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
        ):
            self._act(trainer, _SAVE if self._is_time(trainer) else _NOTHING)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if it is time, and act upon signals, after the step before."""
        if self._between_steps and not trainer.sanity_checking:
            self._act(trainer, _SAVE if self._is_time(trainer) else _NOTHING)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Act upon signals, alone: processes need not have equally many batches to validate on."""
        if trainer.world_size == 1 and self._between_steps:
            self._act(trainer, _NOTHING)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save if it is the best; at the epoch's end, that is still to come."""
        if (
            trainer.state.fn == "fit"
            and not trainer.sanity_checking
            and not _is_whole(trainer)
            and self._improves(trainer)
        ):
            self._save(trainer, _last(trainer) if self._between_steps else _best(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save; not where `max_steps` ended the epoch early, as that step's checkpoint knows how to go on in it."""
        if (metric := self.best.monitor) is not None and metric not in trainer.callback_metrics:
            logged = listed(sorted(trainer.callback_metrics))
            rank_zero_warn(f"no {BEST} yet: the run has not logged checkpoint.monitor {metric}, but {logged}")
        resumable = _is_whole(trainer) or self._saved_step != trainer.global_step
        improves = self._improves(trainer)
        self._act(trainer, _SAVE if resumable else _NOTHING)
        if improves and not resumable:
            self._save(trainer, _best(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the signals back."""
        self._interruptions.restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back. Nothing is saved: an error may come in the middle of a step, and on one process."""
        self._interruptions.restore()

    def _is_time(self, trainer: pl.Trainer) -> bool:
        by_step = self.every_n_steps > 0 and trainer.global_step % self.every_n_steps == 0
        by_clock = self.every_minutes > 0 and time.monotonic() - self._saved_at >= self.every_minutes * 60
        return by_step or by_clock or trainer.global_step == trainer.max_steps

    def _improves(self, trainer: pl.Trainer) -> bool:
        """Whether this is the best; the first process knows, as it alone has what probes measure."""
        improves = self.best.improves(trainer.callback_metrics, trainer.global_step)
        return bool(max_over_hosts(int(improves and trainer.is_global_zero)))

    def _act(self, trainer: pl.Trainer, wish: int) -> None:
        """Save, requeue or stop: what any process has to do, all do, after the same step; no device is waited for."""
        wish = max_over_hosts(max(wish, self._interruptions.received))
        if wish == _SAVE:
            self._save(trainer, _last(trainer))
        elif wish in _STOPPING:
            self._save(trainer, _last(trainer))
            _log_row(trainer)
            if not trainer.is_global_zero:
                raise SystemExit(0)  # Lightning's launcher takes any other status of a child for a crash, and kills
            what = f"stopped by {signal.Signals(wish).name} after step {trainer.global_step}"
            options = f"--ckpt_path {_last(trainer)} --run_dir {trainer.default_root_dir}"
            print(f"peclr: {what}; the same command with {options} goes on", file=sys.stderr)
            raise SystemExit(128 + wish)
        elif wish != _NOTHING:
            self._interruptions.handle(wish)

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        if path.name == LAST:
            self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set at run time
            trainer.save_checkpoint(path, weights_only=False)


def _log_row(trainer: pl.Trainer) -> None:
    """Log what Lightning would log after this step or epoch, which the run that goes on does not take again."""
    loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
    if trainer.validating:  # it has logged the step, and validates again
        return
    if connector._first_loop_iter is not None:
        connector.update_train_step_metrics()
        return
    loop._batches_that_stepped -= 1  # as Lightning numbers what it logs of an epoch
    connector.update_train_epoch_metrics()


def _last(trainer: pl.Trainer) -> Path:
    return last_checkpoint(Path(trainer.default_root_dir))


def _best(trainer: pl.Trainer) -> Path:
    return _last(trainer).with_name(BEST)


def _is_whole(trainer: pl.Trainer) -> bool:
    """Whether the epoch's last batch is the one at hand."""
    return trainer.fit_loop.batch_idx + 1 >= trainer.num_training_batches


class _Interruptions:
    """Notes Ctrl-C and SIGTERM, and holds back what others handle: in a step, weights and counters disagree."""

    def __init__(self) -> None:
        self.received = 0  # the signal to act upon next
        self._before: dict[signal.Signals, Any] = {}
        self._verbose = False

    def install(self, *, verbose: bool) -> None:
        """Take over the signals; only in a process' main thread, where Python lets one."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        self.received, self._verbose = 0, verbose
        handled = [number for number in _DEFERRABLE if callable(signal.getsignal(number))]
        self._before = {number: signal.signal(number, self._note) for number in (*_STOPPING, *handled)}

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def handle(self, number: int) -> None:
        """Do what another handler wanted to do when the signal came."""
        self.received = 0
        handler = self._before.get(signal.Signals(number))
        if callable(handler):
            handler(number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:  # twice: at once
            self.restore()
            raise KeyboardInterrupt
        if number in _STOPPING and self._verbose:
            # to stderr; a handler must not print: it may have interrupted a print
            os.write(2, b"\npeclr: stopping after this step; Ctrl-C again stops at once, without a checkpoint\n")
        # a request to stop outranks one to requeue
        if number in _STOPPING or self.received not in _STOPPING:
            self.received = number
