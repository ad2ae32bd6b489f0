"""Masks of hands as polygons: a kilobyte each, so that all stay in memory, and drawn at the size that a view needs."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.samples import HandSource
from peclr.data.views.geometric import Matrix

Image = NDArray[np.uint8]

_TOLERANCE: Final = 0.5  # px of the photograph, by which a polygon may leave the outline
_SHIFT: Final = 4  # OpenCV draws polygons whose corners are given in 1/16 px


class Outline(NamedTuple):
    """Where a hand is in a photograph.

    Attributes:
        height: Of the photograph, px.
        width: Of the photograph, px.
        points: (P, 1, 2), int16, px: the corners of all polygons, one after another. What is inside an odd number of
            them is hand, as there may be gaps between fingers and several parts.
        starts: Of each polygon but the first.
    """

    height: int
    width: int
    points: NDArray[np.int16]
    starts: tuple[int, ...]

    def transformed(self, matrix: Matrix) -> NDArray[np.float32]:
        """The corners (P, 1, 2), taken through an affine matrix (3, 3)."""
        return cv2.transform(self.points.astype(np.float32), matrix[:2]).astype(np.float32, copy=False)

    def fill(self, corners: NDArray[np.float32], corner: tuple[int, int], size: tuple[int, int]) -> Image:
        """Draws the hand.

        Args:
            corners: As of `transformed`.
            corner: Left and top of the part to draw, px.
            size: Its width and height, px.

        Returns:
            (height, width), 255 or 0.
        """
        fixed = (corners * (1 << _SHIFT)).astype(np.int32)
        polygons = [fixed[start:end] for start, end in pairwise((0, *self.starts, len(fixed)))]
        mask = np.zeros(size[::-1], np.uint8)
        offset = -corner[0] << _SHIFT, -corner[1] << _SHIFT
        cv2.fillPoly(mask, polygons, 255, shift=_SHIFT, offset=offset)
        return mask


def trace(mask: Image) -> Outline:
    """The outline of a mask (H, W): a pixel that the hand covers by half is its own, JPEG's noise is not."""
    binary = cv2.threshold(mask, 127, 1, cv2.THRESH_BINARY)[1]
    contours, _ = cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    polygons: Sequence[NDArray[np.int16]] = [
        cv2.approxPolyDP(contour, _TOLERANCE, True).astype(np.int16) for contour in contours if len(contour) > 2
    ]
    starts = np.cumsum([len(polygon) for polygon in polygons])[:-1].tolist()
    points = np.concatenate(polygons) if polygons else np.empty((0, 1, 2), np.int16)
    height, width = mask.shape
    return Outline(height, width, points, tuple(starts))


class HandOutlines:
    """The outlines of a source's hands, traced once in each process: to decode a mask takes longer than to draw it."""

    def __init__(self, source: HandSource) -> None:
        """Reads nothing yet."""
        self._source, self._traced = source, dict[int, Outline]()

    def of(self, hand: int) -> Outline:
        """Where a hand is in its photographs."""
        if hand not in self._traced:
            self._traced[hand] = trace(self._source.read_mask(hand))
        return self._traced[hand]
