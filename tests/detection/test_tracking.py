"""Tracks in a video that the test makes: two hands cross over clutter, then a cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peclr.detection import DetectedHand, MediaPipeHands
from peclr.detection.tracking import HandTracker, region_from_joints
from tests.hand_video import FRAMES, Hands, both_scenes, render_hands, scene


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Hands:
    return render_hands(tmp_path_factory.mktemp("video") / "hands")


def near(hand: DetectedHand, joints: Any) -> bool:
    return bool(np.linalg.norm(hand.joints_2d - joints, axis=-1).mean() < 0.15 * np.ptp(joints, axis=0).max())


def test_tracks_keep_their_hands_through_a_crossing_and_end_at_a_cut(task_file: Path, hands: Hands) -> None:
    tracker = HandTracker(MediaPipeHands(task_file))
    frames = both_scenes(hands)
    found = [tracker(frame) for frame, _ in frames]
    tracks: list[set[int]] = []
    for begin in (0, FRAMES):
        for side, hand in (("right", 0), ("left", 1)):
            truth = [(number, frames[number][1][hand]) for number in range(begin, begin + FRAMES)]
            visible = [(number, joints) for number, joints in truth if joints is not None]
            ids = [
                next((track.track for track in found[number] if near(track.hand, joints)), None)
                for number, joints in visible
            ]
            main = max(set(ids) - {None}, key=ids.count)
            assert ids.count(main) >= 0.95 * len(visible), (begin, side, ids)
            tracks.append({main} if main is not None else set())
    assert len(set.union(*tracks)) == 4  # none goes on after the cut


def test_palms_are_sought_rarely(task_file: Path, hands: Hands) -> None:
    class Counting(MediaPipeHands):
        calls = 0

        def __call__(self, image: Any) -> list[DetectedHand]:
            Counting.calls += 1
            return super().__call__(image)

    frames = [frame for frame, _ in scene(hands, 0)][:15]
    found = list(map(HandTracker(Counting(task_file), every=10), frames))
    assert all(len(tracks) == 2 for tracks in found)
    assert Counting.calls == 2
    with pytest.raises(ValueError, match="expected every ≥ 1"):
        HandTracker(MediaPipeHands(task_file), every=0)


def test_the_region_follows_the_hand() -> None:
    rng = np.random.default_rng(0)
    joints = rng.uniform(0, 100, (21, 2))
    region = region_from_joints(joints)
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = region_from_joints(2 * joints @ turn.T + 50)
    assert moved.side == pytest.approx(2 * region.side)
    assert np.angle(np.exp(1j * (moved.angle - region.angle))) == pytest.approx(angle)
    expected = 2 * turn @ (np.array([region.x, region.y]) - 0.5) + 50 + 0.5
    np.testing.assert_allclose([moved.x, moved.y], expected)
