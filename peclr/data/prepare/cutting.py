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
from peclr.data.views.geometric import PUBLISHED_TRANSLATION, GeometryRange
from peclr.geometry.planar import Matrix, mirror, move, similarity

# What the default augmentation can show, in half sides of the crop box: a square's corner, rotated onto an axis and
# widened by the largest scale, and the shift, which is twice the fraction in these units.
DEFAULT_CONTEXT: Final = round(math.sqrt(2) * (GeometryRange().scale[1] + 2 * PUBLISHED_TRANSLATION), 2)

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
        crop, crop_from_image = self._cut(sample)
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
            "crop_box": move(crop_from_image, sample["crop_box"].reshape(2, 2)).ravel(),
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

    def _cut(self, sample: HandSample) -> tuple[NDArray[np.uint8], Matrix]:
        """The crop (H, W, 3), and crop ← image.

        It is of whole pixels of the image as decoded, and as large as that makes it, half a pixel more or less: to
        resize takes half of the time of a warp, which could be shifted.
        """
        image, decoded_from_image = sample["image"], np.linalg.inv(sample.get("image_from_decoded", np.eye(3)))
        box = np.sort(move(decoded_from_image, sample["crop_box"].reshape(2, 2)), axis=0)
        side = self.context * float(box[1, 0] - box[0, 0])
        block = _block(self.size / side)
        side = max(round(side / block), 1) * block
        scale, edges = self.size / side, np.array(image.shape[1::-1])
        first = np.round(box.mean(axis=0) - (side - 1) / 2)
        least = math.ceil(1 / scale)  # px, which are one of the crop
        start = np.clip(first, 0, np.maximum(edges - least, 0)).astype(int)
        (left, top), (right, bottom) = start, np.clip(first + side, start + least, edges).astype(int)
        crop = _resized(image[top:bottom, left:right], scale)
        crop_from_decoded = similarity(scale, shift=tuple((0.5 - start) * scale - 0.5))
        if decoded_from_image[0, 0] < 0:
            crop, crop_from_decoded = np.fliplr(crop), mirror(crop.shape[1]) @ crop_from_decoded
        return crop, crop_from_decoded @ decoded_from_image


def _resized(part: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize by exactly `scale`, with as many samples a pixel as `warp`; what is less than a pixel is cut off."""
    if scale > 0.5:
        return _resize(part, (0, 0), scale, cv2.INTER_LINEAR)
    width, height = part.shape[1::-1]
    if min(width, height) * scale < 1:  # a line, which has no scale
        return _resize(part, (max(round(width * scale), 1), max(round(height * scale), 1)), 0, cv2.INTER_AREA)
    if (block := _block(scale)) > 1:
        width, height = width // block, height // block
        part = _resize(part[: height * block, : width * block], (width, height), 0, cv2.INTER_AREA)
    double = _resize(part, (0, 0), 2 * scale * block, cv2.INTER_LINEAR)
    width, height = double.shape[1] // 2, double.shape[0] // 2
    return _resize(double[: 2 * height, : 2 * width], (width, height), 0, cv2.INTER_AREA)


def _resize(image: NDArray[np.uint8], size: tuple[int, int], scale: float, how: int) -> NDArray[np.uint8]:
    """OpenCV's, to a size, or by a scale where that is (0, 0)."""
    return cv2.resize(image, size, fx=scale, fy=scale, interpolation=how).astype(np.uint8, copy=False)


def _block(scale: float) -> int:
    """Side of the blocks, px, over which an image is averaged before it is resized."""
    return max(int(1 / (2 * scale)), 1)
