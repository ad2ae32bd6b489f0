"""The labels of InterHand2.6M and AssemblyHands as arrays, by hand and by image; see `peclr.data.sources.interhand`."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.box_files import check_box
from peclr.data.sources.interhand_files import (
    ENOUGH,
    Annotation,
    AssemblyHandsFiles,
    Boxes,
    DataSetName,
    InterHandFiles,
    LabeledImage,
    LabelFiles,
    Moment,
)
from peclr.data.sources.layouts import label_files
from peclr.data.sources.listing import is_below
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS, SCALE_BONE, convert
from peclr.untrusted.text import shown

_M_PER_MM: Final = 1e-3
_NOT_A_TURN: Final = 1e-2  # of R·Rᵀ from 1
_SLOW: Final = 20_000  # images; seconds
# of `_hands`, and which image it is in
_HAND: Final = np.dtype([("image", "i4"), ("is_left", "?"), ("joints_3d", "f4", (NUM_JOINTS, 3)), ("box", "f4", 4)])
_NUMBERED: Final = ("take", "camera", "person", "lens")
_IMAGE: Final = np.dtype([("size", "i4", 2), ("frame", "i4"), ("interact", "?"), *((kind, "i4") for kind in _NUMBERED)])

_log = logging.getLogger(__name__)


def read_labels(dataset: DataSetName, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of a split; ValueError names the file and value that is wrong.

    Of N hands: `image` (N,), which; `is_left` (N,) bool; `joints_3d` (N, 21, 3), metres, OpenCV's camera, order
    freihand, NaN where unknown; `box` (N, 4) px, NaN where joints enough are known; `scale_m` (N,), metres, where the
    bone is not known the median of the person's, NaN where there is none. Of I images: `name`, below `images`; `size`
    (I, 2), width and height, px; numbers of its `take`, `frame`, `camera`, `person`, and among K, `lens`, (I,);
    `interact` (I,) bool. `K` (C, 3, 3), px. `listed` (1,) images.
    """
    paths = label_files(dataset, root, split)
    kind = InterHandFiles if dataset == "interhand" else AssemblyHandsFiles
    files: LabelFiles = kind(*paths, progress=progress)
    listed, images = _listed(files, paths[0]), _Images()
    if len(listed) > _SLOW and not progress:
        _log.warning("%s: %d images; `peclr prepare %s %s` reads them once", paths[0], len(listed), dataset, root)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number, annotation in files.annotations:
            where = f"{paths[0]}: annotation {number}"
            if (image := listed.get(annotation.image_id)) is None:
                raise ValueError(f"{where} is of image {annotation.image_id}, not listed")
            moment, boxes = files.find(image), files.boxes(annotation)
            joints = _in_camera(moment, f"{paths[1]}: {image.file_name}")
            if hands := list(_hands(joints, boxes, _flags(annotation, where), files.fewest, where)):
                row = images.add(files.folder.format(split) + image.file_name, image, moment, interact=boxes.interact)
                yield from ((row, *hand) for hand in hands)

    hands = np.fromiter(rows(), _HAND)
    if not len(hands):
        raise ValueError(f"{paths[0]}: none of {len(listed):,} images has a hand with joints that are valid")
    of_images, joints_3d = images.arrays(), convert(hands["joints_3d"], "interhand", "freihand")
    return {
        **{name: hands[name].copy() for name in ("image", "is_left", "box")},
        "joints_3d": joints_3d,
        "scale_m": _scales(joints_3d, 2 * of_images["person"][hands["image"]] + hands["is_left"]),
        **of_images,
        "listed": np.array([len(listed)]),
    }


