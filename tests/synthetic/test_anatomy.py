"""The skeleton: a right hand of real size, whose bones keep their lengths."""

import numpy as np
import pytest

from peclr.geometry.joints import BONES, FINGERS, JOINT_NAMES, MIDDLE_MCP, SCALE_BONE, TIPS
from peclr.synthetic.anatomy import (
    FIRST_SEGMENT,
    HAND_LENGTH_RANGE,
    MEAN_SUBJECT,
    Pose,
    Subject,
    articulate,
    sample_subject,
)
from peclr.synthetic.arrays import Floats
from peclr.synthetic.poses import NAMED_POSES, sample_pose

MCPS = [JOINT_NAMES.index(f"{finger}_mcp") for finger in FINGERS]
SUBJECTS = [sample_subject(np.random.default_rng(i)) for i in range(200)]


def bone_lengths(joints: Floats) -> Floats:
    lengths: Floats = np.linalg.norm([joints[child] - joints[parent] for parent, child in BONES], axis=1)
    return lengths


def test_a_straight_hand_has_the_size_of_a_real_one() -> None:
    middle = FINGERS.index("middle")
    lengths = [np.linalg.norm(s.roots[middle]) + s.lengths[middle].sum() for s in SUBJECTS]
    assert HAND_LENGTH_RANGE[0] - 1e-9 <= min(lengths) < max(lengths) <= HAND_LENGTH_RANGE[1] + 1e-9
    assert np.std(lengths) > 0.004


def test_freihands_scale_bone_is_as_long_as_in_freihand() -> None:
    scales = [
        np.linalg.norm(np.subtract(*articulate(s, NAMED_POSES["fist"]).joints[list(SCALE_BONE)])) for s in SUBJECTS
    ]
    assert 0.025 < min(scales) < max(scales) < 0.055


@pytest.mark.parametrize("subject", SUBJECTS[:5])
def test_bones_keep_their_lengths_in_every_pose(subject: Subject) -> None:
    lengths = [bone_lengths(articulate(subject, pose).joints) for pose in NAMED_POSES.values()]
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], (len(lengths), 20)), atol=1e-12)


def test_people_differ_in_proportions_not_only_in_size() -> None:
    lengths = np.array([bone_lengths(articulate(s, NAMED_POSES["flat"]).joints) for s in SUBJECTS])
    proportions = lengths / lengths.sum(axis=1, keepdims=True)
    assert (proportions.std(axis=0) / proportions.mean(axis=0) > 0.01).all()


def test_rotations_are_proper_and_joints_lie_at_bone_ends() -> None:
    for pose in NAMED_POSES.values():
        skeleton = articulate(MEAN_SUBJECT, pose)
        np.testing.assert_allclose(np.linalg.det(skeleton.rotations), 1, atol=1e-12)
        along = skeleton.origins[FIRST_SEGMENT:] + skeleton.rotations[FIRST_SEGMENT:, :, 1] * (
            MEAN_SUBJECT.lengths.reshape(-1, 1)
        )
        ends = [1 + 4 * digit + segment + 1 for digit in range(5) for segment in range(3)]
        np.testing.assert_allclose(along, skeleton.joints[ends], atol=1e-12)


def test_every_hand_is_a_right_hand() -> None:
    # On a right hand the palm faces (index − wrist) × (little − wrist): fingers bend to that side, and the thumb's
    # opposition lifts it there. On a left hand the product points out of the back.
    bend = 0
    for i, subject in enumerate(SUBJECTS):
        _, skeleton = sample_pose(np.random.default_rng(1000 + i), subject)
        joints = skeleton.joints
        index, little = (joints[JOINT_NAMES.index(f"{finger}_mcp")] for finger in ("index", "little"))
        palmar = np.cross(index - joints[0], little - joints[0])
        palmar /= np.linalg.norm(palmar)
        fingers = (joints[list(TIPS[1:])] - joints[MCPS[1:]]) @ palmar
        assert fingers.max() > -0.02
        bend += fingers.mean() > 0
        towards_thumb = joints[MCPS[0]] - (joints[0] + joints[MIDDLE_MCP]) / 2
        assert towards_thumb @ np.cross(joints[MIDDLE_MCP] - joints[0], palmar) > 0
    assert bend > 0.9 * len(SUBJECTS)


def test_flexion_bends_each_finger_to_the_palm_and_each_thumb_joint_inwards() -> None:
    straight = Pose(np.zeros((5, 3)), np.array([40.0, 0, 0, 0, 0]), 10.0, np.zeros(2))
    for digit in range(5):
        for segment in range(3):
            if (digit, segment) == (0, 0):
                continue  # the thumb's saddle joint is moved by abduction and opposition
            flexion = np.zeros((5, 3))
            flexion[digit, segment] = 30.0
            bent = articulate(MEAN_SUBJECT, Pose(flexion, straight.abduction, 10.0, np.zeros(2)))
            moved = bent.joints[TIPS[digit]] - articulate(MEAN_SUBJECT, straight).joints[TIPS[digit]]
            assert (moved[2] > 0.01) if digit else (moved[0] < -0.01)


def test_the_wrist_turns_the_forearm_and_leaves_the_labels() -> None:
    pose = NAMED_POSES["flat"]
    turned = Pose(pose.flexion, pose.abduction, pose.opposition, np.array([40.0, 10.0]))
    before, after = articulate(MEAN_SUBJECT, pose), articulate(MEAN_SUBJECT, turned)
    np.testing.assert_array_equal(before.joints, after.joints)
    elbow = -after.rotations[0, :, 1]
    assert elbow[2] > 0.5  # a flexed hand bends its palm toward the forearm
    assert elbow[0] > 0.1  # and, deviated to the thumb's side, its thumb
