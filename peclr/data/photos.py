"""Any folder of photographs of hands, without labels."""

import csv
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peclr.data.crops import enclosing_square, whole_picture
from peclr.data.images import read_picture
from peclr.data.samples import HandSample, HandSource

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_SIDES = ("left", "top", "right", "bottom")


class Photos(HandSource):
    """Photographs below a folder, in order of their names; each is one version of one hand.

    Without boxes, the hand fills the photograph. Boxes come in a CSV file with the columns file, left, top,
    right, bottom, or as a JSON list of objects with these keys: the file relative to the folder, the edges in
    pixels of the upright image. Several boxes of one file are several hands; a file without a box is used
    whole.
    """

    name = "photos"

    def __init__(self, root: str | Path, boxes: str | Path | None = None) -> None:
        """Lists the photographs; they are read one at a time.

        Args:
            root: The folder; folders below it count.
            boxes: CSV or JSON file that says where the hands are. Boxes are made square and get no margin.

        Raises:
            ValueError: If there are no photographs, or boxes that do not fit them.
        """
        self.root = Path(root)
        if not self.root.is_dir():
            raise ValueError(f"{self.root} is not a folder; expected a folder of photographs")
        files = _list_photos(self.root)
        if not files:
            raise ValueError(f"{self.root}: no photographs; expected files ending in {', '.join(SUFFIXES)}")
        found = _read_boxes(Path(boxes)) if boxes is not None else {}
        unknown = sorted(found.keys() - set(files))
        if unknown:
            raise ValueError(f"{boxes}: {unknown[0]} is not a photograph below {self.root}")
        self._hands = [(file, box) for file in files for box in found.get(file, [None])]
        self.num_hands = len(self._hands)

    def __len__(self) -> int:
        """Number of hands: each is in one photograph."""
        return len(self._hands)

    def hand_of(self, index: int) -> int:
        """The hand that image `index` shows: hands and images are the same here."""
        return index

    def versions_of(self, hand: int) -> Sequence[int]:
        """The image that shows `hand`."""
        return range(hand, hand + 1)

    def __getitem__(self, index: int) -> HandSample:
        """Reads the photograph of hand `index`."""
        return self.read(index, math.inf)

    def read(self, index: int, keep: float) -> HandSample:
        """Reads the photograph of hand `index` for a view."""
        file, box = self._hands[index]
        picture = read_picture(self.root / file, None if box is None else box[2] - box[0], keep)
        sample: HandSample = {
            "image": picture.image,
            "K": None,
            "joints_3d": None,
            "joints_2d": None,
            "crop_box": whole_picture(picture.width, picture.height) if box is None else box,
            "scale_m": None,
            "hand": "unknown",
            "id": file,
        }
        if picture.photo_from_image is not None:
            sample["photo_from_image"] = picture.photo_from_image
        return sample


def _list_photos(root: Path) -> list[str]:
    """Photographs below a folder, relative to it, with / between folders, sorted."""
    found = (
        Path(folder, file)
        for folder, _, files in os.walk(root)
        for file in files
        if file.lower().endswith(SUFFIXES) and not file.startswith(".")  # macOS leaves ._photo.jpg behind
    )
    return sorted(path.relative_to(root).as_posix() for path in found)


def _read_boxes(path: Path) -> dict[str, list[NDArray[np.float64]]]:
    """Square boxes by file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = json.load(file) if path.suffix.lower() == ".json" else list(csv.DictReader(file))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; expected a CSV or JSON file of boxes") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be parsed: {error}") from error
    boxes: dict[str, list[NDArray[np.float64]]] = {}
    for number, row in enumerate(rows):
        try:
            name, box = str(row["file"]), np.array([float(row[side]) for side in _SIDES])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: entry {number} is {row}; expected file, left, top, right, bottom") from None
        if not (np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
            raise ValueError(f"{path}: entry {number}, {name}: {box.tolist()} is not left < right, top < bottom")
        boxes.setdefault(name, []).append(enclosing_square(box))
    return boxes
