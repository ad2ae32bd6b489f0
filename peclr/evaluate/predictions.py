"""Files of predictions as FreiHAND's leaderboard takes them: [xyz list, verts list], as JSON, plain or zipped."""

import gc
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from peclr.geometry.joints import NUM_JOINTS
from peclr.options import naming

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
    content = _parse(_read_bytes(path), path)
    if not isinstance(content, list) or len(content) != 2:
        found = f"a list of {len(content)}" if isinstance(content, list) else f"a {type(content).__name__}"
        raise ValueError(f"{path}: expected {_FORMAT}, found {found}; zeros will do for verts")
    xyz = _to_array(content[0], NUM_JOINTS, f"{path}, xyz")
    if not content[1]:
        return Predictions(xyz)
    verts = _to_array(content[1], NUM_VERTICES, f"{path}, verts")
    if len(verts) != len(xyz):
        raise ValueError(f"{path}: has xyz of {len(xyz)} hands, but verts of {len(verts)}")
    return Predictions(xyz, verts if verts.any() else None)


def read_labels(path: Path, points: int) -> Array:
    """A label file of points, `evaluation_xyz.json` or `evaluation_verts.json`: (N, points, 3), metres.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds anything else; the message names the file and what is wrong.
    """
    return _to_array(_parse(_read_bytes(path), path), points, str(path))


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


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".json")]
        if PREDICTIONS_NAME in names:
            names = [PREDICTIONS_NAME]
        if len(names) != 1:
            raise ValueError(f"{path}: expected a zip with {PREDICTIONS_NAME}, found {archive.namelist()[:9]}")
        try:
            return archive.read(names[0])
        except (zipfile.BadZipFile, RuntimeError) as error:  # damaged, encrypted
            raise ValueError(f"{path}: {names[0]} cannot be unpacked: {error}") from error


def _parse(raw: bytes, path: Path) -> Any:
    try:
        with _garbage_collection_off():
            return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(raw)  # slow, but it reads the NaN that NumPy's users write: it is refused by name
        except ValueError:
            raise ValueError(f"{path}: not valid JSON: {error}") from error


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Millions of small lists would be looked through again and again, in search of cycles that JSON has not."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _to_array(entries: Any, points: int, where: str) -> Array:
    """Nested lists to (N, points, 3), three times as fast as np.asarray; ValueError names the first bad hand."""
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where}: expected a list with one entry per hand")
    flat = chain.from_iterable
    try:
        regular = set(map(len, entries)) == {points} and set(map(len, flat(entries))) == {3}
        array = np.fromiter(flat(flat(entries)), np.float64) if regular else None
    except (TypeError, ValueError):  # not lists, or not numbers
        array = None
    if array is None:
        hand, found = next(
            (hand, found)
            for hand, entry in enumerate(entries)
            if (found := _what_is_wrong(entry, (points, 3))) is not None
        )
        raise ValueError(f"{where}: hand {hand} {found}; expected numbers of shape ({points}, 3)")
    array = array.reshape(len(entries), points, 3)
    finite = np.isfinite(array).all(axis=(1, 2))
    if not finite.all():
        hand = int(np.argmin(finite))
        raise ValueError(f"{where}: hand {hand} has NaN or infinity ({(~finite).sum()} such hands)")
    return array


def _what_is_wrong(entry: Any, shape: tuple[int, int]) -> str | None:
    try:
        found = np.asarray(entry, dtype=np.float64).shape
    except (TypeError, ValueError):
        return f"is not numbers of one shape: {str(entry)[:60]}"
    return None if found == shape else f"has shape {found}"
