"""What a user knows about the pictures: boxes with sides, cameras, scales; one for all, or a file that lists them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.box_files import check_box, check_within
from peclr.data.sources.box_files import read_boxes as read_box_file
from peclr.geometry.camera import check_intrinsics
from peclr.geometry.planar import centered_camera
from peclr.inference.hands import HandQuery, Scene, Side, assumed_camera
from peclr.predict.inputs import Frame, Input
from peclr.predict.schema import Camera, Matrix

_ALL = ""  # the key of what holds for every file

Value = TypeVar("Value")


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
            return Camera(centered_camera(self.focal, width, height), "focal")
        return Camera(assumed_camera(width, height), "default")

    def read(self, frame: Frame) -> Scene:
        """Read an image, with what is known about it."""
        image = frame.load()
        height, width = image.shape[:2]
        hands = self.hands_in(frame.input)
        for query in hands:
            if query.box is not None:
                check_within(query.box, width, height, frame.input.source)
        return Scene(image, hands, self.camera_of(frame.input, width, height).K, self.scale_of(frame.input))

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
    query = HandQuery(side, None if box is None else check_box(_numbers(box, (4,), "box"), "box"))
    return Annotations(
        hands={_ALL: (query,)},
        cameras={} if K is None else {_ALL: _checked_camera(K, "K")},
        focal=focal,
        scales={} if scale_m is None else {_ALL: _checked_scale(scale_m, "scale")},
    )


def read_boxes(path: Path, side: Side | None = None, *, needs_side: bool = False) -> dict[str, tuple[HandQuery, ...]]:
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
    """Read K, 3×3, from JSON: one for all images, K or {"K": K}, or by image.

    By image: {file: K}, [{"file": …, "K": K}, …], or a list [K, …] as FreiHAND's `evaluation_K.json`.
    """
    content = _read_json(path)
    listed = isinstance(content, list) and bool(content) and isinstance(content[0], list)
    if listed and not (content[0] and isinstance(content[0][0], list)):
        content = {"K": content}
    elif listed:
        content = _by_number(content, path)
    return {file: _checked_camera(K, f"{path}: {file or 'K'}") for file, K in _by_file(content, "K", path).items()}


def read_scales(path: Path) -> dict[str, float]:
    """Read metres from JSON: a number or {"scale": …} for all images, or by image as `read_cameras` does."""
    content = _read_json(path)
    if _is_number(content):
        content = {"scale": content}
    elif isinstance(content, list) and content and _is_number(content[0]):
        content = _by_number(content, path)
    values = _by_file(content, "scale", path)
    return {file: _checked_scale(scale, f"{path}: {file or 'scale'}") for file, scale in values.items()}


def check_names(what: str, values: Mapping[str, Any], inputs: Sequence[Input]) -> list[str]:
    """Compare the names in a file with the images that are there.

    Args:
        what: the option and its file, for messages.
        values: what the file says, by name.
        inputs: the images, videos and cameras.

    Returns:
        A line that counts the names that match nothing, if there are some.

    Raises:
        ValueError: no name matches.
    """
    listed = values.keys() - {_ALL}
    unused = listed.difference(*map(_names, inputs))
    if not unused:
        return []
    example = f"{min(unused)!r}"
    if len(unused) == len(listed):
        raise ValueError(
            f"{what}: none of its {len(listed)} names is that of an input; it names {example}, "
            f"the first input is {inputs[0].file!r}"
        )
    return [f"{what}: {len(unused)} of {len(listed)} names match no input, for example {example}"]


def _lookup(values: Mapping[str, Value], found: Input) -> Value | None:
    return next((values[name] for name in (*_names(found), _ALL) if name in values), None)


def _names(found: Input) -> tuple[str, str, str]:
    return found.source, found.file, Path(found.file).name


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON: {error}") from error


def _by_file(content: Any, key: str, path: Path) -> dict[str, Any]:
    if isinstance(content, dict):
        return {_ALL: content[key]} if key in content else content
    try:
        return {str(entry["file"]): entry[key] for entry in content if entry[key] is not None}
    except (KeyError, TypeError):
        raise ValueError(
            f'{path}: expected one {key} for all images, {{file: {key}}} or a list of {{"file": …, "{key}": …}}'
        ) from None


def _by_number(values: list[Value], path: Path) -> dict[str, Value]:
    """FreiHAND's lists are in order of its numbered images; those of training come in four versions."""
    versions = 4 if path.name.startswith("training") else 1
    return {f"{number:08d}.jpg": values[number % len(values)] for number in range(versions * len(values))}


def _checked_camera(K: ArrayLike, where: str) -> Matrix:
    matrix = _numbers(K, (3, 3), where)
    check_intrinsics(torch.from_numpy(matrix), where)
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise ValueError(f"{where}: focal lengths are positive, got {matrix[0, 0]:g} and {matrix[1, 1]:g}")
    return matrix


def _checked_scale(scale: Any, where: str) -> float:
    if not _is_number(scale) or not 0 < scale < 1:
        raise ValueError(
            f"{where}: the bone from middle MCP to PIP has a length in metres, about 0.03; got {str(scale)[:80]}"
        )
    return float(scale)


def _numbers(values: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """Numbers of a shape; NumPy would also take texts and true for numbers."""
    try:
        array = np.asarray(values)
        leaves = np.asarray(values, object).ravel() if isinstance(values, list | tuple) else ()
    except ValueError:  # lists of different lengths
        array, leaves = np.empty(0), ()
    if array.shape != shape or array.dtype.kind not in "iuf" or not all(map(_is_number, leaves)):
        raise ValueError(f"{where}: expected {'×'.join(map(str, shape))} numbers, got {str(values)[:80]}")
    return array.astype(np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
