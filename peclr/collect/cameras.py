"""The camera of an image that nobody calibrated: as given, by Exif's focal length, or assumed."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from peclr.data.sources.images import read_focal_35mm
from peclr.data.sources.inputs import Input
from peclr.geometry.planar import Matrix, centered_camera
from peclr.untrusted.binary import numbers
from peclr.untrusted.text import read_json

ASSUMED_FOCAL: Final = 1.2  # of an image's longer side, 45° wide: between phones and webcams
_FILM_DIAGONAL: Final = math.hypot(36, 24)  # mm; equal diagonals make focal lengths equivalent, CIPA DCG-001
_ALL: Final = ""


class Camera(NamedTuple):
    """A camera, (3, 3), px, and how it is known."""

    K: Matrix
    origin: Literal["given", "exif", "assumed"]


def camera_of(found: Input, width: int, height: int, given: Mapping[str, Matrix]) -> Camera:
    """The camera of an image of that size, where some are `given` as by `read_cameras`."""
    K = given.get(found.file, given.get(_ALL))
    if K is not None:
        return Camera(K, "given")
    focal = read_focal_35mm(Path(found.source)) if found.kind == "image" else None
    if focal is not None:
        return Camera(centered_camera(focal * math.hypot(width, height) / _FILM_DIAGONAL, width, height), "exif")
    return Camera(centered_camera(ASSUMED_FOCAL * max(width, height), width, height), "assumed")


def read_cameras(given: str | None, inputs: Sequence[Input]) -> dict[str, Matrix]:
    """Read K, (3, 3), px of the upright image, by the `file` of the input; "" for all.

    From FX,FY,CX,CY in px, or a JSON file that holds 3×3 numbers, or {file: 3×3}. A file is named as it was given,
    relative to the folder given, or by its name alone; ValueError if none is an input.
    """
    if given is None:
        return {}
    words = given.split(",")
    if len(words) == 4:
        try:
            fx, fy, cx, cy = map(float, words)
        except ValueError:
            raise ValueError(f"--K {given}: expected FX,FY,CX,CY in pixels, or a JSON file") from None
        return {_ALL: _checked([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]], f"--K {given}")}
    content = read_json(Path(given))
    if not isinstance(content, dict):
        content = {_ALL: content}
    named = {str(file): _checked(K, f"{given}{file and ': '}{file}") for file, K in content.items()}
    if _ALL in named:
        return named
    found = {one.file: named[name] for one in inputs for name in one.names[::-1] if name in named}
    if not found:
        raise ValueError(f"{given}: none of its {len(named)} names is that of an input, such as {inputs[0].file}")
    return found


def _checked(K: Any, where: str) -> Matrix:
    matrix: Matrix = numbers([K], (3, 3), where)[0]
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and matrix[2].tolist() == [0, 0, 1] and matrix[1, 0] == 0):
        raise ValueError(f"{where}: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, got {K}")
    return matrix
