"""Skeletons: joints where they belong, in the registry's colors, in 2-D and from two sides in 3-D."""

import numpy as np
import pytest
from numpy.typing import NDArray

from peclr.drawing.skeleton import draw_skeleton, draw_skeleton_3d
from peclr.geometry.joints import BONE_COLORS, BONES, FINGER_COLORS, JOINT_NAMES, NUM_JOINTS

TIPS = {finger: JOINT_NAMES.index(f"{finger}_tip") for finger in FINGER_COLORS}


def grid_hand() -> NDArray[np.float64]:
    """(21, 2), px: each finger a column of its own, the wrist below."""
    points = np.zeros((NUM_JOINTS, 2))
    for joint, name in enumerate(JOINT_NAMES):
        if name == "wrist":
            points[joint] = (50, 90)
        else:
            finger, part = name.split("_")
            column, row = list(FINGER_COLORS).index(finger), ["mcp", "pip", "dip", "tip"].index(part)
            points[joint] = (10 + 20 * column, 70 - 18 * row)
    return points


def colors_in(image: NDArray[np.uint8]) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("enlarge", [1, 2, 3])
def test_every_finger_has_its_color_at_its_joints(enlarge: int) -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    drawn = draw_skeleton(image, grid_hand(), enlarge)
    assert drawn.shape == (100 * enlarge, 100 * enlarge, 3)
    for finger, tip in TIPS.items():
        x, y = np.rint((grid_hand()[tip] + 0.5) * enlarge - 0.5).astype(int)
        np.testing.assert_array_equal(drawn[y, x], FINGER_COLORS[finger])
    assert set(FINGER_COLORS.values()) <= colors_in(drawn)


def test_bones_to_unknown_joints_are_left_out() -> None:
    points = grid_hand()
    points[TIPS["index"]] = np.nan
    points[TIPS["thumb"]] = 1e9
    drawn = draw_skeleton(np.full((100, 100, 3), 255, np.uint8), points)
    for finger in ("index", "thumb"):
        x, y = grid_hand()[TIPS[finger]].astype(int)
        np.testing.assert_array_equal(drawn[y, x], 255)
    np.testing.assert_array_equal(draw_skeleton(drawn, np.full((NUM_JOINTS, 2), np.nan)), drawn)


def test_a_small_hand_in_a_large_image_gets_thin_bones() -> None:
    image = np.full((1000, 1000, 3), 255, np.uint8)
    inked = (draw_skeleton(image, grid_hand()) != 255).any(axis=-1).sum()
    assert inked < 0.35 * 100 * 100
    large = (draw_skeleton(image, 10 * grid_hand()) != 255).any(axis=-1).sum()
    assert large > 20 * inked


def test_seen_by_the_camera_a_hand_in_3d_is_as_in_2d() -> None:
    """Colors' centers have the same order and the same side as the joints; the second view has depth for x."""
    rng = np.random.default_rng(0)
    joints = np.zeros((NUM_JOINTS, 3))
    for number, finger in enumerate(FINGER_COLORS):
        for part, row in zip(("mcp", "pip", "dip", "tip"), range(1, 5), strict=True):
            # x grows with the finger, the depth falls with it
            joints[JOINT_NAMES.index(f"{finger}_{part}")] = (0.02 * number, -0.02 * row, 0.5 - 0.01 * number)
    joints[0] = (0.04, 0.02, 0.5)
    joints += rng.normal(scale=1e-4, size=joints.shape)
    drawn = draw_skeleton_3d(joints, size=200)
    assert drawn.shape == (200, 400, 3)
    for half, sign in ((drawn[:, :200], 1), (drawn[:, 200:], -1)):
        centers = []
        for color in FINGER_COLORS.values():
            rows, columns = (half == color).all(axis=-1).nonzero()
            assert len(rows) > 20
            centers.append((columns[rows < rows.min() + 15]).mean())  # at the tips: the top
        assert (np.diff(centers) * sign > 0).all()


def test_the_nearer_bone_covers_the_farther_one() -> None:
    joints = np.zeros((NUM_JOINTS, 3))
    joints[:, 2] = 1.0
    # two bones cross in the middle: thumb's last from left to right, index finger's last from top to bottom
    (thumb, thumb_tip), (index, index_tip) = BONES[3], BONES[7]
    for nearer, farther in (((thumb, thumb_tip), (index, index_tip)), ((index, index_tip), (thumb, thumb_tip))):
        joints[:, :2] = (0.1, 0.1)  # all others in a corner
        joints[[thumb, thumb_tip], :2] = [(-0.1, 0), (0.1, 0)]
        joints[[index, index_tip], :2] = [(0, -0.1), (0, 0.1)]
        joints[list(nearer), 2], joints[list(farther), 2] = 0.95, 1.05
        drawn = draw_skeleton_3d(joints, size=201)
        expected = BONE_COLORS[3] if nearer == (thumb, thumb_tip) else BONE_COLORS[7]
        np.testing.assert_array_equal(drawn[100, 100], expected)


def test_the_scale_bar_has_the_scale() -> None:
    joints = np.zeros((NUM_JOINTS, 3))
    joints[1:, 0] = np.linspace(0, 0.1, 20)
    for unit, factor, length in (("m", 1.0, 0.2), ("bone", 40.0, 0.25)):
        drawn = draw_skeleton_3d(joints * factor, unit, size=400)  # type: ignore[arg-type]
        bar = (drawn[380:400, :400] < 120).all(axis=-1).any(axis=0).sum()
        assert bar == pytest.approx(0.72 * 400 * length, abs=4)


def test_images_and_joints_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="RGB image"):
        draw_skeleton(np.zeros((5, 5), np.uint8), np.zeros((21, 2)))
    with pytest.raises(ValueError, match=r"joints \(21, 2\)"):
        draw_skeleton(np.zeros((5, 5, 3), np.uint8), np.zeros((20, 2)))
    with pytest.raises(ValueError, match=r"joints \(21, 3\)"):
        draw_skeleton_3d(np.zeros((21, 2)))
    with pytest.raises(ValueError, match="not finite"):
        draw_skeleton_3d(np.full((21, 3), np.nan))
