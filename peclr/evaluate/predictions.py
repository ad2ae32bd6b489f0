"""Files of predictions as FreiHAND's leaderboard takes them: [xyz list, verts list], as JSON, plain or zipped."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from peclr.geometry.joints import NUM_JOINTS
from peclr.options import naming
from peclr.untrusted.binary import is_zip, numbers, read_zip_member
from peclr.untrusted.text import parse_json, read_json

Array = NDArray[np.float64]

NUM_VERTICES = 778  # of MANO's mesh
PREDICTIONS_NAME = "pred.json"
_FORMAT = "[xyz list, verts list], metres"


@dataclass(frozen=True)
class Predictions:
    """Predictions for a whole split.

    Attributes:
        xyz: (N, 21, 3), metres, camera frame, order freihand.
        verts: (N, 778, 3), metres, camera frame; None where none were predicted.
    """

    xyz: Array
    verts: Array | None = None


def read_predictions(path: Path) -> Predictions:
    """Read a file of predictions; vertices that are all zero, which the leaderboard accepts, are none.

    Args:
        path: JSON, or a zip that holds one JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not in the leaderboard's format; the message names the file and what is wrong.
    """
    content = parse_json(read_zip_member(path, PREDICTIONS_NAME, ".json"), path) if is_zip(path) else read_json(path)
    if not isinstance(content, list) or len(content) != 2:
        found = f"a list of {len(content)}" if isinstance(content, list) else f"a {type(content).__name__}"
        raise ValueError(f"{path}: expected {_FORMAT}, found {found}; zeros will do for verts")
    xyz = numbers(content[0], (NUM_JOINTS, 3), f"{path}, xyz")
    if not content[1]:
        return Predictions(xyz)
    verts = numbers(content[1], (NUM_VERTICES, 3), f"{path}, verts")
    if len(verts) != len(xyz):
        raise ValueError(f"{path}: has xyz of {len(xyz)} hands, but verts of {len(verts)}")
    return Predictions(xyz, verts if verts.any() else None)


def read_labels(path: Path, points: int) -> Array:
    """A label file of points, `evaluation_xyz.json` or `evaluation_verts.json`: (N, points, 3), metres.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds anything else; the message names the file and what is wrong.
    """
    return numbers(read_json(path), (points, 3), path)


def write_predictions(folder: Path, predictions: Predictions) -> tuple[Path, Path]:
    """Write `pred.json` and its zip, which is what one uploads; vertices that were not predicted are zero.

    Args:
        folder: exists.
        predictions: finite.

    Returns:
        The two files.
    """
    verts = predictions.verts
    if verts is None:
        verts = np.zeros((len(predictions.xyz), NUM_VERTICES, 3))
    # float32 has as many digits as predictions, and half of float64's characters
    content = [predictions.xyz.astype(np.float32), verts.astype(np.float32)]
    plain, zipped = folder / PREDICTIONS_NAME, (folder / PREDICTIONS_NAME).with_suffix(".zip")
    with naming(plain):
        plain.write_bytes(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))
    with naming(zipped), zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, PREDICTIONS_NAME)
    return plain, zipped
