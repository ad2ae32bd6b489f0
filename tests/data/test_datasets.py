from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from peclr.data.datasets import Augmentation, LabeledHandDataset, PairedViewDataset
from peclr.data.samples import HandSource, PairedViewItem
from peclr.data.sources.freihand import FreiHAND
from peclr.data.sources.image_files import ImageFiles
from peclr.data.views.geometric import GeometryRange
from peclr.data.views.photometric import Photometric
from peclr.geometry import affine, camera, pose25d
from peclr.geometry.joints import SCALE_BONE, WRIST
from peclr.geometry.planar import view_from_image

if TYPE_CHECKING:
    from tests.data.conftest import Layout


@pytest.fixture
def hands(layout: Layout) -> FreiHAND:
    return FreiHAND(layout.root)


def augmented(source: HandSource, **options: Any) -> PairedViewDataset:
    drawn: dict[str, Any] = {"geometry": GeometryRange(), "photometric": Photometric()}
    drawn |= {name: options.pop(name) for name in ("geometry", "photometric", "border") if name in options}
    return PairedViewDataset([source], **{"view_size": 48, "augmentation": Augmentation(**drawn), **options})


def test_items_have_the_promised_shapes_and_types(hands: FreiHAND) -> None:
    item = augmented(hands)[3]
    shapes = {key: (value.dtype, tuple(value.shape)) for key, value in item.items() if torch.is_tensor(value)}
    assert shapes == {
        "views": (torch.uint8, (2, 3, 48, 48)),
        "view_from_image": (torch.float32, (2, 3, 3)),
        "view_from_crop": (torch.float32, (2, 3, 3)),
    }
    assert item["index"] == 3


def test_matrices_tell_where_the_view_is_from(hands: FreiHAND) -> None:
    dataset = augmented(hands)
    for index in (0, 7, 17):
        item = dataset[2, index]
        for in_pixels, of_crop in zip(item["view_from_image"], item["view_from_crop"], strict=True):
            composed = view_from_image(of_crop.double().numpy(), hands[index]["crop_box"], 48)
            np.testing.assert_allclose(in_pixels, composed, rtol=0, atol=1e-4)


def test_joints_taken_through_the_matrix_land_on_their_pixels(hands: FreiHAND) -> None:
    dataset = augmented(hands, view_size=112, photometric=None)
    for index in range(6):
        item = dataset[1, index]
        for view, matrix in zip(item["views"], item["view_from_image"], strict=True):
            joints = torch.tensor(hands[index]["joints_2d"])
            assert dots_are_at(view, affine.apply_affine(matrix, joints), joints)


def dots_are_at(view: Tensor, points: Tensor, in_image: Tensor) -> bool:
    """Whether the view is bright at those of the points that were inside image and view."""
    inside = ((points > 2) & (points < 109) & (in_image > 2) & (in_image < 109)).all(dim=1)
    x, y = points[inside].round().long().T
    return bool(inside.sum() > 8) and bool((view[:, y, x] > 120).all())


def test_nothing_augmented_shows_the_crop_box(hands: FreiHAND) -> None:
    item = PairedViewDataset([hands], view_size=64)[5]
    torch.testing.assert_close(item["view_from_crop"], torch.eye(3).expand(2, 3, 3), rtol=0, atol=0)
    torch.testing.assert_close(item["views"][0], item["views"][1])
    corners = affine.apply_affine(affine.invert(item["view_from_image"][0]), torch.tensor([[-0.5, -0.5], [63.5, 63.5]]))
    np.testing.assert_allclose(corners.flatten(), hands[5]["crop_box"], atol=1e-3)


def test_views_are_planes_of_rgb(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "image.png"), image[..., ::-1])
    views = PairedViewDataset([ImageFiles(tmp_path)], view_size=32)[0]["views"]
    np.testing.assert_array_equal(views[0].permute(1, 2, 0), image)


def test_views_of_an_item_and_of_epochs_differ(hands: FreiHAND) -> None:
    dataset = augmented(hands)
    first, second = dataset[0, 4], dataset[1, 4]
    assert not torch.equal(first["view_from_crop"][0], first["view_from_crop"][1])
    assert not torch.equal(first["view_from_crop"], second["view_from_crop"])
    assert not torch.equal(first["views"], second["views"])
    assert not torch.equal(augmented(hands, seed=1)[0, 4]["view_from_crop"], first["view_from_crop"])


def test_an_index_alone_means_epoch_zero(hands: FreiHAND) -> None:
    dataset = augmented(hands)
    torch.testing.assert_close(dataset[4], dataset[0, 4])


def test_views_depend_on_nothing_but_seed_epoch_and_index(hands: FreiHAND) -> None:
    dataset, other = augmented(hands, pairing="across_versions"), augmented(hands, pairing="across_versions")
    other[7, 1]  # what was asked before does not matter
    torch.testing.assert_close(dataset[2, 3], other[2, 3])
    torch.testing.assert_close(copy.deepcopy(other)[2, 3], dataset[2, 3])


def test_photometric_part_leaves_geometry_alone(hands: FreiHAND) -> None:
    plain, noisy = augmented(hands, photometric=None)[0, 4], augmented(hands)[0, 4]
    torch.testing.assert_close(plain["view_from_crop"], noisy["view_from_crop"])


def backgrounds(item: PairedViewItem) -> list[int]:
    """Which channel of each view's background is the brightest: which version it is."""
    return [int(view.flatten(1).min(dim=1).values.argmax()) for view in item["views"]]


