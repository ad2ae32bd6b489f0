"""A Lightning trainer that leaves nothing behind and says nothing, and the least that it can train."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch


class OneWeight(pl.LightningModule):
    """The least that trains: its loss is its weight, whatever the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any) -> torch.Tensor:
        return self.weight

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def quiet_trainer(folder: Path, **options: Any) -> pl.Trainer:
    """A trainer on the CPU without logger, checkpoints or progress; the data modules split batches, as in runs.

    Args:
        folder: where it would write.
        options: of the trainer, these included.
    """
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
    }
    return pl.Trainer(default_root_dir=folder, **(quiet | options))
