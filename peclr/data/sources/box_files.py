"""Boxes that say where hands are, for training and predicting: CSV, JSON, COCO, and what `peclr predict` wrote.

Edges are in pixels of the upright image, whose top left corner is (−0.5, −0.5), and in COCO files (0, 0). A frame of a
video goes by the video's name, # and its number from 0: video.mp4#120.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.data.samples import HandSample, Side, hand_sample
from peclr.data.sources.coco_keypoints import CocoImage, by_id
from peclr.data.sources.images import DecodedImage
from peclr.geometry.planar import enclosing_square, mirror, mirror_box, move
from peclr.untrusted.text import as_type, parse_json, read_bytes, read_json, read_table

_FARTHEST: Final = 1e6  # px; no image is as large
_SMALLEST: Final = 2.0  # px; what is smaller has been given in fractions of the image
_SUFFIXES: Final = (".csv", ".json", ".jsonl")  # of files in a folder
_SIDES: Final[tuple[Literal["left", "right"] | None, ...]] = (None, "left", "right")
_SHOWN: Final = 0.25  # of a box must be in the image


class HandBox(NamedTuple):
    """The place of a hand: edges (4,), left, top, right, bottom, px; and its side, where the file says it."""

    edges: NDArray[np.float64]
    side: Literal["left", "right"] | None = None


class PackedBoxes:
    """Boxes of many hands as arrays, of which some, or all, have none: of those, nothing is kept."""

    def __init__(self, boxes: Sequence[HandBox | None]) -> None:
        self.edges = np.full((len(boxes) if any(boxes) else 0, 4), np.nan)  # (hands, 4), px; (0, 4) without any
        self._sides = np.zeros(len(self.edges), np.uint8)
        for number, box in enumerate(boxes if len(self.edges) else ()):
            if box is not None:
                self.edges[number], self._sides[number] = box.edges, _SIDES.index(box.side)

    def __getitem__(self, hand: int) -> HandBox | None:
        if not len(self.edges) or np.isnan(self.edges[hand, 0]):
            return None
        return HandBox(self.edges[hand], _SIDES[self._sides[hand]])

    def squares(self, hands: int) -> NDArray[np.float64]:
        """(hands, 4), the enclosing squares; NaN without a box."""
        return enclosing_square(self.edges) if len(self.edges) else np.full((hands, 4), np.nan)


class _Row(msgspec.Struct):
    file: str
    left: float
    top: float
    right: float
    bottom: float
    hand: Literal["left", "right", ""] | None = None
    frame: int | None = None


class _CocoHand(msgspec.Struct):
    image_id: int | str
    bbox: tuple[float, float, float, float]  # x, y, width, height
    iscrowd: bool | int | None = 0
    category_id: int | str | None = None


class _CocoCategory(msgspec.Struct):
    id: int | str
    name: str


class _Coco(msgspec.Struct):
    images: list[CocoImage]
    annotations: list[_CocoHand]
    categories: list[_CocoCategory] = []


class _PredictedHand(msgspec.Struct):
    box: tuple[float, float, float, float]
    hand: Literal["left", "right"]


class _Prediction(msgspec.Struct):
    source: str
    hands: list[_PredictedHand] = []  # of an image that could not be read there is an error instead
    file: str | None = None  # which files before it lack
    frame: int | None = None


def read_boxes(path: Path) -> dict[str, list[HandBox]]:
    """Read boxes by image, of which one may have several, or none; ValueError names the entry that is no box.

    From a CSV file with the columns file, left, top, right, bottom and perhaps hand, left or right, and frame, between
    commas, semicolons or tabs; a JSON list of objects with these keys; a COCO file, with images (id, file_name) and
    annotations (image_id, bbox: x, y, width, height), of which crowds are left out, and where a category of a name such
    as left_hand says the side; a .json or .jsonl file of `peclr predict`; or a folder of such files.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    boxes: dict[str, list[HandBox]] = {}
    for file in files:
        rows, images = _rows(file)
        if twice := sorted(boxes.keys() & {*images}):
            raise ValueError(f"{file}: {twice[0]} is in another file of {path}, too; predict one folder at a time")
        boxes |= {image: [] for image in images if image not in boxes}
        for number, row in enumerate(rows):
            edges = check_box((row.left, row.top, row.right, row.bottom), f"{file}: entry {number}, {row.file}")
            boxes.setdefault(_frame_name(row.file, row.frame), []).append(HandBox(edges, row.hand or None))
    if not any(boxes.values()):
        raise ValueError(f"{path}: no boxes; expected at least one")
    return boxes


