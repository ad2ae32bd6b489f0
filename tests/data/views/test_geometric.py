from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from peclr.data.views.geometric import GeometryRange, ViewGeometry, warp
from peclr.geometry import affine
from peclr.geometry.planar import Matrix, view_from_image

if TYPE_CHECKING:
    from tests.data.conftest import DrawDots


EXTREME = GeometryRange(rotation=(-180, 180), translation=(-0.2, 0.2), scale=(0.5, 1.6))


def composed_view_from_crop(angle: float, translation: tuple[float, float], scale: float) -> Tensor:
    """The published order in `peclr.geometry.affine`: rotate, cut out a square, shift."""
    return affine.compose(
        affine.translation(2 * torch.tensor(translation, dtype=torch.float64) / scale),
        affine.rotation(torch.tensor(angle, dtype=torch.float64)),
        affine.scaling(torch.tensor(1 / scale, dtype=torch.float64)),
    )


def random_box(rng: np.random.Generator) -> Matrix:
    left, top, side = rng.uniform(-20, 40), rng.uniform(-20, 40), rng.uniform(100, 220)
    return np.array([left, top, left + side, top + side])


def test_matrices_agree_with_the_geometry_package() -> None:
    rng = np.random.default_rng(0)
    for size in (64, 127, 224):
        angle, scale = rng.uniform(-3, 3), rng.uniform(0.5, 2)
        translation, box = (rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)), random_box(rng)
        crop = ViewGeometry(angle, translation, scale=scale).view_from_crop(1.0)
        expected = composed_view_from_crop(angle, translation, scale)
        np.testing.assert_allclose(crop, expected, atol=1e-12)
        composed = affine.compose(
            affine.translation(torch.full((2,), (size - 1) / 2).double()),
            affine.scaling(torch.tensor(size / 2).double()),
            expected,
            affine.scaling(torch.tensor(2 / (box[2] - box[0]))),
            affine.translation(torch.from_numpy(-(box[:2] + box[2:]) / 2)),
        )
        np.testing.assert_allclose(view_from_image(crop, box, size), composed, atol=1e-9)


def test_angle_has_opencv_sign() -> None:
    for degrees, scale in ((30, 1.0), (-80, 0.7)):
        opencv = cv2.getRotationMatrix2D((0, 0), degrees, 1 / scale)
        ours = ViewGeometry(math.radians(degrees), (0, 0), scale=scale).view_from_crop(1.0)
        np.testing.assert_allclose(ours[:2], opencv, atol=1e-12)


def test_translation_is_in_source_pixels_and_positive_to_the_right(dots: DrawDots) -> None:
    # a shift of 20 px of a crop of 100 px, magnified twice, is 40 px of a view of 100 px
    image = dots(100, np.array([[49.5, 49.5]]))
    crop = ViewGeometry(0, (0.2, -0.1), scale=0.5).view_from_crop(1.0)
    view = warp(image, view_from_image(crop, np.array([-0.5, -0.5, 99.5, 99.5]), 100), 100)
    y, x = np.unravel_index(view[..., 0].argmax(), view.shape[:2])
    assert abs(x - (49.5 + 40)) <= 0.5
    assert abs(y - (49.5 - 20)) <= 0.5


def centroids(view: NDArray[np.uint8], expected: Matrix, radius: int) -> Matrix:
    """Centers of mass of the dots around their expected positions."""
    found = []
    for x, y in expected:
        left, top = round(x) - radius, round(y) - radius
        window = view[top : top + 2 * radius + 1, left : left + 2 * radius + 1, 0].astype(float)
        window[window < 8] = 0
        dy, dx = np.mgrid[: window.shape[0], : window.shape[1]]
        found.append([left + (dx * window).sum() / window.sum(), top + (dy * window).sum() / window.sum()])
    return np.array(found)


@pytest.mark.parametrize(
    ("image_size", "view_size"), [(224, 128), (224, 224), (224, 64), (450, 64), (113, 64), (64, 128)]
)
def test_pixels_land_where_the_matrix_sends_them(dots: DrawDots, image_size: int, view_size: int) -> None:
    rng = np.random.default_rng(image_size + view_size)
    grid = np.stack(np.meshgrid(*[np.linspace(0.2, 0.8, 4)] * 2), axis=-1).reshape(-1, 2)
    points = grid * image_size + rng.uniform(-0.5, 0.5, (16, 2))
    sigma = image_size / 75
    image = dots(image_size, points, sigma=sigma)
    checked = 0
    for _ in range(20):
        box = np.array([0.05, 0.1, 0.9, 0.95]) * image_size
        matrix = view_from_image(EXTREME.draw(rng).view_from_crop(1.0), box, view_size)
        expected = points @ matrix[:2, :2].T + matrix[:2, 2]
        magnification = math.sqrt(np.linalg.det(matrix[:2, :2]))
        radius = math.ceil(5 * sigma * magnification)
        visible = ((expected > radius) & (expected < view_size - 1 - radius)).all(axis=1)
        found = centroids(warp(image, matrix, view_size), expected[visible], radius)
        # OpenCV rounds source positions to 1/32 px; images of few pixels per dot are quantized more coarsely
        np.testing.assert_allclose(found, expected[visible], atol=0.1)
        checked += visible.sum()
    assert checked > 50


