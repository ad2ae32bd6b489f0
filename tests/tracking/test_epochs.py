"""Looking at a run leaves no trace in it."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from peclr.tracking.epochs import EpochCallback, undisturbed
from tests.trainer import OneWeight, quiet_trainer


class Layers(pl.LightningModule):
    """One layer that trains and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = nn.BatchNorm1d(2), nn.BatchNorm1d(2).eval()


@pytest.mark.parametrize("fails", [False, True])
def test_modes_and_random_numbers_are_put_back_even_after_an_error(*, fails: bool) -> None:
    module = Layers()
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    precision = MixedPrecision("bf16-mixed", "cpu")
    trainer = cast(pl.Trainer, SimpleNamespace(strategy=strategy, precision_plugin=precision))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    try:
        with undisturbed(trainer, module):
            assert not any(layer.training for layer in module.modules())
            assert not torch.is_grad_enabled()
            assert (torch.ones(2, 2) @ torch.rand(2, 2)).dtype == torch.bfloat16, "the run's precision"
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert (module.training, module.trained.training, module.frozen.training) == (True, True, False)
    assert torch.equal(torch.rand(3), expected)
    assert torch.is_grad_enabled()


class Looks(EpochCallback):
    """Notes the number of steps at which it looked."""

    def prepare(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the list."""
        self.steps: list[int] = []

    def look(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note."""
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize(
    ("epochs", "most", "expected"), [(3, -1, [0, 8, 12]), (-1, 10, [0, 8, 10]), (9, 8, [0, 8]), (-1, 3, [0, 3])]
)
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_the_last_epoch_is_looked_at_whatever_ends_the_run(
    epochs: int, most: int, expected: list[int], tmp_path: Path
) -> None:
    looks = Looks(every_n_epochs=2)
    trainer = quiet_trainer(tmp_path, max_epochs=epochs, max_steps=most, callbacks=[looks])
    trainer.fit(OneWeight(), DataLoader(TensorDataset(torch.ones(4, 1))))
    assert looks.steps == expected
