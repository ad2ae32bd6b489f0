"""The label files of DexYCB as arrays, and its official divisions; see `peclr.data.sources.dexycb`. No torch here.

The divisions and the order of frames are those of the data set's toolkit (NVlabs/dex-ycb-toolkit).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.images import in_threads
from peclr.data.sources.layouts import DataSet
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS
from peclr.untrusted.binary import numbers_in, read_arrays
from peclr.untrusted.text import read_yaml, shown

SUBJECTS: Final = (
    "20200709-subject-01", "20200813-subject-02", "20200820-subject-03", "20200903-subject-04", "20200908-subject-05",
    "20200918-subject-06", "20200928-subject-07", "20201002-subject-08", "20201015-subject-09", "20201022-subject-10",
)  # fmt: skip
CAMERAS: Final = (
    "836212060125", "839512060362", "840412060917", "841412060263", "932122060857", "932122060861", "932122061900",
    "932122062010",
)  # fmt: skip
SEQUENCES = 100  # of each subject
NO_HAND: Final = -1  # every coordinate of a frame without one
_ROUNDING: Final = 1.0  # px, of the published 2-D joints


def is_of(
    split: str, subject: NDArray[np.integer], sequence: NDArray[np.integer], camera: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Whether frames (N,) are of a split, by the numbers of their subject, of the sequence of its 100, and the camera.

    s0 has the same subjects, views and objects in all parts; s1 other subjects, s2 another view, s3 other objects.
    """
    setup, part = split.split("_")
    if setup == "s0":
        last, few = sequence % 5 == 4, subject < 2
        parts: dict[str, NDArray[np.bool_]] = {"train": ~last, "val": last & few, "test": last & ~few}
        return parts[part]
    key, groups = {
        "s1": (subject, {"train": (0, 1, 2, 3, 4, 5, 9), "val": (6,), "test": (7, 8)}),
        "s2": (camera, {"train": (0, 1, 2, 3, 4, 5), "val": (6,), "test": (7,)}),
        "s3": (sequence // 5, {"val": (3, 19), "test": (7, 11, 15)}),
    }[setup]
    if part in groups:
        return np.isin(key, groups[part])
    return ~np.isin(key, [number for group in groups.values() for number in group])


def read_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of all subjects that are there, for all splits; ValueError names the file and value.

    Of N frames, in the toolkit's order: `joints_3d` (N, 21, 3), metres, camera frame, −1 where there is no hand;
    `sequence`, `camera`, `frame` (N,). Of S sequences `sequence_name`, SUBJECT/SEQUENCE, `subject`, `number` of the
    subject's, `is_left` (S,). Of the cameras `K` (8, 3, 3), px.
    """
    K = np.stack([_read_camera(root, serial) for serial in CAMERAS])
    sequences = [(*one, *_read_meta(root / one[0] / "meta.yml")) for one in _sequences(root)]
    names, subject, number, is_left, frames = zip(*sequences, strict=True)
    counts = np.repeat(frames, len(CAMERAS))  # of each sequence and camera
    of_run = np.repeat(np.arange(len(counts)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    labels: dict[str, Array] = {
        "sequence": (of_run // len(CAMERAS)).astype(np.int32),
        "camera": (of_run % len(CAMERAS)).astype(np.uint8),
        "frame": (np.arange(len(of_run)) - first).astype(np.int32),
        "sequence_name": np.array([name.encode() for name in names]),
        "subject": np.array(subject, np.uint8),
        "number": np.array(number, np.uint8),
        "is_left": np.array(is_left),
        "K": K.astype(np.float32),
    }
    joints = np.empty((len(of_run), NUM_JOINTS, 3), np.float32)

    def read(item: int) -> Array:
        path = root / file_name(labels, item, "labels_{:06d}.npz")
        return _read_joints(path, K[labels["camera"][item]])

    for item, points in in_threads(read, range(len(joints)), os.cpu_count() or 1, "label files", progress=progress):
        joints[item] = points
    return labels | {"joints_3d": joints}


def file_name(labels: Any, item: int, pattern: str) -> str:
    """Path below the root of a file of frame `item`, whose name the pattern makes of its number."""
    name: bytes = labels["sequence_name"][labels["sequence"][item]]
    return f"{name.decode()}/{CAMERAS[labels['camera'][item]]}/{pattern.format(int(labels['frame'][item]))}"


def _sequences(root: Path) -> Iterator[tuple[str, int, int]]:
    """The sequences that are there: SUBJECT/SEQUENCE, number of the subject, number among the subject's."""
    there = sorted(path.name for path in root.glob("*-subject-*/"))
    if unknown := sorted(set(there) - set(SUBJECTS)):
        raise ValueError(f"{root / unknown[0]}: no subject of DexYCB; expected some of {', '.join(SUBJECTS)}")
    if not there:
        raise ValueError(f"{root} has no subject; expected {SUBJECTS[0]}, …")
    for subject in there:
        names = sorted(path.name for path in (root / subject).glob("*/"))
        if len(names) != SEQUENCES:
            raise ValueError(f"{root / subject} has {len(names)} sequences; expected {SEQUENCES}: splits count them")
        for number, name in enumerate(names):
            yield f"{subject}/{name}", SUBJECTS.index(subject), number


def _read_meta(path: Path) -> tuple[bool, int]:
    """Whether the hand of a sequence is a left one, and the number of its frames."""
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    meta = read_yaml(path)
    meta = meta if isinstance(meta, dict) else {}
    sides, count, serials = (meta.get(name) for name in ("mano_sides", "num_frames", "serials"))
    if sides not in (["left"], ["right"]):
        raise ValueError(f"{path}: mano_sides is {shown(sides)}; expected [left] or [right]")
    if type(count) is not int or not 0 < count < 10_000:
        raise ValueError(f"{path}: num_frames is {shown(count)}; expected their number")
    cameras = sorted(map(str, serials)) if isinstance(serials, list) else None
    if cameras != sorted(CAMERAS):
        unknown = sorted(set(cameras or ()) ^ set(CAMERAS))
        raise ValueError(f"{path}: serials differ from the {len(CAMERAS)} cameras of DexYCB: {some(unknown)}")
    return sides == ["left"], count


def _read_camera(root: Path, serial: str) -> NDArray[np.float64]:
    path = root / "calibration" / "intrinsics" / f"{serial}_640x480.yml"
    if not path.is_file():
        raise ValueError(f"{path} is missing; expected the intrinsics of that camera")
    content = read_yaml(path)
    color = content.get("color") if isinstance(content, dict) else None
    values = [color.get(name) if isinstance(color, dict) else None for name in ("fx", "fy", "ppx", "ppy")]
    if not all(isinstance(value, int | float) and 0 < value < 1e5 for value in values):
        raise ValueError(f"{path}: color has fx, fy, ppx, ppy {shown(values)}; expected positive numbers, px")
    fx, fy, x, y = values
    return np.array([[fx, 0, x], [0, fy, y], [0, 0, 1]], np.float64)


def _read_joints(path: Path, K: NDArray[np.float64]) -> Array:
    """Joints (21, 3) of a frame, metres; −1 where there is no hand."""
    if not path.is_file():
        raise ValueError(f"{path} is missing, and its sequence has a frame of that number")
    arrays = read_arrays(path, ("joint_3d", "joint_2d"))
    joints: Array = numbers_in(arrays, "joint_3d", (1, NUM_JOINTS, 3), path)[0]
    in_image: Array = numbers_in(arrays, "joint_2d", (1, NUM_JOINTS, 2), path)[0]
    if (joints == NO_HAND).all():
        return joints
    projected = joints.astype(np.float64) @ K.T
    off = float(np.abs(projected[:, :2] / projected[:, 2:] - in_image).max()) if (joints[:, 2] > 0).all() else np.inf
    if off > _ROUNDING:
        seen = "are not all in front of the camera" if off == np.inf else f"are {off:.1f} px from its joint_2d"
        raise ValueError(f"{path}: joints {seen}, by the camera's intrinsics; expected at most {_ROUNDING} px")
    return joints
