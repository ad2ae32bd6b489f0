"""Crops show what is in the image, and nothing that is not."""

import math

import cv2
import numpy as np
import pytest

from peclr.data.prepare.cutting import Cutting
from peclr.data.samples import hand_sample
from peclr.data.views.geometric import warp
from peclr.geometry.planar import from_reduced, mirror, move


@pytest.mark.parametrize(
    ("box", "whole"),
    [((30.0, 20.0, 70.0, 60.0), True), ((-30.0, -10.0, 40.0, 60.0), False), ((60.0, 50.0, 160.0, 150.0), False)],
)
def test_a_crop_ends_where_its_image_ends(box: tuple[float, ...], whole: bool) -> None:  # noqa: FBT001 (a parameter)
    x, y = np.meshgrid(np.arange(120), np.arange(90))
    image = np.stack((2 * x, 2 * y, np.full_like(x, 128)), axis=-1).astype(np.uint8)
    joints = np.linspace((40, 30), (60, 55), 21).astype(np.float32)
    crop = Cutting(size=64, context=1.2, quality=100)(hand_sample(image, np.array(box), "a", "right", joints_2d=joints))
    encoded = np.frombuffer(crop.encoded, np.uint8)
    pixels = cv2.cvtColor(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8), cv2.COLOR_BGR2RGB)
    assert (pixels.shape == (64, 64, 3)) == whole
    assert abs(pixels[..., 2].astype(int) - 128).max() < 12, "black is not in the image"
    # each pixel shows what is there, as the labels of the crop say
    rows, columns = np.indices(pixels.shape[:2])
    there = move(crop.labels["image_from_crop"], np.stack((columns, rows), axis=-1).reshape(-1, 2).astype(float))
    np.testing.assert_allclose(pixels.reshape(-1, 3)[:, :2], 2 * there, atol=9)
    assert ((there > -0.6) & (there < (119.6, 89.6))).all()
    np.testing.assert_allclose(move(crop.labels["image_from_crop"], crop.labels["joints_2d"]), joints, atol=1e-4)
    corners = crop.labels["crop_box"].reshape(2, 2)
    np.testing.assert_allclose(move(crop.labels["image_from_crop"], corners).ravel(), box, atol=1e-6)


def test_a_hand_beyond_its_image_still_has_a_crop() -> None:
    image = np.full((20, 20, 3), 77, np.uint8)
    crop = Cutting(size=32, context=1.0)(hand_sample(image, np.array([100.0, 100.0, 140.0, 140.0]), "a", "right"))
    assert cv2.imdecode(np.frombuffer(crop.encoded, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize("side", [20.0, 61.3, 130.0, 333.3, 700.0])  # enlarged; averaged over blocks, and not
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("reduced", [1, 2])
def test_a_crop_shows_what_its_matrix_says(side: float, *, mirrored: bool, reduced: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (301, 403, 3), np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), noise, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    image_from_decoded = from_reduced(reduced, reduced)
    if mirrored:
        image_from_decoded = mirror(403 * reduced) @ image_from_decoded
    size, context = 64, 1.2
    pixel = 1 + size / (context * side)  # of the crop, and one of the image
    for x, y in ((200.4, 150.7), (20.0, 280.0), (390.0, 5.0)):
        square = reduced * np.array([[x, y], [x, y]]) + np.array([[-0.5], [0.5]]) * side * reduced * context
        box = ((square - square.mean(axis=0)) / context + square.mean(axis=0)).ravel()
        sample = hand_sample(image, box, "a", "right", image_from_decoded=image_from_decoded)
        crop, crop_from_image = Cutting(size, context)._cut(sample)
        height, width = crop.shape[:2]
        crop_from_decoded = crop_from_image @ image_from_decoded
        expected = warp(image, crop_from_decoded, size, "reflect")[:height, :width]
        edge = math.ceil(pixel)
        different = np.abs(crop.astype(int) - expected)
        assert different[edge:-edge, edge:-edge].max() <= 4
        assert different.mean() < 2
        # it ends where the square or the image does
        ends = np.sort(move(crop_from_decoded, np.array([[-0.5, -0.5], [402.5, 300.5]])), axis=0)
        ends = np.clip(move(crop_from_image, square), ends[0], ends[1])
        np.testing.assert_allclose(ends, [[-0.5, -0.5], [width - 0.5, height - 0.5]], atol=pixel)


def test_a_line_has_a_crop() -> None:
    image = np.full((1, 3000, 3), 200, np.uint8)
    crop = Cutting(size=16)(hand_sample(image, np.array([0.0, -1500.0, 3000.0, 1500.0]), "a", "right"))
    pixels = cv2.imdecode(np.frombuffer(crop.encoded, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape[0] == 1
