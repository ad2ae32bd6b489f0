"""The label files of HanCo, two a frame, as arrays; see `peclr.data.sources.hanco`. Does not import torch."""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from peclr.data.sources.images import in_threads
from peclr.data.sources.layouts import DataSet
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS
from peclr.untrusted.binary import numbers
from peclr.untrusted.text import as_type, read_json, shown

CAMERAS: Final = 8
# of images, as they were taken and, of training frames, with other backgrounds
FOLDERS: Final = ("rgb", "rgb_merged", "rgb_homo", "rgb_color_auto", "rgb_color_sample")
UNKNOWN: Final = -1  # of the subject
_RIGID: Final = 0.01  # by which rows of a rotation may fail to be orthonormal

_Subject = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _Meta(msgspec.Struct):
    """meta.json: of each sequence a list with an entry a frame."""

    is_train: list[list[bool]]
    is_valid: list[list[bool]]
    has_fit: list[list[bool]]
    subject_id: list[list[_Subject | None]]


def read_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of all calibrated sequences, for both splits; ValueError names the file and value that is wrong.

    Of N frames, sequence after sequence: `sequence`, `frame`, `subject` (N,), `is_train`, `is_valid` (N,) bool; `xyz`
    (N, 21, 3), metres, world frame, 0 where there are none; of the cameras `M` (N, 8, 3, 4), camera ← world, metres,
    `K` (N, 8, 3, 3), px, and `has_joints` (N, 8) bool: whether there are joints, all in front of the camera. `folders`
    (S, 5) bool: which of `FOLDERS` the sequences 0 to S − 1 are in now.
    """
    meta = _read_meta(root / "meta.json")
    sequences = sequences_in(root / "calib", len(meta.is_train), root / "meta.json")
    rows = [(number, frame) for number in sequences for frame in range(len(meta.is_train[number]))]
    if not rows:
        raise ValueError(f"{root / 'calib'} has no sequence; expected 0000, … with a file of calibration a frame")
    sequence, frame = np.array(rows, np.int32).T
    labels: dict[str, Array] = {"sequence": sequence, "frame": frame, "folders": folders_of(root, len(meta.is_train))}
    for name in ("is_train", "is_valid", "has_fit"):
        labels[name] = np.array([value for number in sequences for value in getattr(meta, name)[number]])
    subjects = [subject for number in sequences for subject in meta.subject_id[number]]
    labels["subject"] = np.array([UNKNOWN if subject is None else subject for subject in subjects], np.int32)
    has_fit = labels.pop("has_fit")
    labels["xyz"] = np.zeros((len(rows), NUM_JOINTS, 3), np.float32)
    labels["M"] = np.empty((len(rows), CAMERAS, 3, 4), np.float32)
    labels["K"] = np.empty((len(rows), CAMERAS, 3, 3), np.float32)
    labels["has_joints"] = np.zeros((len(rows), CAMERAS), np.bool_)

    def read(row: int) -> tuple[Array, Array, Array | None]:
        name = f"{sequence[row]:04d}/{frame[row]:08d}.json"
        return *_read_cameras(root / "calib" / name), _read_joints(root / "xyz" / name) if has_fit[row] else None

    for row, (K, M, xyz) in in_threads(read, range(len(rows)), os.cpu_count() or 1, "frames", progress=progress):
        labels["K"][row], labels["M"][row] = K, M
        if xyz is not None:
            labels["xyz"][row], depth = xyz, xyz @ M[:, 2, :3].T + M[:, 2, 3]
            labels["has_joints"][row] = (depth > 0).all(axis=0)
    return labels


def sequences_in(folder: Path, listed: int, meta: Path) -> list[int]:
    """The sequences of which a folder holds images or labels; ValueError for one that is not listed."""
    names = sorted(path.name for path in folder.glob("[0-9]*/"))
    if unknown := [name for name in names if not name.isdigit() or int(name) >= listed or f"{int(name):04d}" != name]:
        raise ValueError(f"{folder} has sequences {some(unknown)}; {meta} lists 0000 to {listed - 1:04d}")
    return [int(name) for name in names]


def folders_of(root: Path, listed: int) -> NDArray[np.bool_]:
    """(S, 5), which of `FOLDERS` each of the listed sequences is in."""
    folders = np.zeros((listed, len(FOLDERS)), np.bool_)
    for column, name in enumerate(FOLDERS):
        folders[sequences_in(root / name, listed, root / "meta.json"), column] = True
    return folders


def _read_meta(path: Path) -> _Meta:
    meta = as_type(read_json(path), _Meta, path, strict=False)
    names = _Meta.__struct_fields__
    for lists in names[1:]:
        of_first, of_this = ([len(frames) for frames in getattr(meta, name)] for name in (names[0], lists))
        if len(of_first) != len(of_this):
            raise ValueError(f"{path}: {names[0]} has {len(of_first)} sequences, but {lists} {len(of_this)}")
        for number, counts in enumerate(zip(of_first, of_this, strict=True)):
            if counts[0] != counts[1]:
                found = f"{counts[0]} frames in {names[0]}, but {counts[1]} in {lists}"
                raise ValueError(f"{path}: sequence {number} has {found}")
    return meta


def _read_cameras(path: Path) -> tuple[Array, Array]:
    """K (8, 3, 3), px, and M (8, 3, 4), camera ← world, metres."""
    if not path.is_file():
        raise ValueError(f"{path} is missing, and meta.json lists its frame; get HanCo_calib_meta.zip")
    content = read_json(path)
    found = []
    for name, shape in (("K", (3, 3)), ("M", (4, 4))):
        matrices = content.get(name) if isinstance(content, dict) else None
        if not isinstance(matrices, list) or len(matrices) != CAMERAS:
            raise ValueError(f"{path}: {name} is {shown(matrices)}; expected one of each of {CAMERAS} cameras")
        found.append(numbers(matrices, shape, f"{path}, {name}, a hand a camera"))
    K, M = found
    wrong = (K[:, [0, 1], [0, 1]] <= 0).any(axis=1) | (K[:, 2] != [0, 0, 1]).any(axis=1)
    rotation = M[:, :3, :3]
    bent = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2)) > _RIGID
    bent |= (np.linalg.det(rotation) < 0) | (M[:, 3] != [0, 0, 0, 1]).any(axis=1)
    for name, matrices, faults, expected in (("K", K, wrong, "an intrinsic matrix"), ("M", M, bent, "a rigid motion")):
        if faults.any():
            camera = int(faults.argmax())
            found_one = shown(matrices[camera].tolist())
            raise ValueError(f"{path}: {name} of camera {camera} is {found_one}; expected {expected}")
    return K, M[:, :3]


def _read_joints(path: Path) -> Array:
    """Joints (21, 3) of a frame, metres, world frame."""
    if not path.is_file():
        raise ValueError(f"{path} is missing, and meta.json says that there is a fit; get HanCo_xyz.zip")
    joints = read_json(path)
    if not isinstance(joints, list) or len(joints) != NUM_JOINTS:
        raise ValueError(f"{path}: {shown(joints)}; expected {NUM_JOINTS} joints")
    return numbers(joints, (3,), f"{path}, a hand a joint")
