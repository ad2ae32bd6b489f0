"""A scene: a place, a light and a person, shared by many hands; and the hand, its camera and what is in its way."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from peclr.synthetic.anatomy import FOREARM, Skeleton, Subject, about, sample_subject
from peclr.synthetic.arrays import Bytes, Floats, Floats32
from peclr.synthetic.backgrounds import paint_clutter, paint_green_screen
from peclr.synthetic.poses import sample_pose
from peclr.synthetic.props import Prop, sample_props
from peclr.synthetic.shading import Light, SkinTone, sample_light, sample_tone

# FreiHAND's image size, for which focal lengths are quoted.
_REFERENCE_SIZE: Final = 224
# Backgrounds are painted this much larger than an image, and each image shows another part.
_CANVAS: Final = 1.5
# Views in which the arm comes at the camera more than this, and would hide the hand, are drawn again.
_ARM_TOWARDS_CAMERA: Final = -0.6


@dataclass(frozen=True)
class Scene:
    """The light and the person that many hands share; paint_backdrop gives the place."""

    light: Light
    tone: SkinTone
    cloth: Floats32  # (3,), reflectance of the person's sleeve, linear RGB


@dataclass(frozen=True)
class Hand:
    """One hand in front of one camera: everything that its versions share."""

    subject: Subject
    skeleton: Skeleton  # its pose, hand frame
    rotation: Floats  # camera from hand, (3, 3)
    translation: Floats  # camera from hand, (3,), m
    K: Floats  # (3, 3), px
    joints: Floats  # (21, 3), m, camera frame, order freihand
    cuff: float  # where the sleeve ends, metres from the wrist (negative: on the forearm)
    band: float  # width of a wristband, m, in place of a sleeve if positive
    props: tuple[Prop, ...]  # things held or in front of the hand


@lru_cache(maxsize=128)
def make_scene(seed: int, series: int, index: int) -> Scene:
    """Scene `index` of a series; the same for everyone who asks with the same numbers."""
    rng = np.random.default_rng([seed, series, index])
    light, tone = sample_light(rng), sample_tone(rng)
    cloth = np.clip(rng.beta(1.2, 2.0) + rng.normal(0, 0.12, 3), 0.02, 0.85).astype(np.float32)
    return Scene(light, tone, cloth)


@lru_cache(maxsize=128)
def paint_backdrop(seed: int, series: int, index: int, size: int, *, green: bool) -> Bytes:
    """The place of scene `index`, or its green screen, for size × size images: a larger canvas (C, C, 3), RGB."""
    rng = np.random.default_rng([seed, series, index, 2 if green else 1])
    canvas = round(_CANVAS * size)
    return paint_green_screen(rng, canvas) if green else paint_clutter(rng, canvas)


def sample_hand(rng: np.random.Generator, size: int) -> Hand:
    """Draw a person, a pose, a view and a camera for a size × size image."""
    subject = sample_subject(rng)
    _, skeleton = sample_pose(rng, subject)
    rotation = _sample_rotation(rng)
    wrist_from_elbow = skeleton.rotations[FOREARM, :, 1]
    while -rotation[2] @ wrist_from_elbow < _ARM_TOWARDS_CAMERA:
        rotation = _sample_rotation(rng)
    focal = float(np.exp(rng.uniform(np.log(400), np.log(1000)))) * size / _REFERENCE_SIZE
    fill = rng.uniform(0.42, 0.74)
    principal = (size - 1) / 2 + size * rng.normal(0, 0.02, 2)
    target = (size - 1) / 2 + size * np.clip(rng.normal(0, 0.05, 2), -0.12, 0.12) * (1 - fill) / 0.4
    K = np.round(np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]]), 4)
    turned = skeleton.joints @ rotation.T
    translation = _fit(turned, K, fill * size, target)
    joints = turned + translation
    bare = rng.random() < 0.5
    cuff = float(-rng.uniform(0.03, 0.05) if bare else -rng.uniform(0.015, 0.11))
    band = float(rng.uniform(0.006, 0.02)) if bare and rng.random() < 0.3 else 0.0
    if bare and not band:
        cuff = -1.0
    props = sample_props(rng, skeleton, rotation, translation)
    return Hand(subject, skeleton, rotation, translation, K, joints, cuff, band, props)


def _sample_rotation(rng: np.random.Generator) -> Floats:
    """Camera from hand: palm or back to the camera, turned by N(0, 35°), tilted by N(0, 22°), in plane by N(0, 45°)."""
    turn, tilt, roll = np.radians(rng.normal(0, [35, 22, 45]))
    if rng.random() < 0.5:
        turn += np.pi  # the back
    upright = np.diag([1.0, -1.0, -1.0])  # fingers up, palm to the camera
    return about("z", roll) @ about("x", tilt) @ upright @ about("y", turn)


def _fit(points: Floats, K: Floats, extent: float, target: Floats) -> Floats:
    """The translation that makes points (P, 3) fill `extent` px around `target`, (2,) px."""
    center = (points.min(axis=0) + points.max(axis=0)) / 2
    translation: Floats = np.array([0, 0, K[0, 0] * np.ptp(points[:, :2], axis=0).max() / extent]) - center
    for _ in range(4):
        moved = points + translation
        pixels = moved[:, :2] / moved[:, 2:] * K[0, 0] + K[:2, 2]
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        depth = moved[:, 2].mean()
        translation[2] += depth * ((high - low).max() / extent - 1)
        translation[:2] += (target - (low + high) / 2) * depth / K[0, 0]
    return translation
