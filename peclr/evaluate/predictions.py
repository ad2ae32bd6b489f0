"""Files of predictions as FreiHAND's leaderboard takes them: [xyz list, verts list], as JSON, plain or zipped."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from peclr.geometry.joints import NUM_JOINTS
from peclr.options import naming
from peclr.untrusted.binary import is_zip, numbers, read_zip_member
from peclr.untrusted.text import parse_json, read_json, shown

Array = NDArray[np.float64]

NUM_VERTICES = 778  # of MANO's mesh
PREDICTIONS_NAME = "pred.json"
_FORMAT = "[xyz list, verts list], metres"


@dataclass(frozen=True)
class Predictions:
    """Predictions for a whole split, metres, camera frame."""

    xyz: Array  # (N, 21, 3), order freihand
    verts: Array | None = None  # (N, 778, 3)


def read_predictions(path: Path) -> Predictions:
    """Read JSON, or a zip with one JSON file; vertices that are all zero, which the leaderboard accepts, are none."""
    content = parse_json(read_zip_member(path, PREDICTIONS_NAME, ".json"), path) if is_zip(path) else read_json(path)
    if not isinstance(content, list) or len(content) != 2:
        raise ValueError(f"{path}: expected {_FORMAT}; zeros will do for verts; found {shown(content)}")
    xyz = numbers(content[0], (NUM_JOINTS, 3), f"{path}, xyz")
    if not content[1]:
        return Predictions(xyz)
    verts = numbers(content[1], (NUM_VERTICES, 3), f"{path}, verts")
    if len(verts) != len(xyz):
        raise ValueError(f"{path}: has xyz of {len(xyz)} hands, but verts of {len(verts)}")
    return Predictions(xyz, verts if verts.any() else None)


def read_labels(path: Path, points: int) -> Array:
    """Read `evaluation_xyz.json` or `evaluation_verts.json`: (N, points, 3), metres."""
    return numbers(read_json(path), (points, 3), path)


def write_predictions(folder: Path, predictions: Predictions) -> tuple[Path, Path]:
    """Write `pred.json` and its zip, which is what one uploads, and return both; missing vertices are zero."""
    verts = np.zeros((len(predictions.xyz), NUM_VERTICES, 3)) if predictions.verts is None else predictions.verts
    plain, zipped = folder / PREDICTIONS_NAME, (folder / PREDICTIONS_NAME).with_suffix(".zip")
    _write(plain, predictions.xyz, verts.astype(np.float32))
    with naming(zipped), zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, PREDICTIONS_NAME)
    return plain, zipped


def write_joints(folder: Path, predictions: Predictions) -> None:
    """Write a small `pred.json` of joints alone, which `read_predictions` takes, and the leaderboard does not."""
    _write(folder / PREDICTIONS_NAME, predictions.xyz, [])


def _write(path: Path, xyz: Array, verts: NDArray[np.float32] | list[Any]) -> None:
    # float32 has as many digits as predictions, and half of float64's characters
    content = orjson.dumps([xyz.astype(np.float32), verts], option=orjson.OPT_SERIALIZE_NUMPY)
    with naming(path):
        path.write_bytes(content)
