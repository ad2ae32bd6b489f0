"""What is kept, and with which labels: no network is needed for that."""

from typing import Any

import cv2
import numpy as np
import pytest

from peclr.collect.hands import LeftOut, Thresholds, labeled, sharpness_of
from peclr.data.views.geometric import ViewGeometry, render_view
from peclr.detection import DetectedHand
from peclr.geometry.planar import centered_camera, whole_image

WIDTH, HEIGHT = 320, 240


@pytest.fixture
def image() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (60, 80, 3), np.uint8), (WIDTH, HEIGHT)).astype(np.uint8)


def hand(side: Any = "right", shift: float = 0.0, score: float = 0.9) -> tuple[DetectedHand, np.ndarray[Any, Any]]:
    """A hand at a known place, and its joints (21, 3) there, m."""
    rng = np.random.default_rng(1)
    points, K = rng.normal(0, 0.04, (21, 3)), centered_camera(300, WIDTH, HEIGHT)
    placed = points + np.array([0.02 + shift, -0.01, 0.5])
    pixels = (placed @ K.T)[:, :2] / placed[:, 2:]
    box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    return DetectedHand(side, score, box, pixels, points), placed


def project(sample: Any) -> np.ndarray[Any, Any]:
    homogeneous = sample["joints_3d"] @ sample["K"].T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def test_labels_are_where_the_camera_sees_the_hand(image: np.ndarray[Any, Any]) -> None:
    found, placed = hand()
    sample = labeled(image, found, centered_camera(300, WIDTH, HEIGHT), "a.jpg")
    assert sample["joints_3d"] is not None
    np.testing.assert_allclose(sample["joints_3d"], placed, atol=1e-5)
    np.testing.assert_allclose(project(sample), found.joints_2d, atol=0.01)
    assert sample["scale_m"] == pytest.approx(float(np.linalg.norm(placed[9] - placed[10])))


def test_a_left_hand_becomes_a_right_one_with_all_that_belongs_to_it(image: np.ndarray[Any, Any]) -> None:
    found, placed = hand("left")
    K = centered_camera(300, WIDTH, HEIGHT) + np.array([[0, 7, 11], [0, 0, 0], [0, 0, 0]])
    pixels = (placed @ K.T)[:, :2] / placed[:, 2:]
    sample = labeled(image, DetectedHand("left", 0.9, found.box, pixels, found.joints_3d), K, "a.jpg")
    assert sample["joints_2d"] is not None
    assert sample["joints_3d"] is not None
    whole = {**sample, "crop_box": whole_image(WIDTH, HEIGHT)}
    view = render_view(whole, ViewGeometry(), WIDTH).image[(WIDTH - HEIGHT) // 2 :][:HEIGHT]  # type: ignore[arg-type]
    np.testing.assert_array_equal(view, image[:, ::-1])
    np.testing.assert_allclose(sample["joints_2d"], pixels * [-1, 1] + [WIDTH - 1, 0], atol=1e-3)
    np.testing.assert_allclose(sample["joints_3d"], placed * [-1, 1, 1], atol=1e-5)
    np.testing.assert_allclose(project(sample), sample["joints_2d"], atol=0.01)


@pytest.mark.parametrize(
    ("thresholds", "shift", "reason"),
    [
        (Thresholds(score=0.95), 0.0, "score below 0.95"),
        (Thresholds(size=300), 0.0, "smaller than 300 px"),
        (Thresholds(), 0.3, "most of it beyond the image"),
        (Thresholds(sharpness=100), 0.0, "sharpness below 100"),
    ],
)
def test_what_is_left_out_has_a_reason(
    image: np.ndarray[Any, Any], thresholds: Thresholds, shift: float, reason: str
) -> None:
    Thresholds().check(hand()[0], image)
    with pytest.raises(LeftOut, match=reason):
        thresholds.check(hand(shift=shift)[0], image)


def test_blur_makes_less_sharp_and_light_does_not(image: np.ndarray[Any, Any]) -> None:
    found, _ = hand()
    blurred = [cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8) for sigma in (2, 4)]
    values = [sharpness_of(one, found) for one in (image, *blurred)]
    assert values[0] > 2 * values[1] > 4 * values[2]
    dark = (image // 4).astype(np.uint8)
    assert sharpness_of(dark, found) == pytest.approx(values[0], rel=0.1)
