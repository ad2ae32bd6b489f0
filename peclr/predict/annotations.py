"""What a user knows about the pictures: boxes with sides, cameras, scales; one for all, or a file that lists them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.box_files import check_box
from peclr.data.sources.box_files import read_boxes as read_box_file
from peclr.geometry.camera import check_intrinsics
from peclr.geometry.planar import DEFAULT_FOCAL_RATIO, centred_camera
from peclr.predict.inputs import Input
from peclr.predict.schema import Camera, Matrix, Side

_ALL = ""  # the key of what holds for every file

Value = TypeVar("Value")


@dataclass(frozen=True)
class HandQuery:
    """One hand to look for.

    Attributes:
        side: of the hand.
        box: (4,), left, top, right, bottom, pixels, tight around the hand; None looks for it.
    """

    side: Side = "right"
    box: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Annotations:
    """Everything that may be known about pictures, by file; each may also be known for all of them.

    A file is named by its path relative to the folder that was given, by its name, or as the user gave it.

    Attributes:
        hands: to look for; without, one right hand in every picture.
        cameras: K (3, 3), pixels.
        focal: pixels, where K is not known; the principal point is the middle of the picture.
        scales: metres from middle MCP to middle PIP; without, 3-D is in lengths of that bone.
    """

    hands: Mapping[str, tuple[HandQuery, ...]] = field(default_factory=lambda: {_ALL: (HandQuery(),)})
    cameras: Mapping[str, Matrix] = field(default_factory=dict)
    focal: float | None = None
    scales: Mapping[str, float] = field(default_factory=dict)

    def hands_in(self, found: Input) -> tuple[HandQuery, ...]:
        """The hands to look for; none in a file that a list of boxes leaves out."""
        return _lookup(self.hands, found) or ()

    def camera_of(self, found: Input, width: int, height: int) -> Camera:
        """The camera of a picture of that size."""
        K = _lookup(self.cameras, found)
        if K is not None:
            return Camera(K, "given")
        if self.focal is not None:
            return Camera(centred_camera(self.focal, width, height), "focal")
        return Camera(centred_camera(DEFAULT_FOCAL_RATIO * max(width, height), width, height), "default")

    def scale_of(self, found: Input) -> float | None:
        """Metres; None where they are not known."""
        return _lookup(self.scales, found)


def for_all(
    side: Side = "right",
    box: ArrayLike | None = None,
    K: ArrayLike | None = None,
    focal: float | None = None,
    scale_m: float | None = None,
) -> Annotations:
    """The same for every picture; ValueError names what is not possible."""
    if focal is not None and not 0 < focal < math.inf:
        raise ValueError(f"a focal length is a positive number of pixels, got {focal}")
    query = HandQuery(side, None if box is None else check_box(box, "box"))
    return Annotations(
        hands={_ALL: (query,)},
        cameras={} if K is None else {_ALL: _checked_camera(K, "K")},
        focal=focal,
        scales={} if scale_m is None else {_ALL: _checked_scale(scale_m, "scale")},
    )


def read_boxes(path: Path, side: Side | None = None, needs_side: bool = False) -> dict[str, tuple[HandQuery, ...]]:
    """Read hands by file.

    Args:
        path: the list, see `peclr.data.sources.box_files`; several entries of one file are several hands.
        side: of all hands; None takes it from the entries.
        needs_side: whether every entry must say its hand; otherwise it is a right one.

    Raises:
        ValueError: it cannot be read, or an entry is wrong.
    """
    queries: dict[str, tuple[HandQuery, ...]] = {}
    for file, boxes in read_box_file(path).items():
        if needs_side and (number := next((n for n, box in enumerate(boxes) if box.side is None), None)) is not None:
            raise ValueError(f"{path}: box {number} of {file} has no hand; expected left or right")
        queries[file] = tuple(HandQuery(side or box.side or "right", box.edges) for box in boxes)
    return queries


def read_cameras(path: Path) -> dict[str, Matrix]:
    """Read K from JSON: 3×3 for all pictures, or by file {file: 3×3} or [{"file": …, "K": 3×3}, …]."""
    content = _read_json(path)
    if isinstance(content, list) and content and isinstance(content[0], list):
        return {_ALL: _checked_camera(content, str(path))}
    return {file: _checked_camera(K, f"{path}: {file}") for file, K in _by_file(content, "K", path).items()}


def read_scales(path: Path) -> dict[str, float]:
    """Read metres from JSON: {file: metres} or [{"file": …, "scale": metres}, …]."""
    values = _by_file(_read_json(path), "scale", path)
    return {file: _checked_scale(scale, f"{path}: {file}") for file, scale in values.items()}


def _lookup(values: Mapping[str, Value], found: Input) -> Value | None:
    for key in (found.source, found.file, Path(found.file).name, _ALL):
        if key in values:
            return values[key]
    return None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error


def _by_file(content: Any, key: str, path: Path) -> dict[str, Any]:
    if isinstance(content, dict):
        return content
    try:
        return {str(entry["file"]): entry[key] for entry in content if entry[key] is not None}
    except (KeyError, TypeError):
        raise ValueError(f'{path}: expected {{file: {key}}} or a list of {{"file": …, "{key}": …}}') from None


def _checked_camera(K: ArrayLike, where: str) -> Matrix:
    try:
        matrix = np.asarray(K, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: expected a 3×3 camera matrix, got {str(K)[:80]}") from None
    check_intrinsics(torch.from_numpy(matrix), where)
    return matrix


def _checked_scale(scale: Any, where: str) -> float:
    try:
        metres = float(scale)
    except (TypeError, ValueError):
        metres = math.nan
    if not 0 < metres < 1:
        raise ValueError(f"{where}: the bone from middle MCP to PIP has a length in metres, about 0.03; got {scale}")
    return metres
