"""Pictures to put behind hands, decoded once and used for many views: a source's own without their hands, or others."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.rng import RandomStreams
from peclr.data.samples import HandSource
from peclr.data.views.hand_outlines import HandOutlines, Outline

Image = NDArray[np.uint8]

# Of the side of a view: a background is larger, and each view takes another part of it.
_MARGIN: Final = 1.25
# Pairs of an epoch for each background that is new in it. Every process makes them all, and one takes as long as a few
# pairs of views.
_PAIRS_PER_NEW: Final = 1024
# Of a picture's side: how much around a hand goes with it, for its shadow and its soft edge.
_RIM: Final = 0.03
_SMOOTH: Final = 0.02  # of a picture's side: standard deviation by which places of mirrored pixels are smoothed
_REFLECTIONS: Final = 8  # enough for any hand that does not fill its picture


class BackgroundBank:
    """A window of fixed length on an endless sequence of backgrounds; it moves on by a few with each epoch.

    The sequence depends on the seed alone and the window on the epoch, so that every process and every restart sees
    the same.
    """

    def __init__(
        self,
        donors: Sequence[HandSource],
        outlines: Sequence[HandOutlines] | None,
        size: int,
        capacity: int,
        pairs: int,
        seed: int,
    ) -> None:
        """Decodes nothing yet.

        Args:
            donors: Where the pictures are from; each is as likely as any other.
            outlines: Of the donors' hands, which are removed; None if there are none to remove.
            size: Side of the views, px.
            capacity: Length of the window.
            pairs: Of an epoch.
            seed: Of the sequence.
        """
        self._donors, self._outlines, self._size, self._capacity = donors, outlines, size, capacity
        self._new = min(capacity, max(1, pairs // _PAIRS_PER_NEW))
        self._streams = RandomStreams("bank", seed)
        self._first, self._pictures = 0, dict[int, Image]()

    def draw(self, epoch: int, which: float, right: float, down: float, side: float) -> Image:
        """A background for one view, from four numbers in [0, 1): which, its place in the picture, its orientation.

        Returns:
            (size, size, 3), RGB; not to be written to.
        """
        first = epoch * self._new
        if first != self._first:
            self._first = first
            kept = range(first, first + self._capacity)
            self._pictures = {number: picture for number, picture in self._pictures.items() if number in kept}
        number = first + int(which * self._capacity)
        if number not in self._pictures:
            self._pictures[number] = self._make(number)
        picture = self._pictures[number]
        spare = len(picture) - self._size + 1
        left, top = int(right * spare), int(down * spare)
        part = picture[top : top + self._size, left : left + self._size]
        return cv2.flip(part, 1).astype(np.uint8, copy=False) if side < 0.5 else part

    def _make(self, number: int) -> Image:
        stream = self._streams.at(0, number)
        chosen = int(stream.integers(len(self._donors)))
        donor = self._donors[chosen]
        index = int(stream.integers(len(donor)))
        side = round(_MARGIN * self._size)
        picture = _middle(donor.read(index, 2 * side)["image"], side)
        if self._outlines is None:
            return picture
        return without_hand(picture, self._outlines[chosen].of(donor.hand_of(index)))


def _middle(picture: Image, side: int) -> Image:
    """The square in the middle of a picture (H, W, 3), resized."""
    height, width = picture.shape[:2]
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    square = picture[top : top + length, left : left + length]
    method = cv2.INTER_AREA if length > side else cv2.INTER_LINEAR
    return cv2.resize(square, (side, side), interpolation=method).astype(np.uint8, copy=False)


def _hidden(outline: Outline, side: int) -> Image:
    """(side, side), 1 within the convex hull of a hand and a rim around it, in the square of `_middle`."""
    length = min(outline.height, outline.width)
    left, top, scale = (outline.width - length) // 2, (outline.height - length) // 2, side / length
    shift = scale / 2 - 0.5  # edges meet, not centres
    matrix = np.array([[scale, 0, shift - scale * left], [0, scale, shift - scale * top], [0, 0, 1]])
    hull = np.zeros((side, side), np.uint8)
    if len(outline.points):
        cv2.fillConvexPoly(hull, cv2.convexHull(outline.transformed(matrix)).round().astype(np.int32), 1)
    width = 2 * max(1, round(_RIM * side)) + 1
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return cv2.dilate(hull, rim).astype(np.uint8, copy=False)


def without_hand(picture: Image, outline: Outline) -> Image:
    """Paints over a hand with the mirror image of what is around it.

    That is as sharp as the rest and joins it without a seam, where a smooth filling would show networks a blurred hand.
    The mirror is the outline of the convex hull: reflections of inner points are outside it.

    Args:
        picture: (S, S, 3), the square in the middle of a photograph.
        outline: Of the hand in the photograph.

    Returns:
        (S, S, 3).
    """
    side = len(picture)
    hole = _hidden(outline, side)
    if not hole.any():
        return picture
    if hole.all():
        return np.full_like(picture, 127)  # all hand: nothing is known
    place = np.argwhere(hole)
    source = _mirrored(hole, place)
    hidden = hole[tuple(source.T)] > 0
    sources = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).astype(np.float32)  # x and y
    sources[tuple(place.T)] = source[:, ::-1]
    # the nearest pixel outside jumps from one to the next: without this, what is mirrored would be serrated
    smooth = cv2.GaussianBlur(sources, (0, 0), _SMOOTH * side)
    x, y = np.rint(smooth[tuple(place.T)]).astype(np.intp).clip(0, side - 1).T
    kept = cv2.dilate(hole, np.ones((3, 3), np.uint8))[y, x] == 0  # where no pixel of the hand is mixed in
    sources[tuple(place[kept].T)] = smooth[tuple(place[kept].T)]
    across, down = cv2.split(sources)
    filled: Image = cv2.remap(picture, across, down, cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    filled[tuple(place[hidden & ~kept].T)] = picture[hole == 0].mean(axis=0).astype(np.uint8)
    # where mirror images from two sides meet, smoothing moved places far or could not be used: single pixels stand out
    crease = ~kept | (np.abs(smooth[tuple(place.T)] - source[:, ::-1]).max(axis=1) > _SMOOTH * side)
    filled[tuple(place[crease].T)] = cv2.medianBlur(filled, 5)[tuple(place[crease].T)]
    return filled


def _mirrored(hole: Image, place: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows and columns (N, 2) of the pixels outside the hole that mirror those at `place` (N, 2) in it.

    Some may still be in the hole, where little of the picture is outside.
    """
    side = len(hole)
    _, labels = cv2.distanceTransformWithLabels(hole, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    outside = np.argwhere(hole == 0)
    nearest = np.empty((len(outside) + 1, 2), np.intp)
    nearest[labels[hole == 0]] = outside
    source = place
    for _ in range(_REFLECTIONS):
        inside = hole[tuple(source.T)] > 0
        if not inside.any():
            break
        mirrored = 2 * nearest[labels[tuple(source.T)]] - source
        # beyond the picture, its mirror image goes on
        mirrored = np.abs(mirrored)
        mirrored = side - 1 - np.abs(side - 1 - mirrored)
        source = np.where(inside[:, None], mirrored.clip(0), source)
    return source
