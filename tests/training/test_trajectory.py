"""One config on one and on two processes: the same steps, the same learning rate, the same weights."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.samples import HandSource
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import Objective, PeCLR, SimCLR
from peclr.models.encoders import ResNetEncoder
from peclr.synthetic.writer import write_freihand_layout
from peclr.training import FinetuneModule, PretrainModule
from peclr.training.recipe import optimizer_batch
from tests.data.partial_hands import PartialHands
from tests.trainer import quiet_trainer

STEPS = 4
# Adam divides what rounding leaves of a gradient of zero by itself
SGD = partial(torch.optim.SGD, lr=1e-4, momentum=0.9)


class FixedStatistics(pl.LightningModule):
    """For modules whose BatchNorm layers do not look at the batch, of which each process has another part."""

    def on_train_start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


class FixedPretraining(FixedStatistics, PretrainModule):
    pass


class FixedFinetuning(FixedStatistics, FinetuneModule):
    pass


class SavesWeights(pl.Callback):
    """Takes weights, and what the learning rate was, out of the processes that trained them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            weights = {name: value for name, value in pl_module.named_parameters() if value.requires_grad}
            sizes = {"optimizer_batch": optimizer_batch(trainer), "lr": trainer.optimizers[0].param_groups[0]["lr"]}
            torch.save({"weights": weights, **sizes}, self.path)


def train(module: pl.LightningModule, data: pl.LightningDataModule, processes: int, folder: Path) -> dict[str, object]:
    path = folder / f"{processes}.pt"
    trainer = quiet_trainer(
        folder,
        devices=processes,
        strategy="ddp_fork" if processes > 1 else "auto",
        max_steps=STEPS,
        max_epochs=10,
        accumulate_grad_batches=2,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        callbacks=[SavesWeights(path)],
    )
    trainer.fit(module, datamodule=data)
    result: dict[str, object] = torch.load(path, weights_only=True)
    return result


def assert_same_course(results: list[dict[str, object]], prefix: str = "") -> None:
    (alone, shared), start = results, 0
    assert alone["optimizer_batch"] == shared["optimizer_batch"] == 16
    assert alone["lr"] == shared["lr"]
    first, second = alone["weights"], shared["weights"]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    for name in filter(lambda name: name.startswith(prefix), first):
        torch.testing.assert_close(second[name], first[name], rtol=0, atol=1e-5)
        start += 1
    assert start > 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.distributed, about how it was started
@pytest.mark.parametrize("objective", [SimCLR, PeCLR])
def test_pre_training_takes_the_same_course(objective: type[Objective], rendered_hands: Path, tmp_path: Path) -> None:
    results = []
    for processes in (1, 2):
        torch.manual_seed(0)
        module = FixedPretraining(ResNetEncoder("resnet18", width=0.125), objective(), optimizer=SGD, warmup_epochs=0)
        data = PairedViewDataModule(sources=FreiHAND(rendered_hands), view_size=32, batch_size=8, val_fraction=0.25)
        results.append(train(module, data, processes, tmp_path))
    assert_same_course(results)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.distributed, about how it was started
@pytest.mark.parametrize("knows", ["all", "some"])
def test_fine_tuning_takes_the_same_course(knows: str, rendered_hands: Path, tmp_path: Path) -> None:
    """Also where processes know different numbers of depths and joints."""
    names: tuple[Any, ...] = ("pixels", "no thumb") if knows == "some" else ()
    sources = [FreiHAND(rendered_hands), *(PartialHands(rendered_hands, name) for name in names)]
    results = []
    for processes in (1, 2):
        torch.manual_seed(0)
        encoder = ResNetEncoder("resnet18", width=0.125)
        module = FinetuneModule(encoder, freeze_encoder=True, view_size=32, optimizer=SGD)
        data = LabeledHandDataModule(sources=sources, weights=[1, 3, 1] if names else None, view_size=32, batch_size=8)
        results.append(train(module, data, processes, tmp_path))
    # the refinement of the root depth, after it, has a BatchNorm of its own
    assert_same_course(results, "pose_net.backend_model.fc")


class SavesMetrics(pl.Callback):
    """Takes what was logged out of the processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            torch.save(trainer.callback_metrics, self.path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch.distributed, about how it was started
@pytest.mark.parametrize("kind", ["pretrain", "finetune", "finetune mixture"])
def test_an_odd_number_of_hands_gives_the_same_losses(kind: str, tmp_path: Path) -> None:
    hands = tmp_path / "hands"
    write_freihand_layout(hands, train=15, evaluation=1, seed=0, size=64, versions=1, workers=1, progress=False)
    logged = []
    for processes in (1, 2):
        torch.manual_seed(0)
        encoder = ResNetEncoder("resnet18", width=0.125)
        module: pl.LightningModule
        data: pl.LightningDataModule
        if kind == "pretrain":
            module = FixedPretraining(encoder, SimCLR(), optimizer=SGD, warmup_epochs=0)
            data = PairedViewDataModule(sources=FreiHAND(hands), view_size=32, batch_size=8, val_fraction=7 / 15)
        else:
            module = FixedFinetuning(encoder, view_size=32, optimizer=partial(torch.optim.SGD, lr=0.0))
            others: list[HandSource] = [PartialHands(hands)] if kind == "finetune mixture" else []
            options: Any = {"view_size": 32, "batch_size": 4, "val_fraction": 7 / 15}
            data = LabeledHandDataModule(sources=[FreiHAND(hands), *others], **options)
        trainer = quiet_trainer(
            tmp_path,
            devices=processes,
            strategy="ddp_fork" if processes > 1 else "auto",
            max_epochs=1,
            num_sanity_val_steps=0,
            callbacks=[SavesMetrics(tmp_path / f"{processes}.pt")],
        )
        trainer.fit(module, datamodule=data)
        logged.append(torch.load(tmp_path / f"{processes}.pt", weights_only=True))
    assert {"train/loss", "val/loss"} <= logged[0].keys() == logged[1].keys()
    torch.testing.assert_close(logged[1], logged[0], rtol=1e-4, atol=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(rendered_hands: Path, tmp_path: Path) -> None:
    data = LabeledHandDataModule(rendered_hands, view_size=32, batch_size=9)
    module = FinetuneModule(ResNetEncoder("resnet18", width=0.125), view_size=32)
    with pytest.raises(Exception, match="batch_size 9 is of all processes and cannot be divided evenly among 2"):
        train(module, data, 2, tmp_path)
