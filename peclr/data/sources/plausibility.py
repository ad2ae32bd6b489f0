"""Whether numbers can be labels of hands: metres, depths and scales of hands, joints in order and in their images.

Files that parse can still be of other images, in other units or in another order, and train as well as good ones. What
most hands of a set get wrong is a fault of the set; what a few get wrong is counted.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.geometry.joints import BONES, FINGERS, JOINT_NAMES, PARTS, SCALE_BONE, WRIST, permutation

Array = NDArray[np.floating]

_BONE_M: Final = (0.005, 0.2)  # from middle MCP to PIP; those of adults are 0.03 to 0.05 m
_DEPTH_M: Final = (0.05, 20.0)  # of the wrist
_METERS: Final = "metres, about 0.03"
_DEPTH: Final = "metres from the camera"
_SCALE_ERROR: Final = 0.05  # of a length that is written twice
# What the bones measure in another order over what they measure as given: 1.03 and more for hands in order freihand,
# 0.87 and less for those in one of these.
_SHORTER: Final = 0.95
_SAMPLED: Final = 500  # hands, enough for a median
_FROM_TIPS: Final = [f"{finger}_{part}" for finger in FINGERS for part in reversed(PARTS)]
_OTHER_ORDERS: Final[Mapping[str, list[int]]] = {
    "order ait": list(permutation("ait", "freihand")),
    "order mano": list(permutation("mano", "freihand")),
    "order interhand or reversed, the wrist last": list(permutation("interhand", "freihand")),
    "order freihand, each finger from its tip": [WRIST, *map(JOINT_NAMES.index, _FROM_TIPS)],
}


class Doubts(NamedTuple):
    """What is not as expected, in words.

    Attributes:
        faults: Of most hands: the labels are not what they should be.
        notes: Of some.
    """

    faults: list[str]
    notes: list[str]


def doubt_labels(joints_3d: Array | None, scale: Array, file_of: Callable[[str], object]) -> Doubts:
    """Compare labels with one another and with what hands measure.

    Args:
        joints_3d: (N, 21, 3), metres, camera frame; None where they are not known.
        scale: (N,), metres from middle MCP to PIP.
        file_of: Names the file of "xyz" or "scale", for messages.
    """
    found = Doubts([], [])
    xyz, scales = file_of("xyz"), file_of("scale")
    if joints_3d is None:
        _count(found, scales, _outside(scale, _BONE_M), lambda hand: f"scale {scale[hand]:.4g}", _METERS)
        return found
    joints = joints_3d.astype(np.float64)
    first, second = SCALE_BONE
    bone = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
    depth = joints[:, WRIST, 2]
    _count(found, xyz, _outside(bone, _BONE_M), lambda hand: f"|xyz[9] − xyz[10]| = {bone[hand]:.4g}", _METERS)
    _count(found, xyz, _outside(depth, _DEPTH_M), lambda hand: f"its wrist at depth {depth[hand]:.4g}", _DEPTH)
    wrong = np.abs(scale - bone) > _SCALE_ERROR * bone
    expected = f"{xyz} has |xyz[9] − xyz[10]|, which it must be"
    _count(found, scales, wrong, lambda hand: f"scale {scale[hand]:.4g} where that is {bone[hand]:.4g}", expected)
    few = joints[:: -(-len(joints) // _SAMPLED)]
    shorter, name = min(
        (float(np.median(_length(few[:, order]) / _length(few).clip(1e-12))), name)
        for name, order in _OTHER_ORDERS.items()
    )
    if shorter < _SHORTER:
        found.faults.append(
            f"{xyz}: the joints seem to be in {name}: their bones then measure {shorter:.0%} of what they do as they "
            "are; expected order freihand, from the wrist finger by finger, each to its tip"
        )
    return found


def doubt_places(joints_2d: Array, sizes: Array, where: object, step: int = 1) -> Doubts:
    """Compare the places of joints with the images that show them.

    Args:
        joints_2d: (N, 21, 2), px.
        sizes: (N, 2), width and height of their images, px; NaN where they are not known.
        where: Names the images, for messages.
        step: Of which hands these are.
    """
    found = Doubts([], [])
    known = np.isfinite(sizes).all(axis=1)
    if not known.any():
        return found
    points, size = joints_2d[known], sizes[known, None]
    inside = ((points > -0.5) & (points < size - 0.5)).all(axis=-1).mean(axis=1)
    named = np.flatnonzero(known) * step

    def describe(hand: int) -> str:
        x, y = points[hand].mean(axis=0)
        return f"its joints about ({x:.0f}, {y:.0f}) in an image of {size[hand, 0, 0]:.0f} × {size[hand, 0, 1]:.0f} px"

    expected = "most joints in the image: are K and the images of the same size?"
    _count(found, where, inside < 0.5, describe, expected, named)
    reached = (points.max(axis=1) / size[:, 0]).max(axis=0)
    if len(points) >= 16 and (reached < 0.6).all():
        found.notes.append(
            f"{where}: no joint of {len(points)} hands is beyond {reached[0]:.0%} of its image's width and "
            f"{reached[1]:.0%} of its height: are K and the images of the same size?"
        )
    return found


def _count(
    found: Doubts,
    where: object,
    wrong: NDArray[np.bool_],
    describe: Callable[[int], str],
    expected: str,
    names: NDArray[np.intp] | None = None,
) -> None:
    if not wrong.any():
        return
    hand = int(wrong.argmax())
    name = hand if names is None else names[hand]
    message = f"{where}: {wrong.sum():,} of {len(wrong):,} hands, hand {name} has {describe(hand)}; expected {expected}"
    (found.faults if wrong.mean() > 0.5 else found.notes).append(message)


def _outside(values: Array, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    return (values < bounds[0]) | (values > bounds[1])


def _length(joints: Array) -> Array:
    """Of all bones of each hand."""
    parents, children = (list(ends) for ends in zip(*BONES, strict=True))
    length: Array = np.linalg.norm(joints[:, parents] - joints[:, children], axis=-1).sum(axis=1)
    return length