def _rows(path: Path) -> tuple[list[_Row], Iterable[str]]:
    """Rows of a file, and the images that it lists, those without a hand among them."""
    if path.suffix.lower() == ".jsonl":
        lines = read_bytes(path).splitlines()
        contents = [parse_json(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
        return _predicted_rows(path, contents)
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if not isinstance(content, dict):
            return as_type(content, list[_Row], f"{path}: not a list of boxes (file, left, top, right, bottom)"), ()
        return _predicted_rows(path, [content]) if "schema" in content else _coco_rows(path, content)
    table = read_table(path, numbers=("left", "top", "right", "bottom"))
    cells = [
        {name.lower(): cell.strip() for name, cell in row.items() if cell or name.lower() != "frame"} for row in table
    ]
    return as_type(cells, list[_Row], path, strict=False), ()


def _predicted_rows(path: Path, contents: Sequence[Any]) -> tuple[list[_Row], Iterable[str]]:
    rows, images = [], []
    for said in as_type(contents, list[_Prediction], path):
        images.append(_frame_name(said.file or said.source, said.frame))
        rows += [_Row(images[-1], *hand.box, hand.hand) for hand in said.hands]
    return rows, images


def _frame_name(file: str, frame: int | None) -> str:
    return file if frame is None or file.endswith(f"#{frame}") else f"{file}#{frame}"


def _coco_rows(path: Path, content: dict[str, Any]) -> tuple[list[_Row], Iterable[str]]:
    coco = as_type(content, _Coco, path)
    names = {number: image.file_name for number, image in by_id(coco.images, path).items()}
    sides = {category.id: _side_of(category.name) for category in coco.categories}
    rows = []
    for number, hand in enumerate(coco.annotations):
        if hand.image_id not in names:
            raise ValueError(f"{path}: annotation {number} is of image {hand.image_id}, which is not listed")
        if not hand.iscrowd:
            left, top, width, height = hand.bbox
            edges = (left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5)
            side = None if hand.category_id is None else sides.get(hand.category_id)
            rows.append(_Row(names[hand.image_id], *edges, side))
    return rows, names.values()


def _side_of(category: str) -> Literal["left", "right"] | None:
    words = re.split(r"[^a-z]+", category.lower())
    return "left" if "left" in words else "right" if "right" in words else None


def boxed_hand(
    decoded: DecodedImage,
    square: NDArray[np.float64],
    name: str,
    side: Side,
    joints_2d: NDArray[np.float32] | None = None,
) -> HandSample:
    """Make the sample of a hand from an image, its square (4,), px, and perhaps joints (21, 2), before mirroring."""
    if side == "left":
        decoded, square = decoded.mirrored(), mirror_box(square, decoded.width)
        if joints_2d is not None:
            joints_2d = move(mirror(decoded.width), joints_2d).astype(np.float32)
    from_decoded = decoded.image_from_decoded
    return hand_sample(decoded.image, square, name, side, joints_2d=joints_2d, image_from_decoded=from_decoded)


def check_box(edges: ArrayLike, where: str) -> NDArray[np.float64]:
    """Return left, top, right, bottom as an array; a ValueError that begins with `where` if they are no box in px."""
    box = np.asarray(edges, np.float64)
    if box.shape != (4,) or not (np.abs(box).max() < _FARTHEST and (box[:2] < box[2:]).all()):
        raise ValueError(f"{where}: {box.tolist()} is not left < right, top < bottom in px of an image")
    if (box[2:] - box[:2]).max() < _SMALLEST:
        raise ValueError(f"{where}: {box.tolist()} is smaller than a hand; expected pixels, not fractions of the image")
    return box


def check_within(box: NDArray[np.float64], width: float, height: float, where: object) -> None:
    """Refuse a box of which less than a quarter is in the image; the ValueError begins with `where`."""
    shown = np.minimum(box[2:], (width - 0.5, height - 0.5)) - np.maximum(box[:2], -0.5)
    if (shown <= 0).any() or shown.prod() < _SHOWN * (box[2:] - box[:2]).prod():
        raise ValueError(f"{where}: the box {box.tolist()} lies beyond the {width:g} × {height:g} px of the image")
