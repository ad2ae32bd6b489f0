"""Props: traced where they are."""

import numpy as np
import pytest

from peclr.synthetic.props import Prop, draw_prop, sample_props
from peclr.synthetic.scene import make_scene, sample_hand

SIZE = 64
K = np.array([[80.0, 0, 31.5], [0, 80, 31.5], [0, 0, 1]])
LIGHT = make_scene(0, 2, 0).light


def prop(near: list[float], far: list[float], radius: float) -> Prop:
    return Prop(np.array(near), np.array(far), radius, np.full((2, 3), 0.5, np.float32), 0.1)


def test_a_ball_covers_its_outline_and_is_nearest_in_its_middle() -> None:
    pixels, inverse_depth, colors = draw_prop(prop([0, 0, 0.5], [0, 0, 0.5], 0.05), K, SIZE, LIGHT)
    assert pixels.size == pytest.approx(np.pi * (80 * 0.05 / np.sqrt(0.5**2 - 0.05**2)) ** 2, rel=0.08)
    assert 1 / inverse_depth.max() == pytest.approx(0.45, abs=1e-3)
    assert abs(pixels[np.argmax(inverse_depth)] - (31.5 * SIZE + 31.5)) < SIZE
    assert colors.shape == (3, pixels.size)
    assert 0 <= colors.min() <= colors.max() <= 1


def test_a_rod_lies_on_its_surface() -> None:
    rod = prop([-0.1, 0.02, 0.5], [0.08, -0.03, 0.6], 0.02)
    pixels, inverse_depth, _ = draw_prop(rod, K, SIZE, LIGHT)
    depth = 1 / inverse_depth.astype(np.float64)
    points = np.stack([(pixels % SIZE - 31.5) / 80, (pixels // SIZE - 31.5) / 80, np.ones(pixels.size)]) * depth
    axis = rod.far - rod.near
    along = np.clip(axis @ (points - rod.near[:, None]) / (axis @ axis), 0, 1)
    distance = np.linalg.norm(points - rod.near[:, None] - along * axis[:, None], axis=0)
    np.testing.assert_allclose(distance, rod.radius, atol=1e-4)


@pytest.mark.parametrize("z", [-0.5, 0.01])
def test_what_is_behind_or_at_the_camera_is_not_drawn(z: float) -> None:
    assert draw_prop(prop([0, 0, z], [0, 0, z], 0.02), K, SIZE, LIGHT)[0].size == 0


def test_what_is_outside_the_picture_is_not_drawn() -> None:
    assert draw_prop(prop([2, 0, 0.5], [2, 0, 0.5], 0.02), K, SIZE, LIGHT)[0].size == 0


def test_some_hands_have_props_and_most_have_none() -> None:
    with_prop = 0
    for i in range(150):
        hand = sample_hand(np.random.default_rng(i), SIZE)
        again = sample_props(np.random.default_rng(i), hand.skeleton, hand.rotation, hand.translation)
        assert all(np.isfinite(p.near).all() and p.radius > 0 for p in (*hand.props, *again))
        with_prop += bool(hand.props)
    assert 0.12 < with_prop / 150 < 0.45
