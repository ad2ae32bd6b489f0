"""Follow hands through a video: a track's next region comes from its last joints, so that palms are sought rarely."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from peclr.detection.detector import Array, DetectedHand, Image, is_same
from peclr.detection.mediapipe import MediaPipeHands, Region

# mediapipe/tasks/cc/vision/hand_landmarker/calculators/hand_landmarks_to_rect_calculator.cc
_PALM_JOINTS: Final = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)
_SCALE: Final = 2.0  # of the box around these joints
_SHIFT: Final = -0.1  # of its height, towards the fingers
_CUT: Final = 0.05  # of gray levels, mean difference of small images: at least this is another scene …
_CUT_JUMP: Final = 4.0  # … and this many times what it was lately
_PATIENCE: Final = 20  # frames in which a lost hand of the same side comes back to its track …
_NEAR: Final = 1.5  # … if it is not farther away than so many of its sizes


@dataclass(frozen=True, eq=False)
class TrackedHand:
    """A hand in a frame.

    Attributes:
        track: the same for one hand from frame to frame; never used again after it was lost.
        hand: where it is.
    """

    track: int
    hand: DetectedHand


class HandTracker:
    """The hands in the frames of one video, which are given in order, each once.

    Args:
        detector: finds hands that are new, and the joints of those that are known.
        every: frames after which palms are sought even if no track was lost.
    """

    def __init__(self, detector: MediaPipeHands, *, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"expected every ≥ 1 frames, got {every}")
        self._detector, self._every, self._cuts = detector, every, _Cuts()
        self._tracks: list[TrackedHand] = []
        self._lost: dict[TrackedHand, int] = {}  # with the frame in which they were lost
        self._frame = self._next = 0
        self._since = every  # palms were sought

    def __call__(self, frame: Image) -> list[TrackedHand]:
        """Find the hands of the next frame (H, W, 3) uint8 RGB; a cut ends all tracks."""
        if self._cuts(frame):
            self._tracks, self._lost, self._since = [], {}, self._every
        followed = self._follow(frame)
        kept = {track.track for track in followed}
        self._lost |= {track: self._frame for track in self._tracks if track.track not in kept}
        self._lost = {track: when for track, when in self._lost.items() if self._frame - when < _PATIENCE}
        self._since += 1
        if self._since >= self._every or self._lost or not followed:
            followed += self._find(frame, followed)
            self._since = 0
        self._frame += 1
        self._tracks = followed
        return list(followed)

    def _follow(self, frame: Image) -> list[TrackedHand]:
        followed: list[TrackedHand] = []
        for track in self._tracks:
            hand = self._detector.hand_in(frame, region_from_joints(track.hand.joints_2d))
            # two tracks that fall on one hand: the older one has it, and a hand does not change its side
            same = hand is not None and any(is_same(hand, other.hand) for other in followed)
            if hand is not None and not same and hand.side == track.hand.side:
                followed.append(TrackedHand(track.track, hand))
        return followed

    def _find(self, frame: Image, followed: list[TrackedHand]) -> list[TrackedHand]:
        """New hands; one that is near where a hand of its side was lost continues that track."""
        found: list[TrackedHand] = []
        for hand in self._detector(frame):
            if any(is_same(hand, track.hand) for track in followed):
                continue
            near = {track: _distance(hand, track.hand) for track in self._lost if track.hand.side == hand.side}
            back = min(near, key=near.__getitem__, default=None)
            if back is not None and near[back] < _NEAR:
                del self._lost[back]
                found.append(TrackedHand(back.track, hand))
            else:
                found.append(TrackedHand(self._next, hand))
                self._next += 1
        return found


def _distance(a: DetectedHand, b: DetectedHand) -> float:
    """Between the middles of two hands, in sizes of the second."""
    middle = (a.box[:2] + a.box[2:] - b.box[:2] - b.box[2:]) / 2
    return float(np.linalg.norm(middle) / (b.box[2:] - b.box[:2]).max())


class _Cuts:
    """Whether a frame shows another scene than the one before, by how small gray images differ."""

    def __init__(self) -> None:
        self._before: Array | None = None
        self._usual = 0.0

    def __call__(self, frame: Image) -> bool:
        gray = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA) / 255
        difference = 0.0 if self._before is None else float(np.abs(gray - self._before).mean())
        self._before = gray
        if difference > max(_CUT, _CUT_JUMP * self._usual):
            return True
        self._usual = 0.8 * self._usual + 0.2 * difference
        return False


def region_from_joints(joints_2d: Array) -> Region:
    """Where the hand will be in the next frame, by its joints (21, 2) px in this one."""
    points = joints_2d + 0.5  # pixel centers are half integers there
    x, y = ((points[5] + points[13]) / 2 + points[9]) / 2 - points[0]
    angle = math.pi / 2 - math.atan2(-y, x)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = points[list(_PALM_JOINTS)] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    center = turn @ ((low + high) / 2 + [0, _SHIFT * (high - low)[1]])
    return Region(float(center[0]), float(center[1]), _SCALE * float((high - low).max()), angle)
