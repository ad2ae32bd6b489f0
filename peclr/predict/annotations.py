"""What a user knows about images: boxes with sides, cameras, scales; one for all, or a file that lists them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.box_files import check_box, check_within, read_boxes
from peclr.data.sources.inputs import Frame, Input
from peclr.geometry.camera import check_intrinsics
from peclr.geometry.planar import Matrix
from peclr.inference.hands import HandQuery, Scene, Side
from peclr.untrusted.text import read_json, shown

_ALL = ""  # the key of what holds for every file
Value = TypeVar("Value")


@dataclass(frozen=True)
class Annotations:
    """Everything that may be known about images, by one of a file's names; each may also be known for all of them."""

    hands: Mapping[str, tuple[HandQuery, ...]] = field(default_factory=lambda: {_ALL: (HandQuery(),)})
    cameras: Mapping[str, Matrix] = field(default_factory=dict)  # K (3, 3), px
    focal: float | None = None  # px, where K is not known
    scales: Mapping[str, float] = field(default_factory=dict)  # metres from middle MCP to middle PIP

    @property
    def have_boxes(self) -> bool:
        """Whether all hands that may be asked for have boxes."""
        return all(query.box is not None for queries in self.hands.values() for query in queries)

    @property
    def assume_sides(self) -> bool:
        """Whether a hand may be asked for whose side nobody knows."""
        return any(query.side_origin == "assumed" for queries in self.hands.values() for query in queries)

    def read(self, frame: Frame) -> Scene:
        """Read an image, with what is known about it; no hands in a file that a list of boxes leaves out."""
        image = frame.load()
        height, width = image.shape[:2]
        hands, found = _lookup(self.hands, frame.input, frame.number) or (), frame.input
        for query in hands:
            if query.box is not None:
                check_within(query.box, width, height, found.source)
        return Scene(image, hands, _lookup(self.cameras, found), _lookup(self.scales, found), focal=self.focal)


def annotate(
    side: Side | None = None,
    box: ArrayLike | Path | None = None,
    K: ArrayLike | Path | None = None,
    focal: float | None = None,
    scale_m: float | Path | None = None,
    *,
    needs_side: bool = False,
) -> Annotations:
    """Gather what is known, as `Annotations` has it: each for all images, or from a file that lists it by image.

    JSON files hold one VALUE for all or {"K": VALUE}; by image, {file: VALUE} or [{"file": …, "K": VALUE}, …]; or
    [VALUE, …] in order of FreiHAND's numbered images, as its `evaluation_K.json`. Scales go by "scale".

    Args:
        side: of all hands; None takes that of the box file, or right.
        box: as `HandQuery`; or a file, see `peclr.data.sources.box_files`: several entries of an image, several hands.
        K: (3, 3), pixels; or a JSON file.
        focal: pixels, where K is not known.
        scale_m: as `Scene`, or a JSON file.
        needs_side: refuse a box file with an entry that does not say its hand.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: something is not possible; names the file and the entry.
    """
    if focal is not None and not 0 < focal < math.inf:
        raise ValueError(f"a focal length is a positive number of pixels, got {focal}")
    if isinstance(box, Path):
        hands = {}
        for file, boxes in read_boxes(box).items():
            if needs_side and (sideless := [number for number, one in enumerate(boxes) if one.side is None]):
                raise ValueError(f"{box}: box {sideless[0]} of {file} has no hand; expected left or right")
            hands[file] = tuple(_query(side or one.side, one.edges) for one in boxes)
    else:
        edges = None if box is None else check_box(_numbers(box, (4,), "box"), "box")
        hands = {_ALL: (_query(side, edges),)}
    scales = _by_image(scale_m, "scale", 0, _checked_scale)
    return Annotations(hands, _by_image(K, "K", 2, _checked_camera), focal, scales)


def _query(side: Side | None, box: NDArray[np.float64] | None) -> HandQuery:
    """A hand of that side, or a right one, as the network knows no other."""
    return HandQuery(box=box) if side is None else HandQuery(side, box, side_origin="given")


def check_names(what: str, values: Mapping[str, Any], inputs: Sequence[Input]) -> list[str]:
    """Count, in a line if there are some, an option's names that match no input; ValueError if none matches."""
    listed = values.keys() - {_ALL}
    unused = listed.difference(*(found.names for found in inputs))
    videos = {name for found in inputs if found.kind == "video" for name in found.names}
    unused = {name for name in unused if name.rpartition("#")[0] not in videos}  # frames of one go by numbers
    if not unused:
        return []
    example = f"{min(unused)!r}"
    if len(unused) == len(listed):
        named = f"it names {example}, the first input is {inputs[0].file!r}"
        raise ValueError(f"{what}: none of its {len(listed)} names is that of an input; {named}")
    return [f"{what}: {len(unused)} of {len(listed)} names match no input, for example {example}"]


def _lookup(values: Mapping[str, Value], found: Input, frame: int | None = None) -> Value | None:
    of_frame = [] if frame is None else [f"{name}#{frame}" for name in found.names]
    return next((values[name] for name in (*of_frame, *found.names, _ALL) if name in values), None)


def _by_image(given: Any, key: str, depth: int, check: Callable[[Any, str], Value]) -> dict[str, Value]:
    """Checked values by image; `depth` is that of the lists of numbers which a value is made of."""
    if not isinstance(given, Path):
        return {} if given is None else {_ALL: check(given, key)}
    content = read_json(given)
    if _depth(content) == depth:
        content = {_ALL: content}
    elif _depth(content) == depth + 1:
        versions = 4 if given.name.startswith("training") else 1  # of FreiHAND's training images, one after the other
        content = {f"{number:08d}.jpg": content[number % len(content)] for number in range(versions * len(content))}
    elif not isinstance(content, dict):
        try:
            content = {str(entry["file"]): entry[key] for entry in content if entry[key] is not None}
        except (KeyError, TypeError):
            forms = f'one {key} for all images, {{file: {key}}} or a list of {{"file": …, "{key}": …}}'
            raise ValueError(f"{given}: expected {forms}") from None
    elif key in content:
        content = {_ALL: content[key]}
    return {file: check(value, f"{given}: {file or key}") for file, value in content.items()}


def _depth(values: Any) -> int:
    """Depth of nested lists of numbers, by the first of each; 0 for a number, negative for anything else."""
    depth = 0
    while isinstance(values, list) and values:
        values, depth = values[0], depth + 1
    return depth if _is_number(values) else -1


def _checked_camera(K: ArrayLike, where: str) -> Matrix:
    matrix = _numbers(K, (3, 3), where)
    check_intrinsics(torch.from_numpy(matrix), where)
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise ValueError(f"{where}: focal lengths are positive, got {matrix[0, 0]:g} and {matrix[1, 1]:g}")
    return matrix


def _checked_scale(scale: Any, where: str) -> float:
    if not _is_number(scale) or not 0 < scale < 1:
        raise ValueError(f"{where}: expected a bone's length in metres, about 0.03; got {shown(scale)}")
    return float(scale)


def _numbers(values: ArrayLike, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
    """Numbers of a shape; NumPy would also take texts and true for numbers."""
    found = np.asarray(values, object)
    if found.shape != shape or not all(map(_is_number, found.flat)):
        raise ValueError(f"{where}: expected {'×'.join(map(str, shape))} numbers, got {shown(values)}")
    return found.astype(np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
