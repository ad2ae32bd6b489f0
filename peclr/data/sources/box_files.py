"""Lists of boxes that say where hands are: CSV, a JSON list, or JSON as in COCO."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peclr.geometry.planar import enclosing_square

_SIDES = ("left", "top", "right", "bottom")
_FARTHEST = 1e6  # px; no image is as large

Boxes = dict[str, list[NDArray[np.float64]]]


def read_boxes(path: Path) -> Boxes:
    """Reads boxes and makes them square; several of one file are several hands.

    Args:
        path: A CSV file with the columns file, left, top, right, bottom; a JSON list of objects with these keys; or a
            COCO file, with images (id, file_name) and annotations (image_id, bbox: x, y, width, height), of which
            crowds are left out. Edges are in pixels of the upright image, whose top left corner is (−0.5, −0.5), and
            in COCO files (0, 0).

    Returns:
        By file, (4,) left, top, right, bottom in pixels.

    Raises:
        ValueError: If the file is missing, or an entry is not a box; the message names it.
    """
    contents = _parse(path)
    entries = _coco_entries(path, contents) if isinstance(contents, dict) else _plain_entries(path, contents)
    boxes: Boxes = {}
    for number, name, box in entries:
        if not (np.abs(box).max() < _FARTHEST and box[0] < box[2] and box[1] < box[3]):
            raise ValueError(
                f"{path}: entry {number}, {name}: {box.tolist()} is not left < right, top < bottom in px of an image"
            )
        boxes.setdefault(name, []).append(enclosing_square(box))
    return boxes


def _parse(path: Path) -> Any:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return json.load(file) if path.suffix.lower() == ".json" else list(csv.DictReader(file))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); expected a CSV or JSON file of boxes") from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise ValueError(f"{path} cannot be parsed: {error}") from error


def _plain_entries(path: Path, rows: Any) -> Iterator[tuple[int, str, NDArray[np.float64]]]:
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of boxes or a COCO file, found {str(rows)[:80]}")
    for number, row in enumerate(rows):
        try:
            yield number, str(row["file"]), np.array([float(row[side]) for side in _SIDES])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError(f"{path}: entry {number} is {row}; expected file, left, top, right, bottom") from None


def _coco_entries(path: Path, contents: dict[str, Any]) -> Iterator[tuple[int, str, NDArray[np.float64]]]:
    images, annotations = contents.get("images"), contents.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise ValueError(
            f"{path}: an object with {', '.join(contents)[:80]}; expected images and annotations, as in COCO"
        )
    try:
        names = {image["id"]: str(image["file_name"]) for image in images}
    except (KeyError, TypeError):
        raise ValueError(f"{path}: an image has no id or file_name, or one that is no number or text") from None
    for number, annotation in enumerate(annotations):
        try:
            if annotation.get("iscrowd"):
                continue
            left, top, width, height = (float(edge) for edge in annotation["bbox"])
            name = names[annotation["image_id"]]
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise ValueError(
                f"{path}: annotation {number} is {str(annotation)[:120]}; expected the image_id of an image and bbox, "
                "four numbers"
            ) from None
        yield number, name, np.array([left, top, left + width, top + height]) - 0.5
