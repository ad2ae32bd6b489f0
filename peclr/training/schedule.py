"""What the optimizer sees of a run: images per step, steps in all, and the learning rate's course."""

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer

from peclr.training.optim import warmup_cosine


def optimizer_batch(trainer: pl.Trainer) -> int:
    """Images that enter one optimizer step of all processes: batch × accumulation, or what an epoch has.

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
    per_epoch, images = _epoch(trainer)
    return min(images, batch_size * batches_of_step(trainer, per_epoch))


def batches_of_step(trainer: pl.Trainer, per_epoch: int, batch_idx: int = 0) -> int:
    """How many batches enter the optimizer step that one belongs to: an epoch's last step takes what is left.

    Args:
        trainer: accumulates.
        per_epoch: batches of an epoch.
        batch_idx: of the batch, in its epoch.
    """
    start = batch_idx - batch_idx % trainer.accumulate_grad_batches
    return min(trainer.accumulate_grad_batches, per_epoch - start)


def _epoch(trainer: pl.Trainer) -> tuple[int, int]:
    """Batches of an epoch, and images in all of the data that it goes through.

    Counted on a loader of its own: `trainer.estimated_stepping_batches` would make the trainer's before a resumed
    run has told it where to go on, and drop that (Lightning #20550).

    Raises:
        ValueError: the trainer has no data module.
    """
    datamodule: pl.LightningDataModule | None = getattr(trainer, "datamodule", None)
    if datamodule is None:
        raise ValueError("the learning rate's schedule needs a data module, to count the steps of an epoch")
    loader = datamodule.train_dataloader()
    batches, limit = len(loader), trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return max(1, batches), loader.sampler.total


def warmup_cosine_schedule(
    trainer: pl.Trainer, optimizer: Optimizer, warmup_epochs: float, waiting: Sequence[float] = ()
) -> OptimizerLRSchedulerConfig:
    """Linear warm-up, then a cosine to 0 at the last optimizer step (SimCLR, App. B.1).

    Args:
        trainer: tells how long the run is.
        optimizer: to be scheduled.
        warmup_epochs: of warm-up; parts of an epoch count.
        waiting: of each parameter group: the part of the run in which its rate is 0. By default none waits.

    Raises:
        ValueError: the run has no end: neither `max_epochs` nor `max_steps` is given.
    """
    per_epoch = math.ceil(_epoch(trainer)[0] / trainer.accumulate_grad_batches)
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
