"""What the pictures of a run look like."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from peclr.drawing.series import BLUE, VERMILLION
from peclr.drawing.skeleton import draw_skeleton, draw_skeleton_3d
from peclr.drawing.tiles import Image, box_to_tile, move, sheet
from peclr.geometry.planar import whole_picture

_INCHES, _DPI = 2.6, 100
_SIDE = 256  # px of a tile
_VIEWS = {"color": VERMILLION, "marker": "o"}, {"color": BLUE, "marker": "x"}


@dataclass(frozen=True)
class DrawnHand:
    """A prediction with its truth.

    Attributes:
        image: (S, S, 3), RGB.
        true_2d: (21, 2), pixels.
        predicted_2d: (21, 2), pixels.
        true_3d: (21, 3), metres, camera frame.
        predicted_3d: (21, 3), metres, after similarity alignment.
        error_mm: mean distance between the last two, millimetres.
    """

    image: Image
    true_2d: NDArray[np.float64]
    predicted_2d: NDArray[np.float64]
    true_3d: NDArray[np.float64]
    predicted_3d: NDArray[np.float64]
    error_mm: float


def draw_hands(hands: Sequence[DrawnHand]) -> Image:
    """One row for each hand: true and predicted, over the image and in 3-D."""
    tiles, titles = [], []
    for hand in hands:
        error_px = float(np.linalg.norm(hand.predicted_2d - hand.true_2d, axis=1).mean())
        image = cv2.resize(hand.image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
        tile_from_image = box_to_tile(whole_picture(*hand.image.shape[1::-1]), _SIDE)
        joints = (hand.true_2d, hand.predicted_2d)
        flat = [draw_skeleton(image, move(tile_from_image, points)) for points in joints]
        tiles.append([*flat, *(draw_skeleton_3d(points, size=_SIDE) for points in (hand.true_3d, hand.predicted_3d))])
        errors = f"predicted: {error_px:.1f} px", f"predicted, aligned: {hand.error_mm:.1f} mm"
        titles.append(["true", errors[0], "true", errors[1]])
    return sheet(tiles, titles)


def draw_projections(views: Image, before: NDArray[np.float32], after: NDArray[np.float32]) -> Image:
    """One row for each pair: its views, and their projections as points, before and after the inversion.

    Args:
        views: (B, 2, S, S, 3), RGB.
        before: (B, 2, P, 2), of unit length as vectors, as NT-Xent compares them.
        after: the same, after the inversion.
    """
    widths = (1, 1, 1.2, 1.2)
    figure = Figure((_INCHES * sum(widths), _INCHES * len(views) * 1.1), dpi=_DPI, layout="constrained")
    grid = figure.subplots(len(views), 4, width_ratios=widths, squeeze=False)
    for number, axes in enumerate(grid):
        for view, ax in enumerate(axes[:2]):
            ax.imshow(views[number, view])
            ax.set_title(f"view {view + 1}", fontsize=8)
            ax.set_axis_off()
        for ax, points, title in zip(axes[2:], (before[number], after[number]), ("before", "after"), strict=True):
            ax.plot(*points.transpose(2, 0, 1), color="#BBBBBB", linewidth=0.6, zorder=1)  # a line from point to point
            for view, style in enumerate(_VIEWS):
                ax.scatter(*points[view].T, s=10, linewidth=0.8, label=f"view {view + 1}", zorder=2, **style)
            ax.set_title(f"{title} the inversion: cosine {float((points[0] * points[1]).sum()):.3f}", fontsize=8)
            reach = 1.1 * float(np.abs(points).max())
            ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")  # y points down, as in views
            ax.tick_params(labelsize=6)
    grid[0][2].legend(fontsize=7, loc="upper left")
    figure.supxlabel("points: x and y of the projection divided by its length, without unit", fontsize=7)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types its canvas in part
    pixels = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[..., :3])
