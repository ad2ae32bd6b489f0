"""The label files of HO-3D, a pickle a frame, as arrays; see `peclr.data.sources.ho3d`. Does not import torch."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from peclr.data.sources.layouts import DataSet, label_files
from peclr.data.sources.listing import some
from peclr.data.sources.packed_labels import Array
from peclr.geometry.joints import NUM_JOINTS, convert
from peclr.untrusted.binary import numbers, numbers_in
from peclr.untrusted.pickles import read_pickle
from peclr.untrusted.text import read_json, shown

_LINE: Final = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_PREFIXES: Final = {"hand": False, "rightHand": False, "leftHand": True}  # of keys; the last two are H2O-3D's
_AXES: Final = np.array([1.0, -1.0, -1.0])  # OpenCV's ← OpenGL's, and back
_SLOW: Final = 1000  # files; a second

_log = logging.getLogger(__name__)


def read_labels(dataset: DataSet, root: Path, split: str, *, progress: bool = False) -> dict[str, Array]:
    """Read the labels of a split, a file a frame; ValueError names the file and value that is wrong.

    Of N hands, `frame` (N,), SEQUENCE/FRAME; `is_left` (N,) bool; `K` (N, 3, 3) px; `joints_3d` (N, 21, 3), metres,
    OpenCV's camera, order freihand, where they are known; of evaluation `box` (N, 4) px. `listed` (1,) frames.
    """
    path, *xyz = label_files(dataset, root, split)
    lines = path.read_text(errors="replace").split()
    if not lines or (wrong := [line for line in lines if not _LINE.fullmatch(line)]):
        raise ValueError(f"{path}: expected lines SEQUENCE/FRAME, found {shown(wrong[0] if lines else '')}")
    if twice := [line for line, count in Counter(lines).items() if count > 1]:
        raise ValueError(f"{path} lists frames more than once: {some(twice)}")
    if len(lines) > _SLOW and not progress:
        _log.warning("%s: reading %d label files; `peclr prepare ho3d %s` does it once for all", path, len(lines), root)
    of_points = split == "train"
    found: dict[str, list[Any]] = {"frame": [], "is_left": [], "K": [], "joints_3d" if of_points else "box": []}
    for line in tqdm(lines, path.name, unit=" frames", disable=not progress, mininterval=0.5):
        for values in _hands_of(root / split / line.replace("/", "/meta/"), of_points=of_points):
            for name, value in zip(found, (line.encode(), *values), strict=True):
                found[name].append(value)
    if not found["frame"]:
        raise ValueError(f"{path}: none of {len(lines):,} frames is annotated")
    labels = {name: np.array(values) for name, values in found.items()}
    if xyz:
        joints = numbers(read_json(xyz[0]), (NUM_JOINTS, 3), xyz[0])
        if len(joints) != len(labels["frame"]):
            raise ValueError(f"{xyz[0]} has {len(joints):,} hands, but {path} lists {len(labels['frame']):,}")
        labels["joints_3d"] = to_project(joints)
    kinds = {"K": np.float32, "joints_3d": np.float32, "box": np.float32}
    labels = {name: array.astype(kinds.get(name, array.dtype)) for name, array in labels.items()}
    return labels | {"listed": np.array([len(lines)])}


def to_project(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Joints (…, 21, 3), order freihand and OpenCV's axes, from HO-3D's order and OpenGL's axes."""
    moved: NDArray[np.float64] = convert(np.asarray(joints, np.float64), "mano", "freihand") * _AXES
    return moved


def from_project(joints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Undo `to_project`."""
    moved: NDArray[np.float64] = convert(np.asarray(joints, np.float64), "freihand", "mano") * _AXES
    return np.ascontiguousarray(moved)  # as what writes JSON needs it


def _hands_of(path: Path, *, of_points: bool) -> Iterator[tuple[bool, Array, Array]]:
    """The hands of a frame, none where nobody annotated it: whether left, camera, and joints or else the box."""
    path = path.with_name(f"{path.name}.pkl")
    if not path.is_file():
        raise ValueError(f"{path} is missing, and its frame is listed")
    meta = read_pickle(path)
    if not isinstance(meta, dict):
        raise ValueError(f"{path}: expected names and values, found a {type(meta).__name__}")
    if of_points and meta.get("objRot", ()) is None:
        return
    K = numbers_in(meta, "camMat", (3, 3), path)
    suffix, shape = ("Joints3D", (NUM_JOINTS, 3)) if of_points else ("BoundingBox", (4,))
    keys = [prefix + suffix for prefix in _PREFIXES if meta.get(prefix + suffix) is not None]
    if not keys:
        raise ValueError(f"{path} has no hand{suffix}, but {shown(sorted(map(str, meta)))}")
    for key in keys:
        value = meta[key]  # boxes are lists
        listed = isinstance(value, list | tuple) and all(isinstance(number, int | float) for number in value)
        values = numbers_in({key: np.array(value)} if listed else meta, key, shape, path)
        if not of_points and not (values[2:] > values[:2]).all():
            raise ValueError(f"{path}: {key} is {values.tolist()}; expected left, top, right, bottom, px")
        yield _PREFIXES[key.removesuffix(suffix)], K, to_project(values) if of_points else values
