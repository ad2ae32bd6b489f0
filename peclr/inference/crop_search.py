"""Where the network looks at a hand without a box, and how often: crops to choose from, and turned views to average.

A regression that is unsure of a hand shrinks it towards the mean pose. Taken for the hand's size, as the published
second pass does, the box of such a prediction is too small, and every further pass makes it smaller. The same shrinking
tells which crop fits: the network is surest where the hand that it predicts fills most of the crop's box.

Mean 2-D error over the side of the hand's box, on embedded hands (`experiments/measurements/find_hands.py`; ResNet-18
of half width, 48 px views, 300 labels): near the middle, as in FreiHAND, published 0.33, search 0.22, true box 0.18;
anywhere, 0.3 to 0.95 of the picture large, published 0.44, search 0.31, true box 0.19.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from peclr.data.views.geometric import Matrix, warp
from peclr.inference.two_pass import Box, box_of_keypoints, central_box, view_from_box

Finding = Literal["search", "published"]

# Sides of the square boxes in the middle that the search tries, over the picture's longer side. The published one is
# the first; neighbours are a factor of 1.4 to 1.5 apart, and views of training show hands 0.83 to 1.39 as large as a
# crop that fits.
SEARCH_FRACTIONS: Final = (0.33, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Looking:
    """How the network looks at a hand.

    Attributes:
        find: of a hand without a box: "search" tries central boxes of four sizes; "published" takes the
            central 0.33 of the picture, as FreiHAND's evaluation.
        turn: degrees; the last view is also seen turned by this to either side, and the three are averaged. 0 does
            not. On embedded validation hands, 30 made EPE 3 to 4 % smaller and PA-EPE 1 %
            (`experiments/measurements/averaged_views.py`).
    """

    find: Finding = "search"
    turn: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not possible."""
        if self.find not in get_args(Finding):
            raise ValueError(f"find {self.find!r}: expected one of {get_args(Finding)}")
        if not 0 <= self.turn <= 180:
            raise ValueError(f"turn {self.turn}: expected degrees, 0 to 180")

    @property
    def views_per_hand(self) -> int:
        """Views through the network of a hand without a box."""
        return (len(SEARCH_FRACTIONS) if self.find == "search" else 1) + len(self.angles)

    @property
    def angles(self) -> tuple[float, ...]:
        """Of the last views, degrees."""
        return (0.0, self.turn, -self.turn) if self.turn else (0.0,)

    def first_boxes(self, image: NDArray[np.uint8]) -> list[Box]:
        """Where the first pass looks in an image (H, W, 3)."""
        if self.find == "published":
            return [central_box(image)]
        height, width = image.shape[:2]
        centre = np.array([width, height]) / 2  # as the published first pass
        halves = [fraction * max(width, height) / 2 for fraction in SEARCH_FRACTIONS]
        return [np.concatenate((centre - half, centre + half)) for half in halves]

    def second_box(self, first: Sequence["View"], keypoints_2d: NDArray[np.floating]) -> Box:
        """The box of the hand that the first pass found.

        Args:
            first: C views of the first pass.
            keypoints_2d: (C, 21, 2), pixels of these views, as the network regressed them.

        Returns:
            (4,), pixels of the image. After a search, the chosen box, moved to the middle of the predicted hand.
        """
        found = [
            box_of_keypoints(points, view.view_from_image) for points, view in zip(keypoints_2d, first, strict=True)
        ]
        if self.find == "published":
            return found[0]
        filled = [_side(box) / _side(view.box) for box, view in zip(found, first, strict=True)]
        best = int(np.argmax(filled))
        centre, half = (found[best][:2] + found[best][2:]) / 2, _side(first[best].box) / 2
        return np.concatenate((centre - half, centre + half))


@dataclass(frozen=True)
class View:
    """One look at a hand.

    Attributes:
        box: (4,), px of the image, that the view was made for.
        view_from_image: (3, 3), view pixels ← image pixels.
        pixels: (S, S, 3), RGB.
    """

    box: Box
    view_from_image: Matrix
    pixels: NDArray[np.uint8]


def look(image: NDArray[np.uint8], box: Box, view_size: int, degrees: float = 0.0) -> View:
    """Cut a view out of an image, turned about its middle.

    Args:
        image: (H, W, 3), RGB.
        box: (4,), px of the image.
        view_size: side of the view, px.
        degrees: OpenCV sign: positive turns the picture counter-clockwise.
    """
    matrix = turned(view_from_box(box, view_size), view_size, degrees)
    return View(box, matrix, warp(image, matrix, view_size))


def turned(view_from_image: Matrix, view_size: int, degrees: float) -> Matrix:
    """A view (3, 3) turned about where it has the middle of its box."""
    if not degrees:
        return view_from_image
    cos, sin, centre = math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), view_size / 2
    x, y = centre - cos * centre - sin * centre, centre + sin * centre - cos * centre
    return np.array([[cos, sin, x], [-sin, cos, y], [0.0, 0.0, 1.0]]) @ view_from_image


def average(
    keypoints_2d: NDArray[np.floating], joints_3d: NDArray[np.floating], view_from_image: Sequence[Matrix]
) -> tuple[Matrix, Matrix]:
    """One hand from several views.

    Args:
        keypoints_2d: (V, 21, 2), pixels of the views.
        joints_3d: (V, 21, 3), frame of the image's camera, which all views have in common.
        view_from_image: V matrices (3, 3).

    Returns:
        (21, 2), pixels of the image, weighted by depth, so that the mean of 3-D still projects to it; and (21, 3).
    """
    in_image = []
    for points, matrix in zip(keypoints_2d.astype(np.float64), view_from_image, strict=True):
        back = np.linalg.inv(matrix)
        in_image.append(points @ back[:2, :2].T + back[:2, 2])
    depth = joints_3d[..., 2:].astype(np.float64)
    weights = depth / depth.sum(axis=0)
    return (weights * np.stack(in_image)).sum(axis=0), joints_3d.astype(np.float64).mean(axis=0)


def _side(box: Box) -> float:
    return float((box[2:] - box[:2]).max())
