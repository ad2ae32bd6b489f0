"""The ablations' own variants do what their names say."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from experiments.embedded.variants import EmaTarget, OneViewRecoloured
from peclr.data.datamodules import FreiHAND, PairedViewDataModule
from peclr.losses.objectives import PeCLR
from peclr.models.encoders import ResNetEncoder

OPTIONS: dict[str, Any] = {"view_size": 32, "batch_size": 8, "val_fraction": 0.0}


def batch_of(data: PairedViewDataModule) -> Any:
    return next(iter(data.train_dataloader()))


def test_one_view_keeps_its_colours(embedded_hands: Path) -> None:
    source = FreiHAND(embedded_hands)
    both = batch_of(PairedViewDataModule(source, **OPTIONS))
    none = batch_of(PairedViewDataModule(source, photometric=None, **OPTIONS))
    one = batch_of(OneViewRecoloured(sources=source, **OPTIONS))
    assert torch.equal(one["views"][:, 0], both["views"][:, 0])
    assert torch.equal(one["views"][:, 1], none["views"][:, 1])
    assert not torch.equal(one["views"][:, 1], both["views"][:, 1])


def test_workers_would_take_turns_of_their_own(embedded_hands: Path) -> None:
    with pytest.raises(ValueError, match="num_workers 2"):
        OneViewRecoloured(sources=FreiHAND(embedded_hands), num_workers=2, **OPTIONS)


@pytest.mark.parametrize("momentum", [0.0, 0.75, 1.0])
def test_the_target_is_a_copy_that_follows(embedded_hands: Path, momentum: float) -> None:
    torch.manual_seed(0)
    module = EmaTarget(momentum, encoder=ResNetEncoder("resnet18", 0.125), objective=PeCLR())
    batch = batch_of(PairedViewDataModule(FreiHAND(embedded_hands), **OPTIONS))
    module.on_fit_start()
    with patch.object(module, "log"):
        loss = module.training_step(batch)
    # the copy still projects as the network does
    expected = module.objective(module(batch["views"]), batch["view_from_crop"])
    torch.testing.assert_close(loss, expected)

    start = module.encoder.conv1.weight.detach().clone()
    loss.backward()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    optimizer.step()
    module.on_before_zero_grad(optimizer)
    moved = module.encoder.conv1.weight.detach()
    assert not torch.equal(moved, start)
    (follower, _) = module._followers
    torch.testing.assert_close(follower.conv1.weight, momentum * start + (1 - momentum) * moved)
    assert not any(key.startswith("_followers") for key in module.state_dict())
