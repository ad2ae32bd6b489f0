"""MediaPipe's two hand networks, palms in a whole image and joints in a crop, run by LiteRT.

Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020 (arXiv 2006.10214). Google's networks are
under Apache-2.0; constants are those of google-ai-edge/mediapipe at 85c0cdc. Everything between the networks is
computed here: no other part of MediaPipe is used.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.detection.detector import Array, DetectedHand, Image, is_part, overlap, without_duplicates
from peclr.detection.networks import Network, find_task_file, read_networks

_PALM_SIDE: Final = 192  # px, of the palm network's input
_JOINT_SIDE: Final = 224  # px, of the joint network's input
_GRIDS: Final = ((24, 2), (12, 6))  # cells a side and anchors a cell, at strides 8 and 16
_NMS_OVERLAP: Final = 0.3
_WRIST, _MIDDLE_MCP = 0, 2  # of a palm's seven points
# That fingers point up was meant, 90 degrees: the graph of MediaPipe's tasks passes them as radians, so that hands come
# to the joint network turned by another 26.6 degrees. Its results are matched only with the same.
_TARGET: Final = 90.0
_REGION_SCALE: Final = 2.6  # of a palm's box, for the joint network
_REGION_SHIFT: Final = -0.5  # of the box's height, towards the fingers
_MARGIN: Final = 0.5  # of an image's longer side, around one that a hand may fill
_NARROWEST: Final = 0.2  # shorter side over the longer one of an image that a hand may fill
_LONGEST: Final = 2**15 - 2  # px, side of an image that OpenCV warps
_SAME_PLACE: Final = 0.15  # of a region's side, between its center and that of a hand that it shows
_SAME_SIZE: Final = (0.3, 1.0)  # of a region's side, the longer side of a hand in the middle of it
_TILE_SHARE: Final = 0.6  # of the image's sides; two by two tiles overlap by a third


class Region(NamedTuple):
    """A turned square in an image.

    Attributes:
        x: of its center, px, half integers at pixel centers as MediaPipe counts.
        y: the same.
        side: px.
        angle: by which it is turned, radians, from x to y.
        border: what it shows beyond the image, of OpenCV's: black.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0
    border: int = cv2.BORDER_CONSTANT

    def moved(self, x: float, y: float) -> "Region":
        """Shift by pixels, as from a tile to its image."""
        return self._replace(x=self.x + x, y=self.y + y)

    def shows(self, hand: DetectedHand) -> bool:
        """Whether the joint network would, in all likelihood, find a hand that is known."""
        low, high = hand.box[:2] + 0.5, hand.box[2:] + 0.5
        away = math.hypot(*((low + high) / 2 - (self.x, self.y)))
        size = float((high - low).max()) / self.side
        return away < _SAME_PLACE * self.side and _SAME_SIZE[0] < size < _SAME_SIZE[1]

    def image_from_unit(self) -> Array:
        """(2, 3): from (0, 0) to (1, 1) in the region to pixels of the image."""
        cos, sin = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        return np.array(
            [
                [cos, -sin, self.x - (cos - sin) / 2],
                [sin, cos, self.y - (sin + cos) / 2],
            ]
        )

    def crop(self, image: Image, size: int) -> Image:
        """What it shows, (size, size, 3)."""
        matrix = self.image_from_unit()
        matrix[:, :2] /= size
        # corner to corner without a shift by half a pixel, as MediaPipe's converter does
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=self.border)
        return crop.astype(np.uint8, copy=False)


