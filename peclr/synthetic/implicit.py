"""The shape of the mean hand at rest, a smooth union of tapered capsules, and triangles around implicit surfaces.

Palm, forearm, webs and digits melt together, so that fingers grow out of the palm. Points are channel-first, (3, …).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

import numpy as np

from peclr.geometry.joints import FINGERS
from peclr.synthetic.anatomy import FIRST_SEGMENT, MEAN_SUBJECT, Pose, Skeleton, articulate
from peclr.synthetic.arrays import Floats, Indices, Mask

# The pose in which the surface is made: straight fingers, far enough apart not to melt together.
_SPREAD: Final = np.array([42.0, 10.0, 1.0, -8.0, -17.0])
REST_POSE: Final = Pose(np.zeros((5, 3)), _SPREAD, 14.0, np.zeros(2))
FOREARM_LENGTH: Final = 0.30

# Radii in millimetres at seven stations of a digit: root, mid segment, joint, mid segment, joint, pad, tip.
_THUMB_RADII: Final = (13.5, 12.9, 12.6, 11.5, 11.6, 11.0, 8.8)
_FINGER_RADII: Final = (11.2, 10.0, 10.0, 9.0, 8.9, 8.6, 7.2)
DIGIT_GIRTHS: Final = (1.0, 1.0, 1.02, 0.96, 0.85)


@dataclass(frozen=True)
class _Part:
    """Tapered capsules that melt together."""

    capsules: Floats  # (N, 8), mm: near end, far end, radius at either
    reach: float  # mm, how widely they melt into one another
    reach_outside: float  # mm, how widely they melt into the parts before


@cache
def rest_skeleton() -> Skeleton:
    """The mean hand in REST_POSE."""
    return articulate(MEAN_SUBJECT, REST_POSE)


def hand_distance(points: Floats) -> Floats:
    """Distance from points (3, …), m, to the skin of the mean hand in REST_POSE: m, negative inside."""
    rest = rest_skeleton()
    joints = rest.joints * 1000
    thumb_mcp = joints[2]
    index, middle, ring, little = (joints[1 + 4 * digit] for digit in range(1, 5))
    palm = [
        [14, 8, -1, *index, 13.5, 12.0],
        [4, 6, -2, *middle, 13.0, 12.0],
        [-6, 6, -1, *ring, 12.0, 11.2],
        [-14, 8, 1, *little, 11.5, 10.3],
        # thenar: the thumb's muscles from the wrist to its MCP, and the skin between thumb and index
        [18, 10, 9, *np.add(thumb_mcp, [-8, -6, 2]), 15, 11],
        [12, 14, 10, *np.add(thumb_mcp, [-16, -2, 2]), 14, 9],
        [24, 38, 4, 30, 62, 1, 10, 7.5],
        # hypothenar: the pad below the little finger
        [-17, 10, 7, -27, 52, 8, 14, 11],
        # the shallow hollow of the palm, and the flat pads below the fingers
        [8, 30, 4, 14, 70, 3, 11, 11],
        [-6, 30, 4, -8, 68, 4, 11, 11],
        [*np.add(index, [-1, 2, 2]), *np.add(middle, [0, 2, 3]), 10, 10],
        [*np.add(middle, [0, 2, 3]), *np.add(little, [1, 4, 1]), 10, 9],
    ]
    end = -1000 * FOREARM_LENGTH
    forearm = [
        [10, 18, 0, 13, -70, 0, 14.5, 21.5],
        [-9, 18, 0, -13, -70, 0, 13.5, 21],
        [13, -70, 0, 16, end, 0, 21.5, 32],
        [-13, -70, 0, -16, end, 0, 21, 31],
    ]
    # Fingers part about 13 mm beyond their knuckles.
    commissures = joints[1::4] + 13 * rest.rotations[FIRST_SEGMENT::3, :, 1] + [0, 0, 1.5]
    webs = [[*commissures[digit], *commissures[digit + 1], 7.5, 7.5] for digit in (1, 2, 3)]
    body = [_Part(np.array(palm), 10, 0), _Part(np.array(forearm), 10, 14), _Part(np.array(webs), 3, 6)]
    digits = [_Part(_digit_capsules(rest, digit), 0.8, 4) for digit in range(len(FINGERS))]
    return _signed_distance(body + digits, points)


def digit_distance(digit: int, points: Floats) -> Floats:
    """Distance from points (3, …), m, to one digit and its metacarpal, in REST_POSE: m."""
    rest = rest_skeleton()
    root = rest.joints[1 + 4 * digit] * 1000
    start = root * [0.9, 0.9, 0.9] if digit == 0 else root * [0.5, 0.1, 1.0]
    radius = 12.0 if digit == 0 else 10.0
    capsules = np.vstack([[*start, *root, radius, radius], _digit_capsules(rest, digit)])
    return _signed_distance([_Part(capsules, 0.1, 0.1)], points)


def gradient(distance: Callable[[Floats], Floats], points: Floats) -> Floats:
    """Unit gradient (3, N) of an implicit surface by central differences."""
    step = 2e-4
    shifts = step * np.eye(3)[:, :, None]
    slopes = np.stack([distance(points + shift) - distance(points - shift) for shift in shifts])
    unit: Floats = slopes / np.maximum(np.sqrt((slopes**2).sum(axis=0)), 1e-12)
    return unit


def _digit_capsules(rest: Skeleton, digit: int) -> Floats:
    """Six tapered capsules along a digit; flesh hangs a little to the palm side between the joints."""
    first, second, third, tip = rest.joints[1 + 4 * digit : 5 + 4 * digit] * 1000
    bone = FIRST_SEGMENT + 3 * digit
    palmar = rest.rotations[bone : bone + 3, :, 2]
    radii = np.array(_THUMB_RADII if digit == 0 else _FINGER_RADII) * DIGIT_GIRTHS[digit]
    # The tip's keypoint lies just under the skin.
    end = tip - (radii[-1] - 0.8) * rest.rotations[bone + 2, :, 1]
    stations = [
        first,
        (first + second) / 2 + 1.0 * palmar[0],
        second,
        (second + third) / 2 + 0.8 * palmar[1],
        third,
        (third + end) / 2 + 0.6 * palmar[2],
        end,
    ]
    return np.array([[*stations[i], *stations[i + 1], radii[i], radii[i + 1]] for i in range(6)])


def _signed_distance(parts: list[_Part], points: Floats) -> Floats:
    """Smooth union of all parts at points (3, …), m: m."""
    points = points * 1000
    total: Floats | None = None
    for part in parts:
        value = _capsule_distance(points, part.capsules[0])
        for capsule in part.capsules[1:]:
            value = _smooth_minimum(value, _capsule_distance(points, capsule), part.reach)
        total = value if total is None else _smooth_minimum(total, value, part.reach_outside)
    assert total is not None
    return total / 1000


def _capsule_distance(points: Floats, capsule: Floats) -> Floats:
    (x, y, z), axis = (points[i] - capsule[i] for i in range(3)), capsule[3:6] - capsule[:3]
    along = (axis[0] * x + axis[1] * y + axis[2] * z) * (1 / (axis @ axis))
    along = np.minimum(np.maximum(along, 0), 1)
    square = (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (z - along * axis[2]) ** 2
    distance: Floats = np.sqrt(square) - capsule[6] - along * (capsule[7] - capsule[6])
    return distance


def _smooth_minimum(a: Floats, b: Floats, reach: float) -> Floats:
    """Polynomial smooth minimum (Quílez): the union rounds off where a and b are within `reach` of each other."""
    overlap = np.maximum(reach - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap * (0.25 / reach)


def surface_nets(distance: Callable[[Floats], Floats], axes: tuple[Floats, Floats, Floats]) -> tuple[Floats, Indices]:
    """Polygonize the zero set of `distance`, negative inside, by naive surface nets (Gibson 1998).

    It must not leave the grid, whose ascending lines along x, y and z are `axes`; spacings may vary. Out come vertices
    (3, V), close to the surface but not on it, and triangles (3, F), counter-clockwise from outside.
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
            starts = np.insert(corner, axis, 0)  # of one of every cell's four edges along the axis
            edges = tuple(slice(start, start + cells) for start, cells in zip(starts, count.shape, strict=True))
            total += points[(slice(None), *edges)]
            count += crossing[edges]
    occupied = count > 0
    index = np.full(count.shape, -1)
    index[occupied] = np.arange(np.count_nonzero(occupied))
    return total[:, occupied] / count[occupied], _triangles(inside, index)


def _slab(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if i == axis else slice(None) for i in range(3))


def _triangles(inside: Mask, index: Indices) -> Indices:
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
