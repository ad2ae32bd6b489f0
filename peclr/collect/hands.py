"""From a detected hand to a labeled crop: what is kept, its camera, its place in space, its mirror image."""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample, hand_sample
from peclr.data.views.geometric import warp
from peclr.detection.detector import DetectedHand, Image
from peclr.geometry.joints import SCALE_BONE
from peclr.geometry.placement import place
from peclr.geometry.planar import (
    PUBLISHED_CROP_MARGIN,
    Matrix,
    enclosing_square,
    mirror,
    move,
    square_around_keypoints,
    view_from_box,
)

_SHARPNESS_SIDE: Final = 96  # px, to which a hand is brought before its sharpness is measured
_IN_IMAGE: Final = 0.5  # of the joints, at least


class LeftOut(Exception):  # noqa: N818 (nothing is wrong)
    """A hand is not kept, for this reason."""


@dataclass(frozen=True)
class Thresholds:
    """Which hands are kept.

    Attributes:
        score: by the detector, 0 to 1.
        size: longer side of the box around the joints, px of the image.
        sharpness: see `sharpness_of`.
    """

    score: float = 0.5
    size: float = 32.0
    sharpness: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.score < 1 and 0 <= self.size < math.inf and 0 <= self.sharpness < math.inf):
            raise ValueError(
                f"score {self.score}, size {self.size}, sharpness {self.sharpness}: expected 0 < score < 1, others ≥ 0"
            )

    def check(self, hand: DetectedHand, image: Image) -> None:
        """Raise `LeftOut` for a hand that is not kept."""
        if hand.score < self.score:
            raise LeftOut(f"score below {self.score:g}")
        if (hand.box[2:] - hand.box[:2]).max() < self.size:
            raise LeftOut(f"smaller than {self.size:g} px")
        edges = np.array(image.shape[1::-1]) - 0.5
        if ((hand.joints_2d > -0.5) & (hand.joints_2d < edges)).all(axis=-1).mean() < _IN_IMAGE:
            raise LeftOut("most of it beyond the image")
        if self.sharpness > 0 and sharpness_of(image, hand) < self.sharpness:
            raise LeftOut(f"sharpness below {self.sharpness:g}")


def sharpness_of(image: Image, hand: DetectedHand) -> float:
    """Variance of the Laplacian of the gray hand, brought to one size, over the variance of its gray levels.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000; divided by the contrast, so that
    it is not light that is measured. Blurred, and few pixels enlarged, is near 0.
    """
    box = enclosing_square(hand.box)
    gray = cv2.cvtColor(
        warp(image, view_from_box(box, _SHARPNESS_SIDE), _SHARPNESS_SIDE, "reflect"), cv2.COLOR_RGB2GRAY
    )
    return float(cv2.Laplacian(gray, cv2.CV_64F).var() / max(gray.astype(np.float64).var(), 1.0))


def labeled(image: Image, hand: DetectedHand, K: Matrix, name: str) -> HandSample:
    """The hand as a right one, with pseudo-labels: the detector's joints, put where the camera sees them.

    `LeftOut` if no place in front of the camera fits.
    """
    try:
        joints_3d = hand.joints_3d + place(hand.joints_3d, hand.joints_2d, K)
    except ValueError as error:
        raise LeftOut("in no place before the camera") from error
    joints_2d, K, flip = hand.joints_2d, K.copy(), None
    if hand.side == "left":
        flip = mirror(image.shape[1])  # applied with the cut: to copy a large image takes longer
        joints_2d, joints_3d = move(flip, joints_2d), joints_3d * [-1, 1, 1]
        K[0, 1:] = -K[0, 1], image.shape[1] - 1 - K[0, 2]
    return hand_sample(
        image,
        square_around_keypoints(joints_2d, PUBLISHED_CROP_MARGIN),
        name,
        hand.side,
        K=_single(K),
        joints_3d=_single(joints_3d),
        joints_2d=_single(joints_2d),
        image_from_decoded=flip,
        scale_m=float(np.linalg.norm(joints_3d[SCALE_BONE[0]] - joints_3d[SCALE_BONE[1]])),
    )


def _single(values: Matrix) -> NDArray[np.float32]:
    return values.astype(np.float32)
