"""Cut a hand out of its image: a small JPEG, with the labels in its pixels and the matrix back to the image file.

Decoding a 1600×1200 frame costs 15 ms, a crop of 256×256 less than one. Crops show more than the crop box, by the
factor `context`, as views are rotated, shifted and widened. They end where the image ends: what views show beyond it is
for training to choose.
"""

import math
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSample
from peclr.data.sources.shard_format import SIDES
from peclr.data.views.geometric import PUBLISHED_TRANSLATION, GeometryRange, from_decoded, warp
from peclr.geometry.planar import Matrix, mirror, move, similarity, view_from_image

# What the default augmentation can show, in half sides of the crop box: a square's corner, rotated onto an axis and
# widened by the largest scale, and the shift, which is twice the fraction in these units.
DEFAULT_CONTEXT: Final = round(math.sqrt(2) * (GeometryRange().scale[1] + 2 * PUBLISHED_TRANSLATION), 2)

_ROUNDING: Final = 1e-6  # px

Row = dict[str, Any]


class Crop(NamedTuple):
    """A crop as JPEG, and its labels: names and types of `shard_format.COLUMNS`, and `id`."""

    encoded: bytes
    labels: Row


class Cutting(NamedTuple):
    """How to cut.

    Attributes:
        size: side of a crop, px; what lies beyond its image is cut off.
        context: side of the square that a crop shows over the side of the crop box.
        quality: of the JPEGs, 1 to 100.
    """

    size: int = 256
    context: float = DEFAULT_CONTEXT
    quality: int = 95

    def check(self) -> None:
        """Refuse what no crop can have."""
        if self.size < 1 or not self.context > 0 or not 1 <= self.quality <= 100:
            given = f"size {self.size}, context {self.context}, quality {self.quality}"
            raise ValueError(f"{given}: expected ≥ 1, > 0 and 1 … 100")

    def __call__(self, sample: HandSample) -> Crop:
        """Cut out one hand; ValueError, with the sample's id, if that cannot be encoded."""
        box, (height, width) = sample["crop_box"], sample["image"].shape[:2]
        square_from_image = view_from_image(similarity(1 / self.context), box, self.size)
        (left, top), (right, bottom) = _covered(square_from_image, width, height, self.size).tolist()
        crop_from_image = similarity(shift=(-left, -top)) @ square_from_image
        shown = right - left, bottom - top
        crop = warp(sample["image"], from_decoded(crop_from_image, sample), shown, "reflect")
        ok, encoded = cv2.imencode(
            ".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        )
        if not ok:
            raise ValueError(f"{sample['id']}: a crop of {crop.shape} could not be encoded")
        # readers mirror left hands
        file_from_image = mirror(sample["image"].shape[1]) if sample["hand"] == "left" else np.eye(3)
        labels: Row = {
            "id": sample["id"],
            "image_from_crop": file_from_image @ np.linalg.inv(crop_from_image),
            "crop_box": move(crop_from_image, box.reshape(2, 2)).ravel(),
            "side": SIDES.index(sample["hand"]),
        }
        K, joints_2d = sample["K"], sample["joints_2d"]
        known = {
            "K": None if K is None else crop_from_image @ K,
            "joints_3d": sample["joints_3d"],
            "joints_2d": None if joints_2d is None else move(crop_from_image, joints_2d),
            "scale_m": sample["scale_m"],
        }
        return Crop(encoded.tobytes(), labels | {name: label for name, label in known.items() if label is not None})


def _covered(crop_from_image: Matrix, width: int, height: int, size: int) -> NDArray[np.int64]:
    """First pixels of a crop within the image, and those after the last ones, ((x, y), (x, y)); at least one."""
    edges = move(crop_from_image, np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])) + 0.5
    first = np.clip(np.ceil(edges[0] - _ROUNDING), 0, size - 1)
    last = np.clip(np.floor(edges[1] + _ROUNDING), first + 1, size)
    return np.array([first, last]).astype(np.int64)
