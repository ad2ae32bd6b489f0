"""Things held by the hand or standing before it: rods, balls and cards, traced exactly and depth-tested."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from peclr.geometry.joints import FINGERS, JOINT_NAMES
from peclr.synthetic.anatomy import Skeleton
from peclr.synthetic.arrays import Floats, Floats32, Indices
from peclr.synthetic.shading import Light, shade

# Of the four fingers that close around a thing.
_MCPS, _PIPS, _TIPS = (
    [JOINT_NAMES.index(f"{finger}_{part}") for finger in FINGERS[1:]] for part in ("mcp", "pip", "tip")
)
_HELD, _BEFORE = 0.22, 0.18
_STRIPE: Final = 0.028
# Nothing closer to the camera is drawn, m; axes shorter than the root of this make a ball, m².
_NEAREST: Final = 0.02
_BALL: Final = 1e-8


@dataclass(frozen=True)
class Prop:
    """A capsule between two points, or a ball where they coincide; camera frame, metres."""

    near: Floats  # (3,), the ends of its axis
    far: Floats
    radius: float
    colors: Floats32  # (2, 3), reflectances, linear RGB, in bands along the axis
    gloss: float  # strength of its highlight


def sample_props(
    rng: np.random.Generator, skeleton: Skeleton, rotation: Floats, translation: Floats
) -> tuple[Prop, ...]:
    """Nothing for most hands; otherwise something in a closed hand, or something between it and the camera."""
    chance = rng.random()
    if chance < _HELD:
        return _held(rng, skeleton, rotation, translation)
    if chance < _HELD + _BEFORE:
        return (_before(rng, skeleton, rotation, translation),)
    return ()


def _held(rng: np.random.Generator, skeleton: Skeleton, rotation: Floats, translation: Floats) -> tuple[Prop, ...]:
    joints = skeleton.joints
    tips = joints[_TIPS]
    reach = np.linalg.norm(tips - joints[_MCPS], axis=1).mean()
    if reach > 0.072:  # an open hand holds nothing
        return ()
    center = (joints[_MCPS].mean(axis=0) + joints[_PIPS].mean(axis=0) + 2 * tips.mean(axis=0)) / 4
    room = np.linalg.norm(joints[_PIPS + _TIPS] - center, axis=1).min()
    axis = np.array([1.0, rng.normal(0, 0.25), rng.normal(0, 0.15)])
    axis /= np.linalg.norm(axis)
    radius = float(np.clip(room - 0.008, 0.005, 0.03) * rng.uniform(0.8, 1.0))
    before, behind = (0.0, 0.0) if rng.random() < 0.3 and radius > 0.015 else rng.uniform(0.05, 0.14, 2)
    ends = [center + shift * axis for shift in (-before, behind)]
    return (_prop(rng, ends[0] @ rotation.T + translation, ends[1] @ rotation.T + translation, radius),)


def _before(rng: np.random.Generator, skeleton: Skeleton, rotation: Floats, translation: Floats) -> Prop:
    """A rod or a ball, well in front, across a random joint or beside the hand."""
    joints = skeleton.joints @ rotation.T + translation
    depth = joints[:, 2].min() * rng.uniform(0.72, 0.88)
    through = joints[rng.integers(len(joints))]
    point = through * (depth / through[2])
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(angle), np.sin(angle), rng.normal(0, 0.2)])
    if rng.random() < 0.35:
        away = point[:2] - joints[:, :2].mean(axis=0) * depth / joints[:, 2].mean()
        point[:2] += away * 0.6
        return _prop(rng, point, point, float(rng.uniform(0.008, 0.017)))
    start = point - axis * 0.01
    return _prop(rng, start, start + axis * rng.uniform(0.12, 0.4), float(rng.uniform(0.003, 0.011)))


def _prop(rng: np.random.Generator, near: Floats, far: Floats, radius: float) -> Prop:
    colors = np.clip(rng.beta(1, 1.4, (2, 1)) + rng.normal(0, 0.16, (2, 3)), 0.02, 0.9).astype(np.float32)
    if rng.random() < 0.75:
        colors[1] = colors[0]
    return Prop(near, far, radius, colors, float(rng.uniform(0.05, 0.5)))


def draw_prop(prop: Prop, K: Floats, size: int, light: Light) -> tuple[Indices, Floats32, Floats32]:
    """Trace a prop: the pixels it covers (N,), their inverse depth (N,), 1/m, and colors (3, N) in [0, 1]."""
    left, top, right, bottom = _bounds(prop, K, size)
    y, x = (np.asarray(steps.ravel(), np.int64) for steps in np.mgrid[top:bottom, left:right])
    rays: Floats32 = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(x.size)]).astype(np.float32)
    depth, along = _hit(rays, prop)
    hit = np.flatnonzero(np.isfinite(depth))
    rays, depth, along = rays[:, hit], depth[hit], along[hit]
    near = prop.near.astype(np.float32)[:, None]
    axis = (prop.far - prop.near).astype(np.float32)[:, None]
    normals = ((rays * depth - near - along * axis) / prop.radius).astype(np.float32)
    band = np.floor(along * np.float32(np.linalg.norm(axis) / _STRIPE)).astype(np.int64) & 1
    openness = np.ones((2, hit.size), np.float32)
    gloss = np.full(hit.size, prop.gloss, np.float32)
    colors = shade(normals, prop.colors.T.take(band, axis=1), openness, gloss, light)
    pixels: Indices = y[hit] * size + x[hit]
    return pixels, np.reciprocal(depth), colors


def _bounds(prop: Prop, K: Floats, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that a prop may cover (ends excluded)."""
    ends = np.stack([prop.near, prop.far])
    nearest = ends[:, 2].min() - prop.radius
    if nearest < _NEAREST:
        return 0, 0, 0, 0
    centers = ends[:, :2] / ends[:, 2:] * K[0, 0] + K[:2, 2]
    margin = 1.5 * prop.radius / nearest * K[0, 0] + 1
    left, top = np.clip(np.floor(centers.min(axis=0) - margin), 0, size).astype(int)
    right, bottom = np.clip(np.ceil(centers.max(axis=0) + margin), 0, size).astype(int)
    return left, top, right, bottom