def test_nothing_augmented_is_the_identity() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    matrix = view_from_image(np.eye(3), np.array([-0.5, -0.5, 95.5, 95.5]), 96)
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(warp(image, matrix, 96), image)


def test_beyond_the_image_is_black() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    view = warp(image, view_from_image(np.eye(3), np.array([-50.5, -0.5, 49.5, 99.5]), 100), 100)
    assert (view[:49, 51:] == 200).all()
    assert not view[:, :49].any()
    assert not view[51:].any()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_whole_reductions_are_means_over_blocks(factor: int) -> None:
    side = 32 * factor
    image = np.random.default_rng(factor).integers(0, 256, (side, side, 3), dtype=np.uint8)
    matrix = view_from_image(np.eye(3), np.array([-0.5, -0.5, side - 0.5, side - 0.5]), 32)
    means = image.reshape(32, factor, 32, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(warp(image, matrix, 32), means, atol=1)


def test_fine_patterns_become_gray_instead_of_moire() -> None:
    image = np.indices((1200, 1600)).sum(axis=0) % 2 * 255
    image = np.repeat(image[..., None], 3, axis=2).astype(np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(5):
        matrix = view_from_image(GeometryRange().draw(rng).view_from_crop(1.0), np.array([300, 100, 1300, 1100]), 128)
        view = warp(image, matrix, 128)[20:-20, 20:-20]
        assert np.abs(view.astype(int) - 127).max() < 30


def test_samples_fill_their_ranges_evenly() -> None:
    rng = np.random.default_rng(0)
    ranges = GeometryRange(rotation=(-30, 60), translation=(-0.1, 0.3), scale=(0.5, 1.5))
    matrices = np.stack([ranges.draw(rng).view_from_crop(1.0) for _ in range(4000)])
    scale = 1 / np.sqrt(np.linalg.det(matrices[:, :2, :2]))
    angle = np.degrees(affine.rotation_angle(torch.from_numpy(matrices)).numpy())
    shift = matrices[:, :2, 2] * scale[:, None] / 2
    drawn = {"rotation": angle, "translation": shift.ravel(), "scale": scale}
    for name, values in drawn.items():
        low, high = getattr(ranges, name)
        quartiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        np.testing.assert_allclose(quartiles, np.linspace(low, high, 5), atol=0.04 * (high - low))
    assert abs(np.corrcoef(np.stack([angle, scale, *shift.T])) - np.eye(4)).max() < 0.06


def test_defaults_have_the_published_magnitudes() -> None:
    ranges = GeometryRange()
    np.testing.assert_allclose(ranges.rotation, (-45, 45))
    np.testing.assert_allclose(np.array(ranges.scale) * 1.25, (0.9, 1.5))  # margins
    np.testing.assert_allclose(np.array(ranges.translation) * 180, (-15, 15))  # px of a typical crop


@pytest.mark.parametrize(
    "ranges",
    [
        {"rotation": (10, -10)},
        {"scale": (0.0, 1.0)},
        {"translation": (0.0, math.nan)},
        {"translation_px": (math.inf, math.inf)},
    ],
)
def test_ranges_that_are_none_are_refused(ranges: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(ranges))):
        GeometryRange(**ranges)


def draws(ranges: GeometryRange, count: int, side: float) -> dict[str, NDArray[np.float64]]:
    """Angle in degrees, shift as pixels of the image, and margin, as the matrices show them."""
    rng = np.random.default_rng(7)
    matrices = np.stack([ranges.draw(rng).view_from_crop(side) for _ in range(count)])
    scale = 1 / np.sqrt(np.linalg.det(matrices[:, :2, :2]))
    shift = matrices[:, :2, 2] * scale[:, None] / 2 * side
    angle = np.degrees(affine.rotation_angle(torch.from_numpy(matrices)).numpy())
    return {"angle": angle, "right": shift[:, 0], "down": shift[:, 1], "margin": 1.25 * scale}


def test_switches_turn_one_augmentation_off_each() -> None:
    off: dict[str, Any] = {"rotation": (0.0, 0.0), "translation": (0.0, 0.0), "scale": (1.0, 1.0)}
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(GeometryRange(**off).draw(rng).view_from_crop(100), np.eye(3), atol=1e-12)
    spread = {"rotation": ["angle"], "translation": ["right", "down"], "scale": ["margin"]}
    for switch, names in spread.items():
        drawn = draws(GeometryRange(**{**off, switch: getattr(GeometryRange(), switch)}), 50, 100.0)
        assert {name for name, values in drawn.items() if np.ptp(values) > 1e-6} == set(names)


def test_a_mirrored_border_leaves_nothing_black_and_changes_nothing_inside() -> None:
    image = np.full((40, 40, 3), 200, np.uint8)
    image[18:22, 18:22] = 90
    turned = view_from_image(
        ViewGeometry(math.radians(30), (0.2, 0.0), scale=1.2).view_from_crop(1.0),
        np.array([-0.5, -0.5, 39.5, 39.5]),
        32,
    )
    black, mirrored = (warp(image, turned, 32, border) for border in ("black", "reflect"))
    assert (black == 0).any()
    assert mirrored.min() >= 89
    inside = warp(np.full_like(image, 255), turned, 32, "black") == 255
    np.testing.assert_array_equal(black[inside], mirrored[inside])
