"""What a detector of hands returns, and which of its finds are one hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

# MediaPipe's rule, mediapipe/tasks/cc/vision/hand_landmarker/calculators/hand_landmarks_deduplication_calculator.cc
_SAME_JOINTS = 10  # of 21
_SAME_PLACE = 0.2  # of the palm's size
_SAME_BOX = 0.2  # intersection over union
_PART = 1 / 30  # of the area of a hand's box; of 13 fingers in 40 enlarged photographs 12 took less
_PALM = (0, 5, 17)  # wrist and the outer knuckles, order freihand
_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class DetectedHand:
    """A hand in an image that is not mirrored.

    Attributes:
        side: of the person, not of the image.
        score: that there is a hand, 0 to 1.
        box: (4,), left, top, right, bottom, px, around the joints.
        joints_2d: (21, 2), px, order freihand.
        joints_3d: (21, 3), metres about the hand's center, axes as the camera's, order freihand; size assumed.
    """

    side: Literal["left", "right"]
    score: float
    box: Array
    joints_2d: Array
    joints_3d: Array


def without_duplicates(hands: Sequence[DetectedHand]) -> list[DetectedHand]:
    """Keep the first of finds that are one hand: boxes that overlap, or joints at the same places."""
    kept: list[DetectedHand] = []
    for hand in hands:
        if not any(is_same(hand, other) for other in kept):
            kept.append(hand)
    return kept


def is_same(a: DetectedHand, b: DetectedHand) -> bool:
    """Whether two finds are one hand: half of the joints are at the same places, or the boxes overlap."""
    distances = np.linalg.norm(a.joints_2d - b.joints_2d, axis=-1)
    near = _SAME_PLACE * max(_palm_size(a), _palm_size(b))
    return int((distances < near).sum()) >= _SAME_JOINTS or bool(overlap(a.box, b.box) > _SAME_BOX)


def is_part(hand: DetectedHand, of: DetectedHand) -> bool:
    """Whether a find is a part of a hand, as fingers of enlarged images are: mostly in its box, and far smaller."""
    return bool(_area(hand.box) < _PART * _area(of.box) and _shared(hand.box, of.box) > _area(hand.box) / 2)


def _palm_size(hand: DetectedHand) -> float:
    corners = hand.joints_2d[list(_PALM)]
    return float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=-1).max())


def overlap(a: Array, b: Array) -> Array:
    """Intersection over union (…) of boxes (…, 4), left, top, right, bottom."""
    shared = _shared(a, b)
    return np.asarray(shared / np.maximum(_area(a) + _area(b) - shared, _TINY), np.float64)


def _shared(a: Array, b: Array) -> Array:
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.maximum(sides, 0).prod(axis=-1))


def _area(box: Array) -> Array:
    return np.asarray((box[..., 2:] - box[..., :2]).prod(axis=-1))
