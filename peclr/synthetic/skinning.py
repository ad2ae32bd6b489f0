"""The skin of the mean hand, and linear blend skinning that carries it along with the bones.

Between a bone and its parent stands a helper that turns half as far: with it skin keeps its volume at bent joints,
where plain blending of two bones would collapse. Arrays are channel-first.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from peclr.geometry.joints import FINGERS
from peclr.synthetic.anatomy import FIRST_SEGMENT, FOREARM, NUM_BONES, PALM, Skeleton
from peclr.synthetic.arrays import Floats, Floats32, Indices
from peclr.synthetic.implicit import (
    FOREARM_LENGTH,
    digit_distance,
    gradient,
    hand_distance,
    rest_skeleton,
    surface_nets,
)

# Half widths, mm, over which skin turns with a joint: each digit's three, and the wrist.
_BLEND_MM: Final = ((16.0, 10.0, 9.0), *((11.0, 8.5, 7.5),) * 4)
_WRIST_BLEND_MM: Final = 16.0
# Metres; between two digits a vertex follows both where their distances differ by less than about this.
_SHARE_WIDTH: Final = 0.0025
_MAX_INFLUENCES: Final = 5

_WRIST_HELPER: Final = NUM_BONES
_CHILDREN: Final = (FOREARM, *range(FIRST_SEGMENT, NUM_BONES))
_PARENTS: Final = (PALM, *(PALM if (bone - FIRST_SEGMENT) % 3 == 0 else bone - 1 for bone in _CHILDREN[1:]))
_HELPERS: Final = tuple(range(_WRIST_HELPER, _WRIST_HELPER + len(_CHILDREN)))


@dataclass(frozen=True)
class Skin:
    """The mean hand's surface in REST_POSE."""

    vertices: Floats32  # (3, V), m, hand frame
    normals: Floats32  # (3, V), outward
    faces: Indices  # (3, F), vertex indices, counter-clockwise seen from outside
    movers: Indices  # (5, V), the bones and helpers that move a vertex
    weights: Floats32  # (5, V), how much; they sum to one


@cache
def hand_skin(cell_mm: float) -> Skin:
    """The mean hand, polygonized on a grid of `cell_mm` millimetres (coarser along the forearm)."""
    cell = cell_mm / 1000
    hand = np.arange(-0.012, 0.205, cell)
    forearm = hand[0] - np.cumsum(cell * np.linspace(1, 5, 200))
    forearm = forearm[forearm > -FOREARM_LENGTH - 0.06]
    axes = (np.arange(-0.064, 0.105, cell), np.concatenate([forearm[::-1], hand]), np.arange(-0.05, 0.056, cell))
    vertices, faces = surface_nets(hand_distance, axes)
    for _ in range(2):  # from near the surface onto it
        vertices = vertices - hand_distance(vertices) * gradient(hand_distance, vertices)
    normals = gradient(hand_distance, vertices)
    movers, weights = _skin_weights(vertices)
    return Skin(vertices.astype(np.float32), normals.astype(np.float32), faces, movers, weights.astype(np.float32))


def deform(skin: Skin, vertices: Floats32, skeleton: Skeleton) -> tuple[Floats32, Floats32]:
    """Move rest vertices (3, V) with the bones: their places (3, V), m, and unit normals (3, V), hand frame."""
    linear, offset = _moves(skeleton)
    moves = np.concatenate([linear.reshape(-1, 9), offset], axis=1).T.astype(np.float32)
    blend = skin.weights[0] * moves.take(skin.movers[0], axis=1)
    for mover, weight in zip(skin.movers[1:], skin.weights[1:], strict=True):
        blend += weight * moves.take(mover, axis=1)
    (x, y, z), (u, v, w) = vertices, skin.normals
    moved = blend[0:9:3] * x + blend[1:9:3] * y + blend[2:9:3] * z + blend[9:]
    turned = blend[0:9:3] * u + blend[1:9:3] * v + blend[2:9:3] * w
    turned /= np.sqrt(np.maximum((turned**2).sum(axis=0), 1e-12))
    return moved, turned


