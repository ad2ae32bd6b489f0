"""Images show what they say, at the epochs they say; what cannot be shown is refused early."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from peclr.data.datamodules import LabeledHandDataModule, PairedViewDataModule
from peclr.data.sources.freihand import FreiHAND
from peclr.losses.objectives import PeCLR
from peclr.metrics.pose import pa_epe_mm
from peclr.models.encoders import ResNetEncoder
from peclr.tracking import images
from peclr.tracking.epochs import EpochCallback, evenly
from peclr.tracking.images import DrawnHand, PoseImages, ProjectionImages, ViewImages, draw_projections
from peclr.training import FinetuneModule, PretrainModule
from tests.trainer import quiet_trainer


def test_poses_of_the_fixed_and_of_the_worst_hands_are_drawn_when_asked(rendered_hands: Path, tmp_path: Path) -> None:
    module = FinetuneModule(ResNetEncoder("resnet18", width=0.125), view_size=32, warmup_epochs=0)
    data = LabeledHandDataModule(rendered_hands, view_size=32, batch_size=8, val_fraction=0.25)
    trainer = quiet_trainer(tmp_path, max_epochs=3, callbacks=[PoseImages(count=2, every_n_epochs=2)])
    trainer.fit(module, datamodule=data)
    for name in ("samples", "worst"):
        files = sorted((tmp_path / "pictures" / "poses" / name).iterdir())
        # before, after every second epoch, and at the end
        assert [path.name for path in files] == ["epoch-0000.png", "epoch-0002.png", "epoch-0003.png"]
        shown = [cv2.imread(str(path)) for path in files]
        assert all(image is not None and image.std() > 10 for image in shown)


def test_the_worst_are_those_with_the_largest_error_after_alignment(
    rendered_hands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module = FinetuneModule(ResNetEncoder("resnet18", width=0.125), view_size=32).eval()
    data = LabeledHandDataModule(rendered_hands, view_size=32, val_fraction=0.5, geometry=None, photometric=None)
    data.setup("fit")
    assert data.val_set is not None
    trainer = cast(pl.Trainer, SimpleNamespace(datamodule=data, loggers=[], global_step=0, default_root_dir=tmp_path))
    drawn: list[list[DrawnHand]] = []

    def draw(hands: Sequence[DrawnHand]) -> NDArray[np.uint8]:
        drawn.append(list(hands))
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(images, "draw_hands", draw)
    callback = PoseImages(count=3, num_hands=1000)
    with torch.no_grad():
        callback.prepare(trainer, module)
        callback.look(trainer, module)
        errors = []
        for index in range(len(data.val_set)):
            item = data.val_set[index]
            joints = module(item["image"][None], item["K"][None])["joints_3d"] * item["scale_m"]
            errors.append(float(pa_epe_mm(joints, item["joints_3d"][None]).mean()))
    fixed, worst = drawn
    assert [hand.error_mm for hand in worst] == pytest.approx(sorted(errors)[:-4:-1], rel=1e-3)
    assert [hand.error_mm for hand in fixed] == pytest.approx([errors[i] for i in evenly(len(errors), 3)], rel=1e-3)


def test_projections_that_meet_are_drawn_on_each_other() -> None:
    views = np.zeros((1, 2, 8, 8, 3), np.uint8)
    one = np.random.default_rng(0).normal(size=(1, 1, 16, 2)).astype(np.float32)
    one /= np.linalg.norm(one)
    apart, together = np.concatenate((one, -one), 1), np.concatenate((one, one), 1)
    both = draw_projections(views, apart, together)
    # lines join the points of one index: there are none where the points meet
    half = both.shape[1] * 3 // 4 - 40
    gray = (both == 0xBB).all(-1)
    assert gray[:, :half].sum() > 10 * max(1, gray[:, half + 80 :].sum())


@pytest.mark.parametrize(("length", "count", "expected"), [(10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (5, 1, [0])])
def test_samples_are_spread_over_the_data(length: int, count: int, expected: list[int]) -> None:
    assert evenly(length, count) == expected


@pytest.mark.parametrize(
    ("callback", "pre_trains", "message"),
    [
        (ViewImages(), False, "PairedViewDataModule"),
        (ProjectionImages(), False, "PretrainModule"),
        (PoseImages(), True, "FinetuneModule"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_training(
    rendered_hands: Path, callback: EpochCallback, *, pre_trains: bool, message: str
) -> None:
    encoder = ResNetEncoder("resnet18", width=0.125)
    module = PretrainModule(encoder, PeCLR()) if pre_trains else FinetuneModule(encoder, view_size=32)
    data: pl.LightningDataModule = LabeledHandDataModule(rendered_hands, batch_size=8)
    if pre_trains:
        data = PairedViewDataModule(sources=FreiHAND(rendered_hands), batch_size=8)
    data.setup("fit")
    with pytest.raises(ValueError, match=message):
        callback.prepare(cast(pl.Trainer, SimpleNamespace(datamodule=data)), module)


def test_no_images_is_no_count() -> None:
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        ViewImages(count=0)


def test_without_validation_hands_there_are_no_poses_to_draw(rendered_hands: Path, tmp_path: Path) -> None:
    module = FinetuneModule(ResNetEncoder("resnet18", width=0.125), view_size=32, warmup_epochs=0)
    data = LabeledHandDataModule(rendered_hands, view_size=32, batch_size=8, val_fraction=0)
    trainer = quiet_trainer(tmp_path, max_steps=1, callbacks=[PoseImages()])
    with pytest.warns(UserWarning, match="with a val_fraction of 0 it draws none"):
        trainer.fit(module, datamodule=data)
    assert not (tmp_path / "pictures").exists()
