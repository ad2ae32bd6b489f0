"""What the optimiser sees of a run: images per step, steps in all, and the learning rate's course."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import Optimizer

from peclr.training.optim import warmup_cosine


def optimizer_batch(trainer: pl.Trainer) -> int:
    """Images that enter one optimiser step: batch × accumulation × processes.

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
    return batch_size * trainer.accumulate_grad_batches * trainer.world_size


def warmup_cosine_schedule(
    trainer: pl.Trainer, optimizer: Optimizer, warmup_epochs: float
) -> OptimizerLRSchedulerConfig:
    """Linear warm-up, then a cosine to 0 at the last optimiser step (SimCLR, App. B.1)."""
    total_steps = max(1, int(trainer.estimated_stepping_batches))
    epochs = max(1, trainer.max_epochs or 1)
    # a run bounded by steps may never reach max_epochs: warm up at most as long as it lasts
    warmup_steps = min(total_steps, round(total_steps * warmup_epochs / epochs))
    schedule = warmup_cosine(optimizer, warmup_steps, total_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
