"""Hands whose cameras and joints a data set knows: their places, checks, and samples, mirrored if they are left."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from peclr.data.samples import HandSample, hand_sample
from peclr.data.sources.images import DecodedImage, image_sizes
from peclr.data.sources.plausibility import doubt_joints, doubt_places, refuse_faults, sampled
from peclr.geometry import planar
from peclr.geometry.camera import project
from peclr.geometry.joints import SCALE_BONE

Array = NDArray[np.floating]

_AT_ONCE: Final = 50_000  # hands, megabytes of double precision
_CHECKED: Final = 2_000  # hands of a set that takes long to look through


def labeled_hand(
    decoded: DecodedImage,
    name: str,
    joints_3d: Array | None,
    K: Array,
    crop_margin: float,
    *,
    is_left: bool,
    box: Array | None = None,
    scale_m: float | None = None,
) -> HandSample:
    """Make the sample of a hand from an image and labels as they are, before mirroring.

    Args:
        decoded: The image.
        name: Of the image within its source.
        joints_3d: (21, 3), metres, camera frame, order freihand, NaN where unknown; None for `box` alone.
        K: (3, 3), px.
        crop_margin: Half side of the crop box over the distance of the farthest joint from their mean, or over half of
            the longer side of `box`.
        is_left: Whether it is a left hand.
        box: (4,), px, to crop around in place of the joints.
        scale_m: Metres from middle MCP to PIP, for joints that do not have these.
    """
    K, joints = K.astype(np.float64), None if joints_3d is None else joints_3d.astype(np.float64)
    if is_left:
        decoded, K = decoded.mirrored(), planar.mirror_camera(K, decoded.width)
        joints = None if joints is None else joints * [-1, 1, 1]
        box = None if box is None else planar.mirror_box(box.astype(np.float64), decoded.width)
    joints_2d = None if joints is None else project(torch.tensor(joints), torch.tensor(K)).numpy()
    if box is not None:
        square = planar.enlarged_square(box, crop_margin)
    else:
        assert joints_2d is not None, "a hand is placed by its joints or by a box"
        square = planar.square_around_keypoints(joints_2d[~np.isnan(joints_2d[:, 0])], crop_margin)
    if joints is not None:
        parent, child = SCALE_BONE
        length = float(np.linalg.norm(joints[parent] - joints[child]))
        scale_m = scale_m if math.isnan(length) else length
    return hand_sample(
        decoded.image,
        square,
        name,
        "left" if is_left else "right",
        K=K.astype(np.float32),
        joints_3d=None if joints is None else joints.astype(np.float32),
        joints_2d=None if joints_2d is None else joints_2d.astype(np.float32),
        scale_m=scale_m,
        image_from_decoded=decoded.image_from_decoded,
    )


def check_some(
    num_hands: int,
    labels: Callable[[NDArray[np.int64]], tuple[Array, Array]],
    image_file: Callable[[int], Path],
    where: object,
) -> list[str]:
    """Notes on the labels of some hands, of millions, and on the images of a few; ValueError for what most get wrong.

    Args:
        num_hands: How many there are.
        labels: Joints (N, 21, 3), metres, camera frame, NaN where unknown, and cameras (N, 3, 3), px, of hands (N,).
        image_file: Path of the image of a hand.
        where: What they are, for messages.
    """
    hands = np.array(sampled(num_hands, _CHECKED))
    joints_3d, K = labels(hands)
    whole = np.flatnonzero(np.isfinite(joints_3d).all(axis=(1, 2)))
    if not len(whole):
        return [f"of {len(hands):,} hands that were looked at none has all joints: labels cannot be checked"]
    few = whole[sampled(len(whole))]
    doubts = doubt_joints(joints_3d, where)
    sizes = image_sizes([image_file(hand) for hand in hands[few].tolist()])
    refuse_faults(doubts, doubt_places(projected(joints_3d[few], K[few]), sizes, where))
    return doubts.notes


def projected(joints_3d: Array, K: Array) -> NDArray[np.float32]:
    """(N, 21, 2), px: where cameras K (N, 3, 3) see joints (N, 21, 3), computed in parts, as there may be millions."""
    joints_2d = np.empty((*joints_3d.shape[:2], 2), np.float32)
    for start in range(0, len(joints_2d), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        joints_2d[part] = project(torch.tensor(joints_3d[part]).double(), torch.tensor(K[part]).double()).numpy()
    return joints_2d