def _skin_weights(vertices: Floats) -> tuple[Indices, Floats]:
    """Movers of each vertex: along each digit hat functions over its joints; across digits, the nearest one."""
    rest = rest_skeleton()
    dense = np.zeros((NUM_BONES + len(_CHILDREN), vertices.shape[1]))
    distance = np.stack([digit_distance(digit, vertices) for digit in range(len(FINGERS))])
    share = np.exp((distance.min(axis=0) - distance) / _SHARE_WIDTH)
    share /= share.sum(axis=0)

    side = np.clip(vertices[1] / (_WRIST_BLEND_MM / 1000), -1, 1)
    dense[FOREARM], dense[_WRIST_HELPER] = np.maximum(-side, 0), 1 - np.abs(side)
    beyond_wrist = np.maximum(side, 0)
    for digit in range(len(FINGERS)):
        mass = share[digit] * beyond_wrist
        # The thumb's parent bone, so to speak, runs from the wrist to its saddle joint.
        root = rest.origins[FIRST_SEGMENT]
        along_parent = np.array([0.0, 1.0, 0.0]) if digit else root / np.linalg.norm(root)
        for segment in range(3):
            bone = FIRST_SEGMENT + 3 * digit + segment
            along = rest.rotations[bone, :, 1]
            through = (along + along_parent) / np.linalg.norm(along + along_parent)
            side = np.einsum("i,iv->v", through, vertices - rest.origins[bone][:, None])
            side = np.clip(side / (_BLEND_MM[digit][segment] / 1000), -1, 1)
            dense[_PARENTS[_CHILDREN.index(bone)]] += mass * np.maximum(-side, 0)
            dense[_HELPERS[_CHILDREN.index(bone)]] += mass * (1 - np.abs(side))
            mass = mass * np.maximum(side, 0)
            along_parent = along
        dense[bone] += mass
    movers = np.argsort(-dense, axis=0, kind="stable")[:_MAX_INFLUENCES]
    weights = np.take_along_axis(dense, movers, axis=0)
    return movers, weights / weights.sum(axis=0)


def _moves(skeleton: Skeleton) -> tuple[Floats, Floats]:
    """Affine maps from rest to the posed hand, of bones and then helpers: (N, 3, 3) and (N, 3)."""
    rest = rest_skeleton()
    children, parents = list(_CHILDREN), list(_PARENTS)
    turns = skeleton.rotations @ rest.rotations.transpose(0, 2, 1)
    halves = turns[parents] @ _half_rotation(turns[parents].transpose(0, 2, 1) @ turns[children])
    scales = np.concatenate([skeleton.scales, (skeleton.scales[parents] + skeleton.scales[children]) / 2])
    axes = np.concatenate([rest.rotations, rest.rotations[children]])
    linear = np.concatenate([turns, halves]) @ (axes * scales[:, None, :]) @ axes.transpose(0, 2, 1)
    pivots = np.concatenate([rest.origins, rest.origins[children]])
    posed = np.concatenate([skeleton.origins, skeleton.origins[children]])
    return linear, posed - np.einsum("bij,bj->bi", linear, pivots)


def _half_rotation(rotation: Floats) -> Floats:
    """The rotations that, done twice, are `rotation` (N, 3, 3); angles below 180° (Rodrigues' formula)."""
    skew = (rotation - rotation.transpose(0, 2, 1)) / 2  # sin(angle) · [axis]×
    cosine = np.clip((np.trace(rotation, axis1=1, axis2=2) - 1) / 2, -1, 1)
    half_cosine = np.sqrt((1 + cosine) / 2)[:, None, None]
    skew = skew / np.maximum(2 * half_cosine, 1e-6)  # sin(angle / 2) · [axis]×
    halves: Floats = np.eye(3) + skew + skew @ skew / (1 + half_cosine)
    return halves
