"""When trackers look at a run, and how they do so without a trace in it."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from peclr.data.datamodules import PairedViewDataModule


class EpochCallback(Callback):
    """Looks before training and after every n-th epoch and the last, on the main process, between two steps.

    What is trained is the same with it and without, to the last bit. Other processes meanwhile wait at their next
    step; nothing is exchanged with them. All `counts` must be at least 1.

    Args:
        every_n_epochs: n.
        counts: other whole numbers of the callback, by their names.
    """

    def __init__(self, every_n_epochs: int, **counts: int) -> None:
        for name, count in {"every_n_epochs": every_n_epochs, **counts}.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        self.every_n_epochs = every_n_epochs

    @abstractmethod
    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that the run has what is needed, and read it; before training, on the main process."""

    @abstractmethod
    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do what the callback is for; the module is in evaluation mode, and without gradients."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare; look at the network as it starts, unless it is resumed."""
        if _wants(trainer):
            with undisturbed(trainer, pl_module):
                self.prepare(trainer, pl_module)
                if trainer.global_step == 0:
                    self.look(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, if it is time."""
        done = trainer.current_epoch + 1
        last = done == trainer.max_epochs or trainer.global_step == trainer.max_steps
        if _wants(trainer) and (last or done % self.every_n_epochs == 0):
            with undisturbed(trainer, pl_module):
                self.look(trainer, pl_module)


def _wants(trainer: pl.Trainer) -> bool:
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]  # set at run time


@contextmanager
def undisturbed(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Evaluation mode, no gradients, the run's precision; layers' modes and torch's random state are put back."""
    modes = [(layer, layer.training) for layer in module.modules()]
    device = trainer.strategy.root_device
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), trainer.precision_plugin.forward_context():
            module.eval()
            yield
    finally:
        for layer, training in modes:
            layer.training = training


def pairs_of(trainer: pl.Trainer, callback: EpochCallback) -> PairedViewDataModule:
    """The run's paired views; ValueError if it trains on something else."""
    module = getattr(trainer, "datamodule", None)
    if not isinstance(module, PairedViewDataModule):
        raise ValueError(f"{type(callback).__name__} needs a PairedViewDataModule, got {type(module).__name__}")
    return module


def evenly(length: int, count: int) -> list[int]:
    """At most `count` indices, spread evenly over `length` items."""
    return [round(index) for index in np.linspace(0, length - 1, min(count, length)).tolist()]
