"""The measurements behind chosen constants: their arithmetic is right."""

import numpy as np
import pytest

from experiments.measurements.find_hands import IMAGE_SIZE, moved_hand


@pytest.mark.parametrize("seed", range(5))
def test_a_moved_hand_is_in_the_image_and_its_camera_still_sees_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform((-0.1, -0.1, 0.5), (0.1, 0.1, 0.7), (21, 3))
    K = np.array([[300.0, 0, 112], [0, 300, 112], [0, 0, 1]])
    joints = (points @ K.T)[:, :2] / points[:, 2:]
    moved, moved_joints, moved_K = moved_hand(np.zeros((224, 224, 3), np.uint8), joints, K, rng)
    assert moved.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert moved_joints.min() >= 0
    assert moved_joints.max() <= IMAGE_SIZE
    np.testing.assert_allclose((points @ moved_K.T)[:, :2] / points[:, 2:], moved_joints, atol=1e-9)
    extent = np.ptp(moved_joints, axis=0).max() / IMAGE_SIZE
    assert 0.3 - 1e-9 <= extent <= 0.95 + 1e-9