def _hit(rays: Floats32, prop: Prop) -> tuple[Floats32, Floats32]:
    """Depth at which rays (3, N) from the camera first meet a capsule (inf: never), and where along its axis."""
    near, axis = prop.near.astype(np.float32), (prop.far - prop.near).astype(np.float32)
    depth = np.full(rays.shape[1], np.inf, np.float32)
    along = np.zeros(rays.shape[1], np.float32)
    square = float(axis @ axis)
    if square > _BALL:
        # The endless cylinder: what remains of rays and origin without the axis' direction.
        ray_along = (axis[0] * rays[0] + axis[1] * rays[1] + axis[2] * rays[2]) / square
        start_along = -float(near @ axis) / square
        reach = _root(rays - ray_along * axis[:, None], -near - start_along * axis, prop.radius)
        position = start_along + np.where(np.isfinite(reach), reach, 0) * ray_along
        within = (position >= 0) & (position <= 1)
        depth[within], along[within] = reach[within], position[within]
    for end, position in ((near, 0.0), (near + axis, 1.0)):
        cap = _root(rays, -end, prop.radius)
        along[cap < depth] = position
        depth = np.minimum(depth, cap)
    return depth, along


def _root(directions: Floats32, start: Floats32, radius: float) -> Floats32:
    """The smaller t with |start + t · direction| = radius; inf where there is none."""
    (x, y, z), (p, q, r) = directions, start
    a = x * x + y * y + z * z
    b = p * x + q * y + r * z
    inside = b * b - a * np.float32(start @ start - radius**2)
    return np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf).astype(np.float32)
