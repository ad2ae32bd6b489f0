"""What changes in a module when it is trained on several devices."""

import pytorch_lightning as pl
from torch import nn


def wants_sync_batchnorm(trainer: pl.Trainer) -> bool:
    """Whether a run is on several GPUs: torch has no SyncBatchNorm for CPUs."""
    return trainer.world_size > 1 and trainer.strategy.root_device.type == "cuda"


def synchronize_batchnorm(module: nn.Module) -> None:
    """Make all BatchNorm layers inside `module` normalize with the statistics of all processes, in place.

    A process that normalizes its pairs alone tells by that which views belong together (SimCLR, §3.2). Parameters
    and keys of the state dict stay as they are.
    """
    nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]  # torch's, without types
