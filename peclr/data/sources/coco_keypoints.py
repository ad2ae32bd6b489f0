"""Hands as COCO keypoints, which annotation tools open and scorers read: what lists images, and how to write them.

COCO's pixels begin at the image's top left corner: their centers are half integers. A hand's side is its category, so
that any tool shows it and lets one correct it; `peclr.data.sources.box_files` reads boxes and sides back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from peclr.geometry.joints import BONES, JOINT_NAMES

Side = Literal["right", "left"]
CATEGORIES: Final[dict[Side, int]] = {"right": 1, "left": 2}
_DIGITS: Final = 3  # thousandths of a pixel
_VISIBLE: Final = 2


def name_of(side: Side) -> str:
    """The name of a side's category."""
    return f"{side}_hand"


class CocoImage(msgspec.Struct):
    """An image that a document of COCO lists."""

    id: int | str
    file_name: str


Listed = TypeVar("Listed", bound=CocoImage)


def by_id(images: Sequence[Listed], where: object) -> dict[int | str, Listed]:
    """The images by what annotations call them; ValueError where one id is of two."""
    found = dict[int | str, Listed]()
    for image in images:
        if (earlier := found.setdefault(image.id, image)).file_name != image.file_name:
            raise ValueError(f"{where}: image id {image.id} is both {earlier.file_name} and {image.file_name}")
    return found


class CocoKeypoints:
    """Images and their hands, as one COCO document.

    Args:
        info: what else to say, such as what scores are.
        sides: that hands may have.
    """

    def __init__(self, info: Mapping[str, Any], sides: Sequence[Side] = ("right", "left")) -> None:
        self._info, self._sides = dict(info), sides
        self._images: list[dict[str, Any]] = []
        self._hands: list[dict[str, Any]] = []

    def add_image(self, file: str, width: int, height: int) -> int:
        """Add an image and return its id."""
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": file, "width": width, "height": height})
        return number

    def add_hand(
        self,
        image: int,
        side: Side,
        joints_2d: NDArray[np.floating],
        score: float | None = None,
        **more: Any,
    ) -> None:
        """Add a hand to the image of that id.

        Args:
            image: its id.
            side: of the person.
            joints_2d: (21, 2), px, order freihand; one that is not finite is not labeled.
            score: 0 to 1.
            more: further keys of the annotation.
        """
        known = np.isfinite(joints_2d).all(axis=-1)
        points = np.where(known[:, None], joints_2d + 0.5, 0.0)
        low, high = (getattr(points[known], name)(axis=0) if known.any() else np.zeros(2) for name in ("min", "max"))
        visible = np.where(known, _VISIBLE, 0)
        width, height = (high - low).round(_DIGITS).tolist()
        annotation = {
            "id": len(self._hands) + 1,
            "image_id": image,
            "category_id": CATEGORIES[side],
            "keypoints": np.c_[points.round(_DIGITS), visible].ravel().tolist(),
            "num_keypoints": int(known.sum()),
            "bbox": [*low.round(_DIGITS).tolist(), width, height],
            "area": round(width * height, _DIGITS),
            "iscrowd": 0,
            "segmentation": [],  # CVAT's reader warns of each hand without
        }
        self._hands.append(annotation | ({} if score is None else {"score": score}) | more)

    def to_bytes(self) -> bytes:
        """The document as JSON; a name that is not UTF-8 is escaped."""
        skeleton = [[parent + 1, child + 1] for parent, child in BONES]
        categories = [
            {
                "id": CATEGORIES[side],
                "name": name_of(side),
                "supercategory": "hand",
                "keypoints": list(JOINT_NAMES),
                "skeleton": skeleton,
            }
            for side in self._sides
        ]
        images = [one | {"file_name": _text(one["file_name"])} for one in self._images]
        content = {"info": self._info, "images": images, "annotations": self._hands, "categories": categories}
        return orjson.dumps(content) + b"\n"


def _text(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
