"""Whether numbers can be labels of hands: metres, depths and scales of hands, joints in order and in their images.

Files that parse can still be of other images, in other units or in another order, and train as well as good ones. What
most hands of a set get wrong is a fault of the set; what a few get wrong is counted.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclr.geometry.joints import BONES, SCALE_BONE, WRIST, permutation

Array = NDArray[np.floating]

_BONE_M: Final = (0.005, 0.2)  # from middle MCP to PIP; those of adults are 0.03 to 0.05 m
_DEPTH_M: Final = (0.05, 20.0)  # of the wrist
_METERS: Final = "metres, about 0.03"
_SCALE_ERROR: Final = 0.05  # of a length that is written twice
# What the bones measure in another order over what they measure as given: 1.03 and more for hands in order freihand,
# 0.87 and less for those in one of these.
_SHORTER: Final = 0.95
_SAMPLED: Final = 500  # hands, enough for a median
_OTHER_ORDERS: Final[Mapping[str, list[int]]] = {
    "order ait": list(permutation("ait", "freihand")),
    "order mano": list(permutation("mano", "freihand")),
    "order interhand or reversed, the wrist last": list(permutation("interhand", "freihand")),
    "order freihand, each finger from its tip": list(permutation("rhd", "freihand")),
}


class Doubts(NamedTuple):
    """Deviations from what is expected, in words: `faults` of most hands, `notes` of some."""

    faults: list[str]
    notes: list[str]

    def add(self, where: object, wrong: NDArray[np.bool_], first: Callable[[int], str], expected: str) -> None:
        """Add what is `wrong` (N,) with some of N hands; `first` describes one."""
        if wrong.any():
            found = f"{wrong.sum():,} of {len(wrong):,} hands, hand {first(int(wrong.argmax()))}"
            (self.faults if wrong.mean() > 0.5 else self.notes).append(f"{where}: {found}; expected {expected}")


def sampled(num_hands: int, most: int = 64) -> range:
    """A few of many hands, from everywhere among them: by default, as many as images are opened at once for a look."""
    return range(0, num_hands, -(-num_hands // most))


def refuse_faults(*found: Doubts) -> None:
    """Raise the ValueError that says what most hands get wrong, by the first comparison that found something."""
    if faults := next((doubts.faults for doubts in found if doubts.faults), None):
        raise ValueError("; ".join(faults))


def doubt_labels(joints_3d: Array | None, scale: Array, file_of: Callable[[str], object]) -> Doubts:
    """Compare labels with one another and with what hands measure; ValueError if no camera can see one.

    Joints are (N, 21, 3), metres, camera frame; scale (N,), metres; `file_of` names the file of "xyz" or "scale".
    """
    found, xyz, scales = Doubts([], []), file_of("xyz"), file_of("scale")
    _check_positive(scales, scale, "has scale {} m")
    if joints_3d is None:
        found.add(scales, _outside(scale, _BONE_M), lambda hand: f"{hand} has scale {scale[hand]:.4g}", _METERS)
        return found
    joints = joints_3d.astype(np.float64)
    (first, second), depth = SCALE_BONE, joints[:, WRIST, 2]
    bone = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
    _check_positive(xyz, joints[..., 2].min(axis=1), "is not in front of the camera, its depth begins at {:.4g} m")
    _check_positive(xyz, bone, f"has joints {first} and {second} at the same place")

    words = f"|xyz[{first}] − xyz[{second}]|"
    found.add(xyz, _outside(bone, _BONE_M), lambda hand: f"{hand} has {words} = {bone[hand]:.4g}", _METERS)
    deep = _outside(depth, _DEPTH_M)
    found.add(xyz, deep, lambda hand: f"{hand} has its wrist at depth {depth[hand]:.4g}", "metres from the camera")
    apart, same = np.abs(scale - bone) > _SCALE_ERROR * bone, f"{xyz} has {words}, which it must be"
    found.add(scales, apart, lambda hand: f"{hand} has scale {scale[hand]:.4g} where that is {bone[hand]:.4g}", same)
    few = joints[sampled(len(joints), _SAMPLED)]
    lengths = {name: _length(few[:, order]) / _length(few).clip(1e-12) for name, order in _OTHER_ORDERS.items()}
    shorter, name = min((float(np.median(length)), name) for name, length in lengths.items())
    if shorter < _SHORTER:
        found.faults.append(
            f"{xyz}: the joints seem to be in {name}: their bones then measure {shorter:.0%} of what they do as they "
            "are; expected order freihand, from the wrist finger by finger, each to its tip"
        )
    return found


def doubt_joints(joints_3d: Array, where: object) -> Doubts:
    """`doubt_labels` of joints (N, 21, 3) without scales of their own, NaN where unknown: of the hands known wholly."""
    whole = joints_3d[np.isfinite(joints_3d).all(axis=(1, 2))]
    if not len(whole):
        return Doubts([], [])
    parent, child = SCALE_BONE
    return doubt_labels(whole, np.linalg.norm(whole[:, parent] - whole[:, child], axis=-1), lambda _: where)


def doubt_places(joints_2d: Array, sizes: Array, where: object, step: int = 1) -> Doubts:
    """Compare the places of joints (N, 21, 2), px, NaN where unknown, of every `step`-th hand, with their images.

    Sizes (N, 2) are their images' width and height, px, NaN where they are not known; `where` names the images.
    """
    found, known = Doubts([], []), np.flatnonzero(np.isfinite(sizes).all(axis=1))
    if not len(known):
        return found
    points, size = joints_2d[known], sizes[known, None]
    inside = ((points > -0.5) & (points < size - 0.5)).all(axis=-1).sum(axis=1)
    inside = inside / np.isfinite(points).all(axis=-1).sum(axis=1)
    same = "are K and labels of images of that size?"

    def describe(hand: int) -> str:
        (x, y), (width, height) = np.nanmean(points[hand], axis=0), size[hand, 0]
        return f"{known[hand] * step} has its joints about ({x:.0f}, {y:.0f}) in an image of {width:.0f} × {height:.0f}"

    found.add(where, inside < 0.5, describe, f"most joints in the image: {same}")
    x, y = (np.nanmax(points, axis=1) / size[:, 0]).max(axis=0)
    if len(points) >= 16 and max(x, y) < 0.6:
        reach = f"{x:.0%} of its image's width and {y:.0%} of its height"
        found.notes.append(f"{where}: no joint of {len(points)} hands is beyond {reach}: {same}")
    return found


def doubt_boxes(boxes: Array, joints_2d: Array, where: object, step: int) -> Doubts:
    """Compare boxes (N, 4), px, of every `step`-th hand with its joints (N, 21, 2), px, NaN where unknown."""
    found = Doubts([], [])
    within = (joints_2d >= boxes[:, None, :2]) & (joints_2d <= boxes[:, None, 2:])
    share = within.all(axis=-1).sum(axis=1) / np.isfinite(joints_2d).all(axis=-1).sum(axis=1).clip(1)

    def describe(hand: int) -> str:
        return f"{hand * step} has {share[hand]:.0%} of its joints in its box {boxes[hand].round(1).tolist()}"

    found.add(where, share < 0.5, describe, "most: are both of the same hands, and is it left, top, right, bottom?")
    return found


def _check_positive(file: object, values: Array, reason: str) -> None:
    if not values[hand := int(values.argmin())] > 0:
        raise ValueError(f"{file}: hand {hand} {reason.format(values[hand])}")


def _outside(values: Array, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    return (values < bounds[0]) | (values > bounds[1])


def _length(joints: Array) -> Any:
    """Of all bones of each hand, (N,)."""
    parents, children = np.transpose(BONES)
    return np.linalg.norm(joints[:, parents] - joints[:, children], axis=-1).sum(axis=1)
