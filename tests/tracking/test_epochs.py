"""Looking at a run leaves no trace in it."""

from types import SimpleNamespace
from typing import cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn

from peclr.tracking.epochs import undisturbed


class Layers(pl.LightningModule):
    """One layer that trains and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = nn.BatchNorm1d(2), nn.BatchNorm1d(2).eval()


@pytest.mark.parametrize("fails", [False, True])
def test_modes_and_random_numbers_are_put_back_even_after_an_error(fails: bool) -> None:
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