def test_same_image_pairs_views_of_one_version(hands: FreiHAND) -> None:
    # the whole image, so that there is background and no black border in every view
    dataset = PairedViewDataset([FreiHAND(hands.root, crop="image")], view_size=48)
    assert len(dataset) == 18
    for index in range(18):
        assert backgrounds(dataset[index]) == [index // 6] * 2


def test_across_versions_pairs_two_versions_of_one_hand(hands: FreiHAND) -> None:
    source = FreiHAND(hands.root, crop="image")
    dataset = PairedViewDataset([source], "across_versions", view_size=112)
    assert len(dataset) == 6
    pairs = set()
    for epoch in range(12):
        for hand in range(6):
            item = dataset[epoch, hand]
            joints = torch.tensor(source[hand]["joints_2d"])
            assert dots_are_at(item["views"][0], joints, joints)
            first, second = backgrounds(item)
            assert first != second
            pairs.add((first, second))
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_across_versions_uses_an_image_twice_where_there_is_one(hands: FreiHAND) -> None:
    evaluation = FreiHAND(hands.root, "evaluation")
    item = PairedViewDataset([evaluation], "across_versions", view_size=48)[1]
    torch.testing.assert_close(item["views"][0], item["views"][1])


@pytest.mark.parametrize("pairing", ["same_image", "across_versions"])
def test_hands_have_one_number_over_all_sources(hands: FreiHAND, pairing: Any) -> None:
    evaluation = FreiHAND(hands.root, "evaluation")
    dataset = PairedViewDataset([hands, evaluation], pairing, view_size=16)
    shown: dict[int, set[int]] = {}
    for index in range(len(dataset)):
        source, (first, _) = dataset.images_of(index)
        image = source[first]
        assert image["joints_2d"] is not None
        shown.setdefault(dataset[index]["hand"], set()).add(hash(image["joints_2d"].tobytes()))
    # the six hands of one source and the two of the other, each with one pose in all of its versions
    assert sorted(shown) == list(range(8))
    assert all(len(poses) == 1 for poses in shown.values())
    assert len(set.union(*shown.values())) == 8


def test_joints_of_views_lie_on_their_pixels(hands: FreiHAND) -> None:
    dataset = augmented(hands, view_size=112, photometric=None, pairing="across_versions", with_joints=True)
    for index in range(6):
        item = dataset[1, index]
        assert (item["joints_2d"].dtype, item["joints_2d"].shape) == (torch.float32, (2, 21, 2))
        image = torch.tensor(hands[index]["joints_2d"])
        for view, joints in zip(item["views"], item["joints_2d"], strict=True):
            assert dots_are_at(view, joints, image)


def test_joints_that_nobody_knows_are_nan(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((32, 32, 3), np.uint8))
    item = augmented(ImageFiles(tmp_path), with_joints=True)[0]
    assert item["joints_2d"].shape == (2, 21, 2)
    assert item["joints_2d"].isnan().all()
    assert "joints_2d" not in augmented(ImageFiles(tmp_path))[0]


def test_sources_are_concatenated(hands: FreiHAND) -> None:
    evaluation = FreiHAND(hands.root, "evaluation")
    both = PairedViewDataset([hands, evaluation], view_size=48)
    assert (len(both), both.sizes) == (20, [18, 2])
    alone = PairedViewDataset([evaluation], view_size=48)
    torch.testing.assert_close(both[17]["views"], PairedViewDataset([hands], view_size=48)[17]["views"])
    torch.testing.assert_close(both[19]["views"], alone[1]["views"])
    with pytest.raises(IndexError, match="20"):
        both[20]


def test_bad_options_are_refused(hands: FreiHAND) -> None:
    with pytest.raises(ValueError, match="versions"):
        augmented(hands, pairing="versions")
    with pytest.raises(ValueError, match="at least one source"):
        PairedViewDataset([])


def test_labeled_items_agree_with_themselves(hands: FreiHAND) -> None:
    dataset = LabeledHandDataset(hands, 112, augmentation=Augmentation(GeometryRange(rotation=(-90, 90))))
    for key in ((0, 2), (3, 16)):
        item, sample = dataset[key], hands[key[1]]
        assert item["image"].shape == (3, 112, 112)
        np.testing.assert_array_equal(item["joints_3d"], sample["joints_3d"])
        # the camera of the view projects the original joints to where the view's matrix takes their pixels
        projected = camera.project(item["joints_3d"], item["K"])
        torch.testing.assert_close(item["joints_25d"][:, :2], projected, rtol=0, atol=1e-3)
        joints_2d = torch.tensor(sample["joints_2d"])
        back = affine.apply_affine(item["image_from_view"], item["joints_25d"][:, :2])
        torch.testing.assert_close(back, joints_2d, rtol=0, atol=1e-3)
        assert dots_are_at(item["image"], projected, joints_2d)


def test_labels_can_be_taken_back_to_metres(hands: FreiHAND) -> None:
    item = LabeledHandDataset(hands, 64, augmentation=Augmentation(GeometryRange()))[1, 5]
    root_depth = item["joints_3d"][WRIST, 2] / item["scale_m"]
    joints_3d = pose25d.from_25d(item["joints_25d"], item["scale_m"], item["K"], WRIST, SCALE_BONE, root_depth)
    torch.testing.assert_close(joints_3d, item["joints_3d"], rtol=0, atol=1e-5)
    assert item["joints_25d"][WRIST, 2] == 0


def test_missing_labels_are_masked(hands: FreiHAND) -> None:
    (hands.root / "evaluation_xyz.json").unlink()
    item = LabeledHandDataset(FreiHAND(hands.root, "evaluation"), 64)[0]
    assert not item["has_3d"]
    assert not item["joint_valid"].any()
    assert not item["joints_3d"].any()
    assert not item["joints_25d"].any()
    assert item["scale_m"] > 0
    assert item["K"].isfinite().all()
