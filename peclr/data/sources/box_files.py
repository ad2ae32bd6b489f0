"""Boxes that say where hands are, for training and predicting: CSV, a JSON list, or JSON as in COCO.

Edges are in pixels of the upright image, whose top left corner is (−0.5, −0.5), and in COCO files (0, 0).
"""

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.data.sources.json_files import as_numbers, read_json

_EDGES: Final = ("left", "top", "right", "bottom")
_FARTHEST: Final = 1e6  # px; no image is as large
_SMALLEST: Final = 2.0  # px; what is smaller has been given in fractions of the image
_SHOWN: Final = 0.25  # of a box must be in the image

Entry = tuple[int, str, ArrayLike, Any]  # number in the file, name of the image, edges, side


class HandBox(NamedTuple):
    """The place of a hand: edges (4,), left, top, right, bottom, px; and its side, where the file says it."""

    edges: NDArray[np.float64]
    side: Literal["left", "right"] | None = None


def read_boxes(path: Path) -> dict[str, list[HandBox]]:
    """Read boxes by image; several of one image are several hands.

    Args:
        path: A CSV file with the columns file, left, top, right, bottom and perhaps hand, left or right, separated by
            commas, semicolons or tabs; a JSON list of objects with these keys; or a COCO file, with images (id,
            file_name) and annotations (image_id, bbox: x, y, width, height), of which crowds are left out.

    Raises:
        ValueError: If the file is missing, or an entry is not a box; the message names it.
    """
    contents = read_json(path) if path.suffix.lower() == ".json" else _read_csv(path)
    entries = _coco(path, contents) if isinstance(contents, dict) else _list(path, contents)
    boxes: dict[str, list[HandBox]] = {}
    for number, name, edges, side in entries:
        where = f"{path}: entry {number}, {name}"
        if side not in ("left", "right", None):
            raise ValueError(f"{where}: hand is {side!r}; expected left or right")
        boxes.setdefault(name, []).append(HandBox(check_box(edges, where), side))
    return boxes


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


def _read_csv(path: Path) -> list[dict[str, Any]]:
    """Rows of a table as spreadsheets write them: any separator, with a byte order mark or in Latin-1."""
    try:
        text = _decode(path.read_bytes())
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); expected a CSV or JSON file of boxes") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be parsed: {error}") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    entries: list[dict[str, Any]] = [dict(zip(names, row, strict=False)) for row in rows[1:] if row]
    for entry in entries:
        for edge in _EDGES:
            with suppress(KeyError, ValueError):  # is found by who reads the entry
                entry[edge] = float(entry[edge].replace(",", ".") if separator == ";" else entry[edge])
    return entries


def _decode(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    for encoding in ("utf-8-sig", "cp1252"):
        with suppress(UnicodeDecodeError):
            return content.decode(encoding)
    return content.decode("latin-1")


def _list(path: Path, rows: Any) -> Iterator[Entry]:
    if not isinstance(rows, list):
        raise ValueError(f"{path}: expected a list of boxes or a COCO file, found {str(rows)[:80]}")
    for number, row in enumerate(rows):
        try:
            name, side, edges = str(row["file"]), row.get("hand") or None, [row[edge] for edge in _EDGES]
        except (AttributeError, KeyError, TypeError):
            edges = []
        if as_numbers(edges, (4,)) is None:
            raise ValueError(f"{path}: entry {number} is {row}; expected file, {', '.join(_EDGES)}, numbers")
        yield number, name, edges, side


def _coco(path: Path, contents: dict[str, Any]) -> Iterator[Entry]:
    images, annotations = contents.get("images"), contents.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        found = ", ".join(contents)[:80]
        raise ValueError(f"{path}: an object with {found}; expected images and annotations, as in COCO")
    names: dict[Any, str] = {}
    for image in images:
        try:
            name = str(image["file_name"])
            earlier = names.setdefault(image["id"], name)
        except (KeyError, TypeError):
            raise ValueError(f"{path}: an image has no id or file_name, or one that is no number or text") from None
        if earlier != name:
            raise ValueError(f"{path}: image id {image['id']} is both {earlier} and {name}; expected ids of their own")
    for number, annotation in enumerate(annotations):
        try:
            if annotation.get("iscrowd"):
                continue
            name, bbox = names[annotation["image_id"]], as_numbers(annotation["bbox"], (4,))
        except (AttributeError, KeyError, TypeError):
            bbox = None
        if bbox is None:
            found = f"annotation {number} is {str(annotation)[:120]}"
            raise ValueError(f"{path}: {found}; expected the image_id of an image and bbox, four numbers")
        left, top, width, height = bbox.tolist()
        yield number, name, [left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5], None
