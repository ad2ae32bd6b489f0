"""Fine-tuning on several data sets, of which some know pixels alone."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.models.encoders import ResNetEncoder
from peclr.tracking.images import PoseImages
from peclr.training import FinetuneModule
from tests.data.partial_hands import PartialHands
from tests.trainer import quiet_trainer


def tiny_module() -> FinetuneModule:
    torch.manual_seed(0)
    return FinetuneModule(ResNetEncoder("resnet18", width=0.125), view_size=32)


def mixture(root: Path, *others: Any, **options: Any) -> LabeledHandDataModule:
    settings: dict[str, Any] = {"view_size": 32, "batch_size": 8, "val_fraction": 0.25, "photometric": None, **options}
    return LabeledHandDataModule(sources=[FreiHAND(root), *(others or [PartialHands(root)])], **settings)


class Steps(pl.Callback):
    """Keeps the loss of each step, and what the batch knew."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.known: list[int] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *args: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        self.known.append(int(args[0]["has_3d"].sum()))


def test_a_mixture_trains_on_what_each_set_knows(rendered_hands: Path, tmp_path: Path) -> None:
    module, steps = tiny_module(), Steps()
    data = mixture(rendered_hands, PartialHands(rendered_hands), PartialHands(rendered_hands, "no thumb"))
    trainer = quiet_trainer(tmp_path, max_steps=8, max_epochs=-1, callbacks=[steps, PoseImages(count=2)])
    trainer.fit(module, data)
    assert torch.tensor(steps.losses).isfinite().all()
    assert 0 < min(steps.known) < 8
    assert {"val/loss", "val/loss_depth", "val/error_2d_px", "val/pa_epe_mm"} <= trainer.callback_metrics.keys()
    assert all(value.isfinite() for value in trainer.callback_metrics.values())
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_a_set_of_pixels_alone_trains_and_logs_no_depth(rendered_hands: Path, tmp_path: Path) -> None:
    module, pixels = tiny_module(), PartialHands(rendered_hands)
    test = PartialHands(rendered_hands, split="evaluation")
    options: dict[str, Any] = {"view_size": 32, "batch_size": 8, "val_fraction": 0.25}
    data = LabeledHandDataModule(sources=pixels, test_sources=test, **options)
    trainer = quiet_trainer(tmp_path, max_steps=2, callbacks=[PoseImages(count=2)])
    trainer.fit(module, data)
    assert trainer.callback_metrics["train/loss_depth"] == 0
    validated = {name for name in trainer.callback_metrics if name.startswith("val/")}
    assert validated == {"val/loss", "val/loss_keypoints_2d", "val/error_2d_px"}
    (tested,) = trainer.test(module, data, verbose=False)
    assert tested.keys() == {"test/loss", "test/loss_keypoints_2d", "test/error_2d_px"}
    expected = module.loss.keypoints_2d_weight * tested["test/loss_keypoints_2d"]
    assert tested["test/loss"] == pytest.approx(expected, rel=1e-6)
    with torch.no_grad():  # depths that nothing has taught do not move the wrist
        module.pose_net.backend_model.fc.bias[2:63:3] += torch.linspace(-1, 1, 21)
    (again,) = trainer.test(module, data, verbose=False)
    assert again["test/error_2d_px"] == pytest.approx(tested["test/error_2d_px"], rel=1e-6)


def outputs_gradient(module: FinetuneModule, batch: Any) -> Tensor:
    """(B, 21, 3), of the loss with regard to what the network regresses: pixels, pixels, relative depth."""
    regressed: list[Tensor] = []

    def keep(_: Any, __: Any, outputs: Tensor) -> None:
        outputs.retain_grad()
        regressed.append(outputs)

    handle = module.pose_net.backend_model.fc.register_forward_hook(keep)
    loss, _ = module._shared_step(batch, "val")
    loss.backward()  # type: ignore[no-untyped-call]  # torch's
    handle.remove()
    gradient = regressed[0].grad
    assert gradient is not None
    return gradient[:, :63].reshape(-1, 21, 3)


def test_depth_learns_from_hands_in_space_alone(rendered_hands: Path) -> None:
    module, data = tiny_module(), mixture(rendered_hands)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    flat = ~batch["has_3d"]
    assert 0 < flat.sum() < 8
    gradient = outputs_gradient(module, batch)
    assert not gradient[flat][..., 2].any()
    assert gradient[flat][..., :2].all()
    assert gradient[~flat][:, 1:, 2].all(), "of all joints but the palm, which is the root"


class _SaveAndStop(pl.Callback):
    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise InterruptedError


def test_a_weighted_mixture_resumes_bit_for_bit(rendered_hands: Path, tmp_path: Path) -> None:
    def course(*callbacks: pl.Callback, weights: list[float], **options: Any) -> dict[str, Tensor]:
        module, data = tiny_module(), mixture(rendered_hands, epoch_length=24, weights=weights)
        trainer = quiet_trainer(tmp_path, max_epochs=3, limit_val_batches=0, callbacks=list(callbacks))
        trainer.fit(module, data, weights_only=True, **options)
        assert trainer.global_step == 9, "three steps an epoch"
        return module.state_dict()

    path = tmp_path / "saved.ckpt"
    whole, other = course(weights=[1, 3]), course(weights=[3, 1])
    with pytest.raises(InterruptedError):
        course(_SaveAndStop(path, 5), weights=[1, 3])
    resumed = course(weights=[1, 3], ckpt_path=path)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert not all(torch.equal(other[name], value) for name, value in whole.items())