class _Images:
    """Images with hands, a row each, with numbers in place of names."""

    def __init__(self) -> None:
        self._rows, self._names = list[tuple[Any, ...]](), list[bytes]()
        self._number = {kind: defaultdict[Any, int](count().__next__) for kind in _NUMBERED}

    def add(self, name: str, image: LabeledImage, moment: Moment, *, interact: bool) -> int:
        """Add an image, and return the number of its row."""
        keys = (moment.take, image.camera, moment.person, moment.K.tobytes())
        numbers = (self._number[kind][key] for kind, key in zip(_NUMBERED, keys, strict=True))
        self._rows.append(((image.width, image.height), image.frame_idx, interact, *numbers))
        self._names.append(name.encode())
        return len(self._names) - 1

    def arrays(self) -> dict[str, Array]:
        """What `read_labels` returns of images, and of cameras."""
        rows = np.array(self._rows, _IMAGE)
        K = np.stack([np.frombuffer(lens).reshape(3, 3) for lens in self._number["lens"]]).astype(np.float32)
        return {"name": np.array(self._names), "K": K} | {name: rows[name].copy() for name in _IMAGE.names or ()}


def _listed(files: LabelFiles, path: Path) -> dict[int, LabeledImage]:
    """The images by their ids."""
    listed = dict[int, LabeledImage]()
    for number, image in files.images:
        if not is_below(image.file_name):
            raise ValueError(f"{path}: image {number} is {shown(image.file_name)}; expected a file below `images`")
        if (earlier := listed.setdefault(image.id, image)) != image:
            raise ValueError(f"{path}: image id {image.id} is both {earlier.file_name} and {image.file_name}")
    return listed


def _in_camera(moment: Moment, where: str) -> Array:
    """Both hands' joints (42, 3), mm, in the camera's frame."""
    turn, shift = np.split(moment.camera_from_world, [3], axis=1)
    if not np.abs(turn @ turn.T - np.eye(3)).max() < _NOT_A_TURN or np.linalg.det(turn) < 0:
        raise ValueError(f"{where}: its camera is turned by {shown(turn.tolist())}, which is no rotation")
    joints: Array = moment.world @ turn.T + shift.T
    return joints


def _flags(annotation: Annotation, where: str) -> NDArray[np.bool_]:
    """Which joints (42,) are known."""
    flags = np.array([flag[0] if isinstance(flag, tuple) else flag for flag in annotation.joint_valid])
    if (wrong := ~np.isin(flags, (0, 1))).any():
        raise ValueError(f"{where}: joint_valid has {flags[wrong][0]} at {wrong.argmax()}; expected 0 and 1")
    known: NDArray[np.bool_] = flags == 1
    return known


def _hands(
    joints: Array, boxes: Boxes, valid: NDArray[np.bool_], fewest: int, where: str
) -> Iterator[tuple[bool, Array, Array]]:
    """The hands of an image: whether left, joints (21, 3), metres, and the box (4,), px, where it is needed; or NaN."""
    for side, box in enumerate((boxes.right, boxes.left)):
        rows = slice(side * NUM_JOINTS, (side + 1) * NUM_JOINTS)
        known, points = valid[rows], joints[rows]
        if box is None or known.sum() < fewest:
            continue
        if not (np.isfinite(points[known]).all() and (points[known, 2] > 0).all()):
            joint = int(np.where(known, points[:, 2], np.inf).argmin())
            seen = f"joint {joint + rows.start} is valid, and at {points[joint].tolist()} mm"
            raise ValueError(f"{where}: {seen}; expected it in front of its camera")
        edges = check_box(box, where) if known.sum() < ENOUGH else np.full(4, np.nan)
        yield side == 1, np.where(known[:, None], points * _M_PER_MM, np.nan), edges


def _scales(joints_3d: Array, owner: Array) -> NDArray[np.float32]:
    """The length of the bone (N,), metres; where it is not known, the median of the same owner's."""
    parent, child = SCALE_BONE
    scale = np.linalg.norm(joints_3d[:, parent] - joints_3d[:, child], axis=-1)
    unknown = np.isnan(scale)
    for one in np.unique(owner[unknown]).tolist():
        same = owner == one
        scale[same & unknown] = np.median(scale[same & ~unknown]) if (same & ~unknown).any() else np.nan
    found: NDArray[np.float32] = scale.astype(np.float32)
    return found
