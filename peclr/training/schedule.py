"""What the optimiser sees of a run: images per step, steps in all, and the learning rate's course."""

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer

from peclr.training.optim import warmup_cosine


def optimizer_batch(trainer: pl.Trainer) -> int:
    """Images that enter one optimiser step: batch, of all processes together, × accumulation.

    Raises:
        ValueError: the trainer has no data module that tells its batch size.
    """
    datamodule: Any = getattr(trainer, "datamodule", None)
    batch_size = getattr(datamodule, "batch_size", None)
    if not isinstance(batch_size, int):
        raise ValueError(
            "lr_scaling='sqrt' needs a data module with an integer `batch_size`; got "
            f"{type(datamodule).__name__}. Use one, or set lr_scaling: none"
        )
    return batch_size * trainer.accumulate_grad_batches


def steps_per_epoch(trainer: pl.Trainer) -> int:
    """Optimiser steps of one epoch.

    Counted on a loader of its own: `trainer.estimated_stepping_batches` would make the trainer's before a resumed
    run has told it where to go on, and drop that (Lightning #20550).

    Raises:
        ValueError: the trainer has no data module.
    """
    datamodule: pl.LightningDataModule | None = getattr(trainer, "datamodule", None)
    if datamodule is None:
        raise ValueError("the learning rate's schedule needs a data module, to count the steps of an epoch")
    batches = len(datamodule.train_dataloader())
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return max(1, math.ceil(batches / trainer.accumulate_grad_batches))


def warmup_cosine_schedule(
    trainer: pl.Trainer, optimizer: Optimizer, warmup_epochs: float, waiting: Sequence[float] = ()
) -> OptimizerLRSchedulerConfig:
    """Linear warm-up, then a cosine to 0 at the last optimiser step (SimCLR, App. B.1).

    Args:
        trainer: tells how long the run is.
        optimizer: to be scheduled.
        warmup_epochs: of warm-up; parts of an epoch count.
        waiting: of each parameter group: the part of the run in which its rate is 0. By default none waits.

    Raises:
        ValueError: the run has no end: neither `max_epochs` nor `max_steps` is given.
    """
    per_epoch = steps_per_epoch(trainer)
    ends = [trainer.max_steps] if trainer.max_steps > 0 else []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        ends.append(trainer.max_epochs * per_epoch)
    if not ends:
        raise ValueError("the learning rate falls to 0 at the run's end: give trainer.max_epochs or trainer.max_steps")
    total_steps = min(ends)
    warmup_steps = min(total_steps, round(warmup_epochs * per_epoch))
    waiting_steps = [int(part * total_steps) for part in waiting]
    schedule = warmup_cosine(optimizer, warmup_steps, total_steps, waiting_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
