"""Triangles around an implicit surface: naive surface nets (Gibson 1998) on a rectilinear grid."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from peclr.synthetic.arrays import Floats, Indices


def surface_nets(distance: Callable[[Floats], Floats], axes: tuple[Floats, Floats, Floats]) -> tuple[Floats, Indices]:
    """Polygonize the zero set of `distance`.

    Args:
        distance: maps points (3, …) to values (…), negative inside.
        axes: ascending grid lines along x, y and z; spacings may vary. The surface must not leave the grid.

    Returns:
        Vertices (3, V), close to the surface but not on it, and triangles (3, F), counter-clockwise from outside.
    """
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    values = distance(grid)
    inside = values < 0

    # One vertex in every cell that the surface crosses: the mean of where it crosses the cell's edges.
    total = np.zeros((3, *(n - 1 for n in values.shape)))
    count = np.zeros(total.shape[1:], np.int64)
    for axis in range(3):
        low, high = _slab(axis, 0, -1), _slab(axis, 1, None)
        crossing = inside[low] != inside[high]
        fraction = values[low] / np.where(crossing, values[low] - values[high], np.inf)
        points = grid[(slice(None), *low)] + fraction * (grid[(slice(None), *high)] - grid[(slice(None), *low)])
        points *= crossing
        for corner in product((0, 1), repeat=2):
            edges = _parallel_edges(axis, corner, values.shape)
            total += points[(slice(None), *edges)]
            count += crossing[edges]
    occupied = count > 0
    index = np.full(count.shape, -1)
    index[occupied] = np.arange(np.count_nonzero(occupied))
    return total[:, occupied] / count[occupied], _triangles(inside, index)


def _slab(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if i == axis else slice(None) for i in range(3))


def _parallel_edges(axis: int, corner: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """One of every cell's four edges along `axis`."""
    offset = list(corner)
    offset.insert(axis, 0)
    return tuple(slice(None) if i == axis else slice(offset[i], shape[i] - 1 + offset[i]) for i in range(3))


def _triangles(inside: NDArray[np.bool_], index: Indices) -> Indices:
    """Two triangles through the four cells around every grid edge that the surface crosses."""
    triangles = []
    for axis in range(3):
        u, v = np.eye(3, dtype=np.int64)[[(axis + 1) % 3, (axis + 2) % 3], :, None]
        starts_inside = inside[_slab(axis, 0, -1)]
        edges = np.stack(np.nonzero(starts_inside != inside[_slab(axis, 1, None)]))
        # Counter-clockwise seen from the edge's far end, which is right if that end is outside.
        ring = np.stack([index[tuple(edges - back)] for back in (u + v, v, 0 * u, u)])
        outwards = starts_inside[tuple(edges)]
        ring = np.where(outwards, ring, ring[::-1])
        triangles += [ring[[0, 1, 2]], ring[[0, 2, 3]]]
    return np.concatenate(triangles, axis=1)
