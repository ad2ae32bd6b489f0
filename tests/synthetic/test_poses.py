"""Poses: within the joints' limits, fingers moving together, digits side by side."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from peclr.synthetic.anatomy import MEAN_SUBJECT, Pose, Skeleton, Subject, articulate, sample_subject
from peclr.synthetic.arrays import Floats
from peclr.synthetic.poses import (
    ABDUCTION_LIMITS,
    FLEXION_LIMITS,
    NAMED_POSES,
    OPPOSITION_LIMITS,
    WRIST_LIMITS,
    clip_to_limits,
    digit_overlap,
    sample_pose,
)

Drawn = list[tuple[Subject, Pose, Skeleton]]


def within(value: ArrayLike, limits: Floats) -> bool:
    return bool(((np.asarray(value) >= limits[..., 0] - 1e-9) & (np.asarray(value) <= limits[..., 1] + 1e-9)).all())


def keeps_limits(pose: Pose) -> bool:
    return (
        within(pose.flexion, FLEXION_LIMITS)
        and within(pose.abduction, ABDUCTION_LIMITS)
        and OPPOSITION_LIMITS[0] <= pose.opposition <= OPPOSITION_LIMITS[1]
        and within(pose.wrist, WRIST_LIMITS)
    )


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    rng = np.random.default_rng(3)
    return [(subject := sample_subject(rng), *sample_pose(rng, subject)) for _ in range(600)]


def test_poses_keep_the_joint_limits(drawn: Drawn) -> None:
    assert all(keeps_limits(pose) for _, pose, _ in drawn)
    assert all(keeps_limits(pose) for pose in map(clip_to_limits, NAMED_POSES.values()))


def test_clipping_brings_any_pose_within_the_limits_and_leaves_possible_ones() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wild = Pose(rng.normal(0, 90, (5, 3)), rng.normal(0, 40, 5), rng.normal(0, 60), rng.normal(0, 90, 2))
        clipped = clip_to_limits(wild)
        assert keeps_limits(clipped)
        again = clip_to_limits(clipped)
        np.testing.assert_allclose(again.flexion, clipped.flexion)
        np.testing.assert_allclose(again.abduction, clipped.abduction)


def test_neighboring_fingers_bend_together_more_than_distant_ones(drawn: Drawn) -> None:
    bend = np.array([pose.flexion[1:, :2].sum(axis=1) for _, pose, _ in drawn])
    correlation = np.corrcoef(bend.T)
    assert (np.diag(correlation, 1) > 0.5).all()
    assert correlation[0, 1] > correlation[0, 3]
    assert correlation[2, 3] > correlation[0, 3]


def test_the_end_joint_follows_the_middle_joint(drawn: Drawn) -> None:
    middle, end = (np.concatenate([pose.flexion[1:, i] for _, pose, _ in drawn]) for i in (1, 2))
    assert np.corrcoef(middle, end)[0, 1] > 0.9
    assert np.polyfit(middle, end, 1)[0] == pytest.approx(2 / 3, abs=0.08)


def test_poses_are_varied(drawn: Drawn) -> None:
    closing = np.array([pose.flexion[1:, :2].mean() for _, pose, _ in drawn])
    assert closing.std() > 20
    assert (np.array([pose.flexion[1:, 1] for _, pose, _ in drawn]).std(axis=0) > 20).all()


def test_digits_hardly_ever_run_through_each_other(drawn: Drawn) -> None:
    overlaps = np.array([digit_overlap(skeleton, subject) for subject, _, skeleton in drawn])
    assert np.mean(overlaps < 0.003) > 0.97
    assert overlaps.max() < 0.010


def test_overlap_is_large_where_digits_coincide() -> None:
    through_the_palm = Pose(np.zeros((5, 3)), np.array([0.0, 0, 25, 0, 0]), 0.0, np.zeros(2))
    assert digit_overlap(articulate(MEAN_SUBJECT, through_the_palm), MEAN_SUBJECT) > 0.003
    assert digit_overlap(articulate(MEAN_SUBJECT, NAMED_POSES["spread"]), MEAN_SUBJECT) < 0
