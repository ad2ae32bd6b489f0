"""The skin: closed around the bones, still at rest, rigid far from joints, full where they bend."""

import numpy as np
import pytest

from peclr.geometry.joints import TIPS
from peclr.synthetic.anatomy import FIRST_SEGMENT, MEAN_SUBJECT, articulate, sample_subject
from peclr.synthetic.arrays import Floats32
from peclr.synthetic.implicit import REST_POSE, digit_distance, hand_distance
from peclr.synthetic.poses import NAMED_POSES, sample_pose
from peclr.synthetic.renderer import COARSE_MM, FINE_MM
from peclr.synthetic.skinning import deform, hand_skin

SKIN = hand_skin(COARSE_MM)


def volume(vertices: Floats32) -> float:
    a, b, c = (vertices[:, corner].astype(np.float64) for corner in SKIN.faces)
    return float(np.sum(np.cross(a, b, axis=0) * c)) / 6


@pytest.mark.parametrize("cell_mm", [FINE_MM, COARSE_MM])
def test_the_skin_is_closed(cell_mm: float) -> None:
    faces = hand_skin(cell_mm).faces
    edges = np.concatenate([faces[[0, 1]], faces[[1, 2]], faces[[2, 0]]], axis=1)
    width = edges.max() + 1
    there, back = edges[0] * width + edges[1], edges[1] * width + edges[0]
    np.testing.assert_array_equal(np.sort(there), np.sort(back))


def test_vertices_lie_on_the_implicit_surface() -> None:
    assert np.abs(hand_distance(SKIN.vertices.astype(np.float64))).max() < 5e-4


def test_at_rest_nothing_moves() -> None:
    vertices, normals = deform(SKIN, SKIN.vertices, articulate(MEAN_SUBJECT, REST_POSE))
    np.testing.assert_allclose(vertices, SKIN.vertices, atol=1e-6)
    np.testing.assert_allclose(normals, SKIN.normals, atol=1e-4)


def test_weights_sum_to_one() -> None:
    np.testing.assert_allclose(SKIN.weights.sum(axis=0), 1, atol=1e-6)
    assert SKIN.weights.min() >= 0


def test_finger_tips_follow_their_bones_rigidly() -> None:
    rest, posed = articulate(MEAN_SUBJECT, REST_POSE), articulate(MEAN_SUBJECT, NAMED_POSES["fist"])
    moved, _ = deform(SKIN, SKIN.vertices, posed)
    for digit in range(5):
        bone = FIRST_SEGMENT + 3 * digit + 2
        alone = (SKIN.movers[0] == bone) & (SKIN.weights[0] > 0.999)
        assert np.count_nonzero(alone) > 20
        local = rest.rotations[bone].T @ (SKIN.vertices[:, alone] - rest.joints[TIPS[digit]][:, None])
        expected = posed.rotations[bone] @ local + posed.joints[TIPS[digit]][:, None]
        np.testing.assert_allclose(moved[:, alone], expected, atol=1e-4)


@pytest.mark.parametrize("name", sorted(NAMED_POSES))
def test_bending_keeps_the_volume(name: str) -> None:
    moved, _ = deform(SKIN, SKIN.vertices, articulate(MEAN_SUBJECT, NAMED_POSES[name]))
    assert volume(moved) == pytest.approx(volume(SKIN.vertices), rel=0.05)


def test_finger_tip_keypoints_lie_just_under_the_skin() -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        subject = sample_subject(rng)
        _, skeleton = sample_pose(rng, subject)
        vertices, normals = deform(SKIN, SKIN.vertices, skeleton)
        for digit, tip in enumerate(skeleton.joints[list(TIPS)]):
            own = np.flatnonzero(SKIN.movers[0] == FIRST_SEGMENT + 3 * digit + 2)
            nearest = own[np.argmin(((vertices[:, own] - tip[:, None]) ** 2).sum(axis=0))]
            assert 0 < (vertices[:, nearest] - tip) @ normals[:, nearest] < 0.002


def test_joints_at_rest_are_inside_the_skin() -> None:
    joints = articulate(MEAN_SUBJECT, REST_POSE).joints.T
    assert hand_distance(joints).max() < 0
    for digit in range(5):
        assert digit_distance(digit, joints[:, 1 + 4 * digit : 5 + 4 * digit]).max() < 0
