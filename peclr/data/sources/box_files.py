"""Boxes that say where hands are, for training and predicting: CSV, a JSON list, or JSON as in COCO.

Edges are in pixels of the upright image, whose top left corner is (−0.5, −0.5), and in COCO files (0, 0).
"""

import re
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.untrusted.text import as_type, read_json, read_table

_FARTHEST: Final = 1e6  # px; no image is as large
_SMALLEST: Final = 2.0  # px; what is smaller has been given in fractions of the image
_SHOWN: Final = 0.25  # of a box must be in the image


class HandBox(NamedTuple):
    """The place of a hand: edges (4,), left, top, right, bottom, px; and its side, where the file says it."""

    edges: NDArray[np.float64]
    side: Literal["left", "right"] | None = None


class _Row(msgspec.Struct):
    file: str
    left: float
    top: float
    right: float
    bottom: float
    hand: Literal["left", "right", ""] | None = None


class _CocoImage(msgspec.Struct):
    id: int | str
    file_name: str


class _CocoHand(msgspec.Struct):
    image_id: int | str
    bbox: tuple[float, float, float, float]  # x, y, width, height
    iscrowd: bool | int | None = 0
    category_id: int | str | None = None


class _CocoCategory(msgspec.Struct):
    id: int | str
    name: str


class _Coco(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoHand]
    categories: list[_CocoCategory] = []


def read_boxes(path: Path) -> dict[str, list[HandBox]]:
    """Read boxes by image, of which one may have several; ValueError names the entry that is no box.

    From a CSV file with the columns file, left, top, right, bottom and perhaps hand, left or right, separated by
    commas, semicolons or tabs; a JSON list of objects with these keys; or a COCO file, with images (id, file_name) and
    annotations (image_id, bbox: x, y, width, height), of which crowds are left out. There, a category of a name such as
    left_hand says the side.
    """
    if path.suffix.lower() == ".json":
        content = read_json(path)
        rows = _coco_rows(path, content) if isinstance(content, dict) else as_type(content, list[_Row], path)
    else:
        table = read_table(path, numbers=("left", "top", "right", "bottom"))
        cells = [{name.lower(): cell.strip() for name, cell in row.items()} for row in table]
        rows = as_type(cells, list[_Row], path, strict=False)
    if not rows:
        raise ValueError(f"{path}: no boxes; expected at least one")
    boxes: dict[str, list[HandBox]] = {}
    for number, row in enumerate(rows):
        edges = check_box((row.left, row.top, row.right, row.bottom), f"{path}: entry {number}, {row.file}")
        boxes.setdefault(row.file, []).append(HandBox(edges, row.hand or None))
    return boxes


def _coco_rows(path: Path, content: dict[str, Any]) -> list[_Row]:
    coco, names = as_type(content, _Coco, path), dict[int | str, str]()
    for image in coco.images:
        if (earlier := names.setdefault(image.id, image.file_name)) != image.file_name:
            raise ValueError(f"{path}: image id {image.id} is both {earlier} and {image.file_name}")
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
    return rows


def _side_of(category: str) -> Literal["left", "right"] | None:
    words = re.split(r"[^a-z]+", category.lower())
    return "left" if "left" in words else "right" if "right" in words else None


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
