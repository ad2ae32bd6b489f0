"""A z-buffer for small triangles, vectorized over all of them at once.

Arrays are channel-first, (channels, items): NumPy's inner loops then run over the many items.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from peclr.synthetic.arrays import Floats32, Indices

# Pixels: triangles are drawn this much too wide, so that rounding leaves no holes between neighbors.
_SLACK: Final = 1e-3


@dataclass(frozen=True)
class Fragments:
    """The nearest triangle at every covered pixel."""

    pixels: Indices  # (N,), flat index y · size + x, ascending
    inverse_depth: Floats32  # (N,), 1/m
    corners: Indices  # (3, N), the vertices of the triangle that is seen
    weights: Floats32  # (3, N), their perspective-correct barycentric weights

    def interpolate(self, attributes: Floats32) -> Floats32:
        """Vertex attributes (A, V) at every fragment: (A, N)."""
        value: Floats32 = attributes.take(self.corners[0], axis=1) * self.weights[0]
        for corner, weight in zip(self.corners[1:], self.weights[1:], strict=True):
            value += attributes.take(corner, axis=1) * weight
        return value


def rasterize(points: Floats32, inverse_depth: Floats32, faces: Indices, size: int) -> Fragments:
    """Draw the triangles that face the camera into a size × size image.

    Args:
        points: (2, V), px, pixel centers at integers.
        inverse_depth: (V,), 1/m; where it is not positive (behind the camera) triangles are left out.
        faces: (3, F); counter-clockwise seen from outside, so that front faces have a negative area in pixels.
    """
    x, y = points[0].take(faces), points[1].take(faces)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    top, bottom = np.ceil(y.min(axis=0)), np.floor(y.max(axis=0))
    visible = (area < -1e-6) & (bottom >= 0) & (top <= size - 1) & (bottom >= top)
    visible &= (x.max(axis=0) >= 0) & (x.min(axis=0) <= size - 1) & (inverse_depth.take(faces).min(axis=0) > 0)
    kept = np.flatnonzero(visible)
    faces, x, y, area = faces[:, kept], x[:, kept], y[:, kept], area[kept]
    first_row = np.maximum(top[kept], 0).astype(np.int64)
    rows = np.minimum(bottom[kept], size - 1).astype(np.int64) - first_row + 1

    # Barycentric weights are planes a·x + b·y + c over the image: (3, F) each.
    following, after = [1, 2, 0], [2, 0, 1]
    a = (y[following] - y[after]) / area
    b = (x[after] - x[following]) / area
    c = (x[following] * y[after] - x[after] * y[following]) / area

    # One span per triangle and row, from where the last weight turns positive to where the first turns negative.
    triangle, row = _runs(first_row, rows)
    slope = a[:, triangle]
    edge = -(b[:, triangle] * row.astype(np.float32) + c[:, triangle])
    with np.errstate(divide="ignore", invalid="ignore"):
        edge /= slope
    left = np.where(slope > 0, edge, -np.inf).max(axis=0) - _SLACK
    right = np.where(slope < 0, edge, np.inf).min(axis=0) + _SLACK
    first = np.clip(np.ceil(left), 0, size).astype(np.int64)
    length = np.clip(np.floor(right), -1, size - 1).astype(np.int64) - first + 1

    span, column = _runs(first, np.maximum(length, 0))
    triangle, row = triangle[span], row[span]
    pixels = row * size + column
    at_x, at_y = column.astype(np.float32), row.astype(np.float32)
    corners = faces.take(triangle, axis=1)
    weights = a.take(triangle, axis=1) * at_x + b.take(triangle, axis=1) * at_y + c.take(triangle, axis=1)
    weights *= inverse_depth.take(corners)
    return _nearest(pixels, weights[0] + weights[1] + weights[2], corners, weights, size)


def _runs(start: Indices, length: Indices) -> tuple[Indices, Indices]:
    """Concatenated ranges start … start + length − 1: which range each item is of, and the item."""
    owner = np.repeat(np.arange(len(start)), length)
    before = np.cumsum(length) - length
    return owner, np.arange(len(owner)) + (start - before)[owner]


def _nearest(pixels: Indices, inverse_depth: Floats32, corners: Indices, weights: Floats32, size: int) -> Fragments:
    """The fragment with the largest inverse depth at every pixel."""
    nearest = np.zeros(size * size, np.float32)
    np.maximum.at(nearest, pixels, inverse_depth)
    # Where triangles meet two fragments may tie: the later one stays, so that a pixel appears once.
    winner = np.full(size * size, -1)
    seen = np.flatnonzero(nearest[pixels] == inverse_depth)
    winner[pixels[seen]] = seen
    covered = np.flatnonzero(winner >= 0)
    chosen = winner[covered]
    depth = inverse_depth[chosen]
    return Fragments(covered, depth, corners.take(chosen, axis=1), weights.take(chosen, axis=1) / depth)
