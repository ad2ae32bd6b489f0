"""Labels of which a data set knows some: what is known stays what it is, the rest is 0 and masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from peclr.data.datamodules import LabeledHandDataModule
from peclr.data.datasets import Augmentation, LabeledHandDataset
from peclr.data.samples import HandSource, LabeledItem
from peclr.data.sources.freihand import FreiHAND
from peclr.data.views.geometric import GeometryRange
from peclr.geometry.planar import DEFAULT_FOCAL_RATIO, move
from tests.data.partial_hands import PartialHands

if TYPE_CHECKING:
    from tests.data.conftest import Layout

INDEX = 3


def item_of(source: HandSource) -> LabeledItem:
    return LabeledHandDataset(source, 64, augmentation=Augmentation(GeometryRange(rotation=(-90, 90))))[1, INDEX]


def test_of_a_whole_hand_all_is_known(layout: Layout) -> None:
    item = item_of(FreiHAND(layout.root))
    assert item["has_3d"]
    assert item["joint_valid"].all()
    assert (item["has_3d"].dtype, item["joint_valid"].dtype) == (torch.bool, torch.bool)


def test_pixels_alone_follow_the_view_and_depth_is_unknown(layout: Layout) -> None:
    whole, item = item_of(FreiHAND(layout.root)), item_of(PartialHands(layout.root))
    torch.testing.assert_close(item["joints_25d"][:, :2], whole["joints_25d"][:, :2], rtol=0, atol=1e-3)
    assert torch.equal(item["image"], whole["image"])
    assert item["joint_valid"].all()
    assert not item["has_3d"]
    assert not item["joints_25d"][:, 2].any()
    assert not item["joints_3d"].any()
    assert item["scale_m"] == 0


def test_an_image_without_a_camera_gets_the_one_that_predictions_assume(layout: Layout) -> None:
    source = PartialHands(layout.root)
    height, width = source[INDEX]["image"].shape[:2]
    item = item_of(source)
    image_from_camera = item["image_from_view"].double() @ item["K"].double()
    focal = DEFAULT_FOCAL_RATIO * max(height, width)
    expected = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]).double()
    torch.testing.assert_close(image_from_camera, expected, rtol=0, atol=1e-3)


def test_unknown_joints_are_zero_and_the_others_as_they_were(layout: Layout) -> None:
    whole, item = item_of(FreiHAND(layout.root)), item_of(PartialHands(layout.root, "no thumb"))
    assert item["has_3d"]
    assert item["joint_valid"].tolist() == [not 1 <= joint < 5 for joint in range(21)]
    for key in ("joints_25d", "joints_3d"):
        expected = torch.where(item["joint_valid"][:, None], whole[key], 0)
        torch.testing.assert_close(item[key], expected, rtol=0, atol=0)


def test_without_a_joint_that_depth_is_measured_by_pixels_are_known(layout: Layout) -> None:
    whole, item = item_of(FreiHAND(layout.root)), item_of(PartialHands(layout.root, "no wrist"))
    assert not item["has_3d"]
    assert item["joint_valid"].all()
    assert not item["joints_3d"].any()
    torch.testing.assert_close(item["joints_25d"][:, :2], whole["joints_25d"][:, :2], rtol=0, atol=1e-3)
    assert torch.equal(item["K"], whole["K"])


def test_a_scale_that_nobody_wrote_is_measured(layout: Layout) -> None:
    whole, item = item_of(FreiHAND(layout.root)), item_of(PartialHands(layout.root, "no scale"))
    assert item["has_3d"]
    torch.testing.assert_close(item["scale_m"], whole["scale_m"], rtol=1e-5, atol=0)


def test_a_set_without_labels_is_refused_before_training(layout: Layout) -> None:
    options: dict[str, Any] = {"view_size": 32, "batch_size": 2, "val_fraction": 0.34}
    empty = PartialHands(layout.root, "nothing")
    message = r"partial, training/00000005: no label, neither joints in the image nor joints in space with a camera"
    for sources in (empty, [FreiHAND(layout.root), empty]):
        with pytest.raises(ValueError, match=message):
            LabeledHandDataModule(sources=sources, **options).setup("fit")
    module = LabeledHandDataModule(sources=FreiHAND(layout.root), test_sources=empty, **options)
    with pytest.raises(ValueError, match=message):
        module.setup("test")
    module.setup("predict")


def mixture(layout: Layout, **options: Any) -> LabeledHandDataModule:
    settings: dict[str, Any] = {"view_size": 32, "batch_size": 4, "val_fraction": 0.25, **options}
    module = LabeledHandDataModule(sources=[FreiHAND(layout.root), PartialHands(layout.root)], **settings)
    module.setup("fit")
    return module


def test_weights_say_how_often_a_set_is_drawn_from(layout: Layout) -> None:
    module = mixture(layout, weights=[0.2, 0.8], epoch_length=400, batch_size=20, geometry=None, photometric=None)
    loader = module.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 20
    drawn = torch.cat([batch["has_3d"] for batch in batches])
    assert len(drawn) == 400
    assert 0.12 < drawn.float().mean() < 0.28, "of FreiHAND's images, which are three of four"
    index = torch.cat([batch["index"] for batch in batches])
    assert torch.equal(torch.tensor([bool(module.train_set[int(i)]["has_3d"]) for i in index]), drawn)
    assert torch.equal(torch.cat([batch["index"] for batch in module.train_dataloader()]), index), "the same again"


def test_an_epoch_has_as_many_images_as_there_are(layout: Layout) -> None:
    plain, weighted = mixture(layout), mixture(layout, weights=[1, 3])
    assert len(plain.train_set) == len(weighted.train_set)
    assert len(weighted.train_dataloader()) == len(weighted.train_set) // 4
    assert sorted(plain.train_set.sizes) == [len(plain.train_set)]
    assert sum(weighted.train_set.sizes) == len(weighted.train_set)
    ids = [{module.train_set.source[i]["id"] for i in range(len(module.train_set))} for module in (plain, weighted)]
    assert ids[0] == ids[1], "weights hold out the same hands"


def test_weights_that_cannot_be_are_refused(layout: Layout) -> None:
    with pytest.raises(ValueError, match=r"weights .* are 3 numbers; expected one for each of 2"):
        mixture(layout, weights=[1, 1, 1])
    with pytest.raises(ValueError, match="must be positive"):
        mixture(layout, weights=[1, 0])
    with pytest.raises(ValueError, match="epoch_length 0: expected at least 1"):
        mixture(layout, epoch_length=0)
    with pytest.raises(ValueError, match=r"of the 1 labeled hands none is of \w+, which has a weight; take more"):
        mixture(layout, weights=[1, 1], num_labels=1)


def test_what_is_drawn_lies_where_the_labels_are(layout: Layout) -> None:
    """Of two sets in one epoch, each item's pixels are its own source's."""
    module = mixture(layout, weights=[1, 1], geometry=None, photometric=None)
    for index in range(len(module.train_set)):
        item, sample = module.train_set[index], module.train_set.source[index]
        view_from_image = np.linalg.inv(item["image_from_view"].double().numpy())
        assert sample["joints_2d"] is not None
        expected = move(view_from_image, sample["joints_2d"])
        np.testing.assert_allclose(item["joints_25d"][:, :2], expected, rtol=0, atol=1e-2)
        assert bool(item["has_3d"]) == (sample["K"] is not None)