class MediaPipeHands:
    """Hands in an image, by Google's palm and hand landmark networks.

    Args:
        task_file: `hand_landmarker.task`, or a folder with the two networks that are in it.
        min_score: of a palm and of a hand, 0 to 1.
        max_hands: that are returned, the surest palms.
        tiles: look again at four overlapping tiles, in which small hands are larger.
        margin: where nothing is found, look again with a margin around the image, as a hand may fill it.
    """

    def __init__(
        self,
        task_file: str | Path,
        *,
        min_score: float = 0.5,
        max_hands: int = 8,
        tiles: bool = False,
        margin: bool = True,
    ) -> None:
        if not 0 < min_score < 1 or max_hands < 1:
            raise ValueError(f"expected 0 < min_score < 1 and max_hands ≥ 1, got {min_score} and {max_hands}")
        self._palms, self._joints = map(Network, read_networks(find_task_file(task_file)))
        self._least_logit = math.log(min_score / (1 - min_score)) - 0.01  # what rounding cannot lift to the score
        self.min_score, self.max_hands, self.tiles, self.margin = min_score, max_hands, tiles, margin

    def __call__(self, image: Image) -> list[DetectedHand]:
        """Find hands in (H, W, 3) uint8 RGB, upright and not mirrored; the surest palm's hand first."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        shorter, longer = sorted(image.shape[:2])
        if longer > _LONGEST:
            raise ValueError(f"the image is {longer:,} px long; expected at most {_LONGEST:,}, to find hands in it")
        # a small image has shown all of its pixels as a whole
        tiles = list(_tiles(image)) if self.tiles and longer > _PALM_SIDE else []
        whole, *others = self._regions([image, *(tile for _, _, tile in tiles)])
        hands = self._hands(image, whole)
        for (x, y, _), found in zip(tiles, others, strict=True):
            regions = [region.moved(x, y) for region in found]
            new = [region for region in regions if not any(region.shows(hand) for hand in hands)]
            hands = self._hands(image, new, known=hands) if new else hands
        if self.margin and not hands and shorter >= _NARROWEST * longer:
            (whole,) = self._regions([image], margin=_MARGIN)
            hands = self._hands(image, whole)
        return hands[: self.max_hands]

    def _hands(self, image: Image, regions: Sequence[Region], known: Sequence[DetectedHand] = ()) -> list[DetectedHand]:
        """Known hands, and those that regions show beside them; what is a part of a known one is none."""
        found = (self.hand_in(image, region) for region in regions)
        new = [hand for hand in found if hand is not None and not any(is_part(hand, other) for other in known)]
        return without_duplicates([*known, *new])

    def _regions(self, images: Sequence[Image], margin: float = 0.0) -> list[list[Region]]:
        """Where hands are, in each image, by palms; the surest first.

        With a margin, of an image's longer side, its edges go on beyond it, and that is looked at, too. What is done
        for all images together finds code and pixels in the processor's caches.
        """
        border = cv2.BORDER_REPLICATE if margin else cv2.BORDER_CONSTANT
        sizes = [image.shape[1::-1] for image in images]
        wholes = [Region(w / 2, h / 2, (1 + 2 * margin) * max(w, h), border=border) for w, h in sizes]
        crops = [whole.crop(image, _PALM_SIDE) for whole, image in zip(wholes, images, strict=True)]
        palms = [_palms_of(self._palms(crop), self._least_logit) for crop in crops]
        return [self._regions_of(whole, *found) for whole, found in zip(wholes, palms, strict=True)]

    def _regions_of(self, whole: Region, points: Array, scores: Array) -> list[Region]:
        """Regions for the joint network, by palms (N, 9, 2) and their scores (N,) in a whole image."""
        sure = scores >= self.min_score
        palms, unit = _merge(points[sure], scores[sure])[: self.max_hands], whole.image_from_unit()
        regions = (_region_of(palm @ unit[:, :2].T + unit[:, 2], palm[1] * whole.side) for palm in palms)
        return [region._replace(border=whole.border) for region in regions]

    def hand_in(self, image: Image, region: Region) -> DetectedHand | None:
        """The hand that a region shows; None if the network sees none."""
        points, presence, right, world = self._joints(region.crop(image, _JOINT_SIDE))
        score = float(presence[0, 0])
        if score < self.min_score:
            return None
        unit = region.image_from_unit()
        in_region = points.reshape(21, 3)[:, :2].astype(np.float64) / _JOINT_SIDE
        joints_2d = in_region @ unit[:, :2].T + unit[:, 2] - 0.5  # pixel centers are integers here
        turn = unit[:, :2] / region.side
        joints_3d = world.reshape(21, 3).astype(np.float64)
        joints_3d[:, :2] = joints_3d[:, :2] @ turn.T
        box = np.concatenate([joints_2d.min(axis=0), joints_2d.max(axis=0)])
        return DetectedHand("right" if right[0, 0] > 0.5 else "left", score, box, joints_2d, joints_3d)


def _palms_of(outputs: Sequence[NDArray[np.float32]], least_logit: float) -> tuple[Array, Array]:
    """Points (N, 9, 2) in 0 to 1, and scores (N,), of those palms in the network's outputs that may be some."""
    raw, logits = outputs
    near = np.flatnonzero(logits > least_logit)  # few of two thousand
    scores = 1 / (1 + np.exp(-np.clip(logits.ravel()[near].astype(np.float64), -100, 100)))
    return raw[0, near].astype(np.float64).reshape(-1, 9, 2) / _PALM_SIDE + _OFFSETS[near], scores


def _region_of(palm: Array, size: Array) -> Region:
    """The hand's region from a palm's center and seven points (9, 2), px, and its width and height (2,), px."""
    center, points = palm[0], palm[2:]
    x, y = points[_MIDDLE_MCP] - points[_WRIST]
    angle = _TARGET - math.atan2(-y, x)
    angle -= 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))
    shift = _REGION_SHIFT * size[1] * np.array([-math.sin(angle), math.cos(angle)])
    return Region(float(center[0] + shift[0]), float(center[1] + shift[1]), _REGION_SCALE * float(size.max()), angle)


def _merge(palms: Array, scores: Array) -> list[Array]:
    """Weighted non-maximum suppression: palms (N, 9, 2) that overlap a surer one are averaged with it by score."""
    boxes = np.concatenate([palms[:, 0] - palms[:, 1] / 2, palms[:, 0] + palms[:, 1] / 2], axis=-1)
    left = np.argsort(-scores, kind="stable")
    merged = []
    while len(left):
        same = overlap(boxes[left[0]], boxes[left]) > _NMS_OVERLAP
        same[0] = True  # without an area, too
        weights = scores[left[same]]
        merged.append((palms[left[same]] * weights[:, None, None]).sum(axis=0) / weights.sum())
        left = left[~same]
    return merged


def _offsets() -> Array:
    """(2016, 9, 2): what a palm's center, size and points are relative to, in 0 to 1: but for the size, anchors."""
    grids = []
    for cells, repeats in _GRIDS:
        y, x = np.mgrid[:cells, :cells].reshape(2, -1)
        grids.append(np.repeat(np.stack([x, y], axis=-1) + 0.5, repeats, axis=0) / cells)
    offsets = np.repeat(np.concatenate(grids)[:, None], 9, axis=1)
    offsets[:, 1] = 0
    return offsets


_OFFSETS: Final = _offsets()


def _tiles(image: Image) -> Iterator[tuple[int, int, Image]]:
    """Four overlapping parts of an image, each with its left and upper edge."""
    height, width = image.shape[:2]
    high, wide = math.ceil(height * _TILE_SHARE), math.ceil(width * _TILE_SHARE)
    for y in (0, height - high):
        for x in (0, width - wide):
            yield x, y, image[y : y + high, x : x + wide]
