"""What the pictures of a run look like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from peclr.drawing.skeleton import draw_skeleton, draw_skeleton_3d

Image = NDArray[np.uint8]

_INCHES, _DPI = 2.6, 100
# vermillion and blue of Okabe and Ito's palette, which colour-blind readers tell apart; shapes differ as well
_FIRST, _SECOND = {"color": "#D55E00", "marker": "o"}, {"color": "#0072B2", "marker": "x"}


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
    figure, grid = _grid(len(hands), (1, 1, 2, 2))
    for hand, axes in zip(hands, grid, strict=True):
        error_px = float(np.linalg.norm(hand.predicted_2d - hand.true_2d, axis=1).mean())
        enlarge = max(1, round(256 / len(hand.image)))
        pictures = (
            ("true", draw_skeleton(hand.image, hand.true_2d, enlarge)),
            (f"predicted: {error_px:.1f} px", draw_skeleton(hand.image, hand.predicted_2d, enlarge)),
            ("true", draw_skeleton_3d(hand.true_3d)),
            (f"predicted, aligned: {hand.error_mm:.1f} mm", draw_skeleton_3d(hand.predicted_3d)),
        )
        for ax, (title, picture) in zip(axes, pictures, strict=True):
            _show(ax, picture, title)
    return _pixels(figure)


def draw_projections(views: Image, before: NDArray[np.float32], after: NDArray[np.float32]) -> Image:
    """One row for each pair: its views, and their projections as points, before and after the inversion.

    Args:
        views: (B, 2, S, S, 3), RGB.
        before: (B, 2, P, 2), of unit length as vectors, as NT-Xent compares them.
        after: the same, after the inversion.
    """
    figure, grid = _grid(len(views), (1, 1, 1.2, 1.2))
    for number, axes in enumerate(grid):
        for view, ax in enumerate(axes[:2]):
            _show(ax, views[number, view], f"view {view + 1}")
        for ax, points, title in zip(axes[2:], (before[number], after[number]), ("before", "after"), strict=True):
            ax.plot(*points.transpose(2, 0, 1), color="#BBBBBB", linewidth=0.6, zorder=1)  # a line from point to point
            for view, style in enumerate((_FIRST, _SECOND)):
                ax.scatter(*points[view].T, s=10, linewidth=0.8, label=f"view {view + 1}", zorder=2, **style)
            ax.set_title(f"{title} the inversion: cosine {float((points[0] * points[1]).sum()):.3f}", fontsize=8)
            reach = 1.1 * float(np.abs(points).max())
            ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")  # y points down, as in views
            ax.tick_params(labelsize=6)
    grid[0][2].legend(fontsize=7, loc="upper left")
    figure.supxlabel("points: x and y of the projection divided by its length, without unit", fontsize=7)
    return _pixels(figure)


def _grid(rows: int, widths: Sequence[float]) -> tuple[Figure, NDArray[Any]]:
    figure = Figure((_INCHES * sum(widths), _INCHES * rows * 1.1), dpi=_DPI, layout="constrained")
    return figure, figure.subplots(rows, len(widths), width_ratios=list(widths), squeeze=False)


def _show(ax: Any, picture: Image, title: str) -> None:
    ax.imshow(picture)
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()


def _pixels(figure: Figure) -> Image:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types its canvas in part
    pixels = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(pixels[..., :3])
