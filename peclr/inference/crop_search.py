"""Where the network looks at a hand, and how often: the published rules, crops to choose from, turned views to average.

A regression that is unsure of a hand shrinks it toward the mean pose. Taken for the hand's size, as in the published
second pass, its box is too small, and every further pass makes it smaller. The same shrinking shows which crop fits:
the network is surest where the hand that it predicts fills most of the crop's box.

Mean 2-D error over the side of the hand's box, on 200 rendered hands (ResNet-18 of half width, 300 labels): near the
middle, as in FreiHAND, published 0.33, search 0.22, true box 0.18; anywhere, published 0.44, search 0.31, true 0.19.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclr.geometry.planar import Matrix, move, similarity

Box = NDArray[np.float64]
Image = NDArray[np.uint8]
Finding = Literal["search", "published"]

# Both of the published test-time protocol.
CENTRAL_FRACTION: Final = 0.33  # of the image's sides: where the first pass takes the hand to be
FILL: Final = 0.7  # of the view's side: what the longer side of a box takes up

# Degrees, and shifts as fractions of the view's side, of the views whose joints are held against the last view's. On
# 239 hands of people that a small network had not seen, real and rendered, the spread's rank correlation with the error
# was 0.53 by joint and 0.72 by hand; with turns alone 0.47 and 0.69, with shifts alone 0.48 and 0.64.
_CHECKS: Final = ((15.0, (0.05, -0.05)), (-15.0, (-0.05, 0.05)))
# Of a hand's size: views whose joints spread by this agree by 0.61
_SPREAD: Final = 0.05

# Sides of the square boxes in the middle that the search tries, over the image's longer side. The published one is
# the first; neighbors are a factor of 1.4 to 1.5 apart, and views of training show hands 0.83 to 1.39 as large as a
# crop that fits.
SEARCH_FRACTIONS: Final = (0.33, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class View:
    """One look at a hand."""

    box: Box  # (4,), px of the image, that the view was made for
    view_from_image: Matrix  # (3, 3), view pixels ← image pixels
    K: Matrix  # (3, 3), camera of the view, px
    pixels: Image  # (S, S, 3), RGB


@dataclass(frozen=True)
class CropSearch:
    """The way in which the network looks at a hand.

    A turn of 30 made root-relative EPE 3 to 4 % smaller on rendered hands (`averages` in
    `experiments/results/finetune_recipe.json`).
    """

    find: Finding = "search"  # a hand without a box: tries central ones of four sizes; "published" takes `central_box`
    turn: float = 0.0  # degrees, by which the last view is also seen turned to either side, to average the three
    scored: bool = False  # joints get scores: without a `turn`, from two more views, which predictions do not depend on

    def __post_init__(self) -> None:
        """Refuse what is not possible with a ValueError."""
        if self.find not in get_args(Finding):
            raise ValueError(f"find {self.find!r}: expected one of {get_args(Finding)}")
        if not 0 <= self.turn <= 180:
            raise ValueError(f"turn {self.turn}: expected degrees, 0 to 180")

    @property
    def angles(self) -> tuple[float, ...]:
        """Degrees of the last views, whose mean is the prediction."""
        return (0.0, self.turn, -self.turn) if self.turn else (0.0,)

    def last_views(self, view_from_image: Matrix, view_size: int) -> list[Matrix]:
        """The last views (3, 3) by the straight one: those of `angles`, then those that are for scores alone."""
        matrices = [turned(view_from_image, view_size, angle) for angle in self.angles]
        if self.scored and not self.turn:
            for angle, (x, y) in _CHECKS:
                shift = similarity(shift=(x * view_size, y * view_size))
                matrices.append(shift @ turned(view_from_image, view_size, angle))
        return matrices

    def first_boxes(self, width: int, height: int) -> list[Box]:
        """Boxes that the first pass looks at in an image."""
        if self.find == "published":
            return [central_box(width, height)]
        middle = np.array([width, height]) / 2  # as the published first pass
        return [_square(middle, fraction * max(width, height)) for fraction in SEARCH_FRACTIONS]

    def second_box(self, first: Sequence[View], keypoints_2d: NDArray[np.floating]) -> Box:
        """Choose a hand's box by what the network regressed (C, 21, 2), px, in the C first views.

        After a search, it is the one that the hand fills most, moved onto the hand.
        """
        matrices = (view.view_from_image for view in first)
        found = list(map(box_of_keypoints, keypoints_2d, matrices))
        if self.find == "published":
            return found[0]
        filled = [_side(box) / _side(view.box) for box, view in zip(found, first, strict=True)]
        best = int(np.argmax(filled))
        return _square((found[best][:2] + found[best][2:]) / 2, _side(first[best].box))


SEARCH: Final = CropSearch()


def central_box(width: int, height: int) -> Box:
    """The box (4,) px that the published first pass takes for the hand: the central 0.33 of an image."""
    middle = np.array([width, height]) / 2
    return np.concatenate(((1 - CENTRAL_FRACTION) * middle, (1 + CENTRAL_FRACTION) * middle))


def view_from_box(box: ArrayLike, view_size: int) -> Matrix:
    """Center a box (4,) px in a view, its longer side 0.7 of the view's; ValueError if it is empty.

    The published rule takes centers of boxes to `view_size / 2`, half a pixel right and below the center of the
    view by this project's convention; the networks have learned with it.
    """
    left, top, right, bottom = np.asarray(box, np.float64).tolist()
    side = max(right - left, bottom - top)
    if not (np.isfinite([left, top, right, bottom]).all() and right >= left and bottom >= top and side > 0):
        raise ValueError(f"expected a finite box with left < right, top < bottom: {[left, top, right, bottom]}")
    scale, middle = FILL * view_size / side, view_size / 2
    return similarity(scale, shift=(middle - scale * (left + right) / 2, middle - scale * (top + bottom) / 2))


def box_of_keypoints(keypoints_2d: NDArray[np.floating], view_from_image: Matrix) -> Box:
    """The box (4,) px of the image around keypoints (21, 2) px of a view that is not turned, at least a pixel of it."""
    # the published code cuts the fractions off
    low, high = np.trunc(keypoints_2d.min(axis=0)), np.trunc(keypoints_2d.max(axis=0))
    high = np.maximum(high, low + 1)
    scale, shift = view_from_image[[0, 1], [0, 1]], view_from_image[:2, 2]
    return np.concatenate(((low - shift) / scale, (high - shift) / scale))


def turned(view_from_image: Matrix, view_size: int, degrees: float) -> Matrix:
    """Turn a view (3, 3) of that side, px, about the middle of its box; positive degrees are counter-clockwise."""
    if not degrees:
        return view_from_image
    middle = view_size / 2
    about_middle = similarity(angle=math.radians(degrees)) @ similarity(shift=(-middle, -middle))
    return similarity(shift=(middle, middle)) @ about_middle @ view_from_image


def average(
    keypoints_2d: NDArray[np.floating], joints_3d: NDArray[np.floating], view_from_image: Sequence[Matrix]
) -> tuple[Matrix, Matrix]:
    """Average pixels (V, 21, 2) and joints (V, 21, 3) of a hand in V views: (21, 2) px of the image, and (21, 3).

    Pixels are weighted by depth, so that the mean of 3-D, in the image's camera, still projects to the mean of 2-D.
    """
    in_image = move(np.linalg.inv(np.stack(view_from_image)), keypoints_2d.astype(np.float64))
    depth = joints_3d[..., 2:].astype(np.float64)
    weights = depth / depth.sum(axis=0)
    return (weights * in_image).sum(axis=0), joints_3d.astype(np.float64).mean(axis=0)


def agreement(keypoints_2d: NDArray[np.floating], view_from_image: Sequence[Matrix]) -> NDArray[np.float64]:
    """Score a hand's joints, 0 to 1, by how little their pixels (V, 21, 2) in V ≥ 2 views spread in the image: (21,).

    A joint's spread is its standard deviation over the hand's size, at least a pixel. It becomes a score as distances
    do in COCO's keypoint similarity, by a Gaussian.
    """
    in_image = move(np.linalg.inv(np.stack(view_from_image)), keypoints_2d.astype(np.float64))
    size = np.ptp(in_image.mean(axis=0), axis=0).max()
    spread = np.sqrt(in_image.var(axis=0, ddof=1).sum(axis=-1)) / max(float(size), 1.0)
    scores: NDArray[np.float64] = np.exp(-0.5 * (spread / _SPREAD) ** 2)
    return scores


def _square(middle: NDArray[np.float64], side: float) -> Box:
    return np.concatenate((middle - side / 2, middle + side / 2))


def _side(box: Box) -> float:
    return float((box[2:] - box[:2]).max())
