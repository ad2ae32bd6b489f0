"""The ablations' own variants do what their names say."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch

from experiments.rendered.variants import EmaTarget, OneViewRecoloured
from peclr.data.datamodules import FreiHAND, PairedViewDataModule
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder
from tests.trainer import quiet_trainer

OPTIONS: dict[str, Any] = {"view_size": 32, "batch_size": 8, "val_fraction": 0.0}


def batch_of(data: PairedViewDataModule) -> Any:
    return next(iter(data.train_dataloader()))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_view_keeps_its_colours(embedded_hands: Path, workers: int) -> None:
    source = FreiHAND(embedded_hands)
    both = batch_of(PairedViewDataModule(source, **OPTIONS))
    none = batch_of(PairedViewDataModule(source, photometric=None, **OPTIONS))
    one = batch_of(OneViewRecoloured(sources=source, num_workers=workers, **OPTIONS))
    assert torch.equal(one["views"][:, 0], both["views"][:, 0])
    assert torch.equal(one["views"][:, 1], none["views"][:, 1])
    assert not torch.equal(one["views"][:, 1], both["views"][:, 1])


@pytest.mark.parametrize("momentum", [0.0, 0.75, 1.0])
def test_the_target_is_a_copy_that_follows(embedded_hands: Path, tmp_path: Path, momentum: float) -> None:
    class Course(pl.Callback):
        def __init__(self) -> None:
            self.weights: list[torch.Tensor] = []
            self.followers: list[torch.Tensor] = []

        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            assert isinstance(pl_module, EmaTarget)
            self.weights.append(pl_module.encoder.conv1.weight.detach().clone())
            self.followers.append(pl_module._followers[0].get_parameter("conv1.weight").clone())

    torch.manual_seed(0)
    module = EmaTarget(momentum, encoder=ResNetEncoder("resnet18", 0.125), objective=PeCLR(), warmup_epochs=0)
    data, course = PairedViewDataModule(FreiHAND(embedded_hands), **OPTIONS), Course()
    batch = batch_of(data)
    module.on_fit_start()
    with patch.object(module, "log"):
        loss = module.training_step(batch)
    # the copy still projects as the network does
    expected = module.objective(module(batch["views"]), batch["view_from_crop"])
    torch.testing.assert_close(loss, expected)

    quiet_trainer(tmp_path, max_steps=3, limit_val_batches=0, callbacks=[course]).fit(module, data)
    assert len(course.weights) == 3
    assert torch.equal(course.followers[0], course.weights[0])
    for step in (1, 2):
        assert not torch.equal(course.weights[step], course.weights[step - 1])
        expected = momentum * course.followers[step - 1] + (1 - momentum) * course.weights[step]
        torch.testing.assert_close(course.followers[step], expected)
    assert not any(key.startswith("_followers") for key in module.state_dict())
