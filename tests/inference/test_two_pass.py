"""The two-pass crop: parity with the published protocol, and where its crops look."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from peclr.data.sources.images import read_image
from peclr.data.views.geometric import warp
from peclr.geometry.affine import apply_affine
from peclr.inference.crop_search import CropSearch, box_of_keypoints, central_box, view_from_box
from peclr.inference.hands import HandPrediction, Scene, predict_hands
from peclr.inference.network import TrainedNetwork
from peclr.models.encoders import ResNetEncoder
from peclr.models.pose_net import PoseNet25D


def test_parity_with_the_published_protocol(real_hands: Path, published: PoseNet25D, reference: Path) -> None:
    vectors = np.load(reference / "freihand_two_pass.npz")
    cameras = {entry["file"]: entry["K"] for entry in json.loads((real_hands / "photos.json").read_text())}
    files = [str(name) for name in vectors["image_file"]]
    images = [read_image(real_hands / "photos" / name) for name in files]
    K = [cameras[name] for name in files]
    search = CropSearch("published")
    trained = TrainedNetwork(published, 224, Path("published"))
    results = predict_hands(trained, range(len(files)), lambda i: Scene(images[i], K=K[i]), len(files), search)
    hands = [hand for _, _, (hand,) in results]
    firsts = [view_from_box(central_box(*image.shape[1::-1]), 224) for image in images]
    views = [view_from_box(hand.box, 224) for hand in hands]
    seen = trained.see(
        [warp(image, view, 224) for image, view in zip(images, views, strict=True)],
        [view @ camera for view, camera in zip(views, K, strict=True)],
    )

    def close(actual: Any, name: str, tolerance: float = 1e-3) -> None:
        np.testing.assert_allclose(actual, vectors[name], rtol=0, atol=tolerance * np.abs(vectors[name]).max())

    # much closer than asked: whole pixels of the first pass decide about the second crop
    close(firsts, "crop1_from_image", 1e-5)
    close(views, "crop2_from_image", 1e-5)
    close(seen.regressed_2d, "keypoints_2d_crop2")
    joints_3d = np.stack([hand.joints_3d for hand in hands]) * vectors["scale"]
    np.testing.assert_allclose(joints_3d, vectors["joints_3d"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("width", "height"), [(224, 224), (640, 480), (480, 641)])
@pytest.mark.parametrize("view_size", [64, 224])
def test_first_pass_looks_at_the_middle(width: int, height: int, view_size: int) -> None:
    box = central_box(width, height)
    np.testing.assert_allclose(box[2:] - box[:2], [0.33 * width, 0.33 * height])
    corners = apply_affine(torch.from_numpy(view_from_box(box, view_size)), torch.from_numpy(box.reshape(2, 2))).numpy()
    np.testing.assert_allclose(corners.mean(axis=0), view_size / 2)
    np.testing.assert_allclose((corners[1] - corners[0]).max(), 0.7 * view_size)


def test_keypoints_in_a_view_become_a_box_in_the_image() -> None:
    first = np.array([[2.0, 0, -30], [0, 2.0, 10], [0, 0, 1]])
    keypoints = np.array([[10.9, 20.2], [50.7, 31.5], [30, 90.9]] * 7)
    # fractions are cut off: (10, 20) to (50, 90) in the view
    np.testing.assert_allclose(box_of_keypoints(keypoints, first), [20, 5, 40, 40])


def test_keypoints_in_one_place_still_make_a_box() -> None:
    box = box_of_keypoints(np.full((21, 2), 7.0), np.diag([4.0, 4, 1]))
    np.testing.assert_allclose(box[2:] - box[:2], 0.25)


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [10, 0, 0, 10], [0, 0, np.inf, 1], [0, 0, np.nan, 1]])
def test_boxes_that_are_none_are_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match="finite box"):
        view_from_box(box, 64)


def test_a_hand_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    network = PoseNet25D(ResNetEncoder("resnet18", 0.125)).init_for(64).eval()
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (90 + 10 * i, 120, 3), np.uint8) for i in range(3)]
    cameras = [np.array([[100.0 + i, 0, 60], [0, 100 + i, 50], [0, 0, 1]]) for i in range(3)]

    def predict(batch_size: int) -> list[HandPrediction]:
        trained = TrainedNetwork(network, 64, Path("random"))
        results = predict_hands(trained, range(3), lambda i: Scene(images[i], K=cameras[i]), batch_size)
        return [hand for _, _, (hand,) in results]

    for together, alone in zip(predict(15), predict(1), strict=True):
        np.testing.assert_allclose(alone.box, together.box)
        np.testing.assert_allclose(alone.joints_3d, together.joints_3d, rtol=1e-4, atol=1e-4)
