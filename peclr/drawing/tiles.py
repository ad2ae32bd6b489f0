"""Sheets of titled tiles, and hands over their images: what reports, trackers, commands and evaluations show."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.data.views.geometric import warp
from peclr.drawing.skeleton import draw_skeleton
from peclr.geometry.planar import Matrix, move, view_from_box

Image = NDArray[np.uint8]

_GAP, _TITLE_HEIGHT = 6, 26  # px
_INK, _FONT, _FONT_SCALE = (60, 60, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.45
_SIDE: Final = 288  # px of an overlay
_MARGIN: Final = 1.9  # side of an overlay over the hand's extent


def sheet(rows: Sequence[Sequence[Image]], titles: Sequence[Sequence[str]]) -> Image:
    """Rows of tiles (H, W, 3) on white, each row below its titles, if it has some; (H, W, 3), RGB."""
    lines = []
    for tiles, words in zip_longest(rows, titles, fillvalue=()):
        top = _TITLE_HEIGHT if words else 0
        padded = [np.pad(tile, ((top, _GAP), (0, _GAP), (0, 0)), constant_values=255) for tile in tiles]
        for tile, title in zip(padded, words, strict=False):
            (width, _), _ = cv2.getTextSize(title, _FONT, 1, 1)
            scale = min(_FONT_SCALE, (tile.shape[1] - 2 * _GAP) / max(width, 1))
            cv2.putText(tile, title, (4, _TITLE_HEIGHT - 9), _FONT, scale, _INK, 1, cv2.LINE_AA)
        lines.append(np.concatenate(padded, axis=1))
    width = max(line.shape[1] for line in lines)
    same = [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return np.concatenate(same)[:, :-_GAP]


def overlays(image: Image, K: Matrix, predicted: Matrix, label: Matrix) -> tuple[Image, Image]:
    """The image (H, W, 3), RGB, around a hand's label, under the skeletons of its prediction and of the label.

    Both (21, 3), camera frame, in any unit; joints behind the camera are not drawn.
    """
    return overlays_2d(image, _project(predicted, K), _project(label, K))


def overlays_2d(image: Image, predicted: NDArray[np.floating], label: NDArray[np.floating]) -> tuple[Image, Image]:
    """The same of points (21, 2), px, NaN for those that are not drawn."""
    last = np.array(image.shape[1::-1]) - 1
    low, high = np.nanmin(label, axis=0).astype(np.float64), np.nanmax(label, axis=0).astype(np.float64)
    side = min(_MARGIN * float((high - low).max()), float(last.max()))
    # between centers of the image's pixels where that is possible: beyond them it fades to black
    corner = np.minimum(np.maximum((low + high - side) / 2, 0), np.maximum(last - side, 0))
    tile_from_image = view_from_box(np.concatenate((corner, corner + side)), _SIDE)
    tile = warp(image, tile_from_image, _SIDE)
    return draw_skeleton(tile, move(tile_from_image, predicted)), draw_skeleton(tile, move(tile_from_image, label))


def _project(joints: Matrix, K: Matrix) -> Matrix:
    """(21, 3) to (21, 2) px; NaN for what is not in front of the camera."""
    return (joints / np.where(joints[:, 2:] > 0, joints[:, 2:], np.nan) @ K.T)[:, :2]
