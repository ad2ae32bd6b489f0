"""A hand is put where the camera sees it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peclr.geometry.placement import place
from peclr.geometry.planar import centered_camera

SEEDS = st.integers(0, 2**32 - 1)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a hand (21, 3), m, about their center; where they are; a camera with skew."""
    rng = np.random.default_rng(seed)
    K = centered_camera(rng.uniform(200, 2000), 640, 480)
    K[0, 1] = rng.uniform(-20, 20)
    return rng.normal(0, 0.05, (21, 3)), np.append(rng.uniform(-0.5, 0.5, 2), rng.uniform(0.3, 2)), K


def seen(points: np.ndarray, K: np.ndarray) -> np.ndarray:
    homogeneous = points @ K.T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


@given(SEEDS)
def test_what_is_seen_without_error_is_put_where_it_was(seed: int) -> None:
    points, translation, K = scene(seed)
    np.testing.assert_allclose(place(points, seen(points + translation, K), K), translation, atol=1e-6)


@given(SEEDS)
def test_no_place_nearby_is_seen_nearer_to_noisy_pixels(seed: int) -> None:
    points, translation, K = scene(seed)
    rng = np.random.default_rng(seed)
    pixels = seen(points + translation, K) + rng.normal(0, 2, (21, 2))
    found = place(points, pixels, K)

    def error(where: np.ndarray) -> float:
        return float(np.square(seen(points + where, K) - pixels).sum())

    assert all(error(found) <= error(found + rng.normal(0, 1e-3, 3)) + 1e-9 for _ in range(20))


def test_what_no_camera_sees_is_refused() -> None:
    points, translation, K = scene(0)
    with pytest.raises(ValueError, match="no place in front of the camera fits"):
        place(points, 640 - seen(points + translation, K), K)  # as through a pinhole, upside down


def test_points_that_are_all_seen_at_one_pixel_could_be_anywhere() -> None:
    points, _, K = scene(0)
    with pytest.raises(ValueError, match="no place in front of the camera fits"):
        place(np.zeros_like(points), np.full((21, 2), 320.0), K)
