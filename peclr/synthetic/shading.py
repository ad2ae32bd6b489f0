"""How skin, cloth and things look: light, skin tones, ambient occlusion and soft shadows between the digits."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from peclr.synthetic.anatomy import Skeleton, Subject
from peclr.synthetic.arrays import Floats32, Mask
from peclr.synthetic.implicit import DIGIT_GIRTHS
from peclr.synthetic.texture import NAIL_PLATE, look_up

# Reflectance (linear RGB) of the back of a very light and a very dark hand; tones between them mix as pigments do.
_LIGHTEST: Final = np.array([0.80, 0.56, 0.43])
_DARKEST: Final = np.array([0.125, 0.060, 0.035])
# Light enters skin and leaves it elsewhere, red furthest: shadows on skin have soft, reddish edges.
_WRAP: Final = np.array([0.42, 0.26, 0.20], dtype=np.float32)
# The balls that stand for a digit: on which segment, where along it, and how large (m).
_BALL_SEGMENTS: Final = [0, 0, 0, 1, 1, 2, 2]
_BALL_FRACTIONS: Final = (0.33, 0.67, 1.0, 0.5, 1.0, 0.5, 0.9)
_BALL_RADII: Final = (0.0102, 0.0098, 0.0096, 0.0090, 0.0088, 0.0083, 0.0072)


@dataclass(frozen=True)
class Light:
    """One soft lamp and a sky, linear RGB (3,); directions in the camera frame."""

    direction: Floats32  # (3,), unit, toward the lamp
    lamp: Floats32
    sky: Floats32  # ambient light from above
    ground: Floats32  # and from below


@dataclass(frozen=True)
class SkinTone:
    """Reflectances, linear RGB (3,), and how much is seen of creases and mottling."""

    back: Floats32
    palm: Floats32
    nail: Floats32
    relief: float
    gloss: float


def sample_light(rng: np.random.Generator) -> Light:
    """A lamp from above or the side, in front of the hand, of some color, and a sky to go with it."""
    azimuth, elevation = np.radians(rng.uniform(-75, 75)), np.radians(rng.uniform(-10, 70))
    level = np.cos(elevation)
    direction = np.array([np.sin(azimuth) * level, -np.sin(elevation), -np.cos(azimuth) * level], np.float32)
    warmth = rng.normal(0, 0.10)
    cast = np.array([1 + warmth, 1 + rng.normal(0, 0.025), 1 - warmth])
    shift = rng.normal(0, 0.06)
    balance = np.array([1 + shift, 1, 1 - shift])  # the camera's, on everything
    exposure = float(np.clip(rng.normal(1.12, 0.16), 0.8, 1.5))
    ambient = rng.uniform(0.28, 0.5)
    lamp = exposure * (1.22 - ambient) * cast * balance
    sky = exposure * ambient * (2 - cast) * balance
    ground = sky * rng.uniform(0.45, 0.85) * (1 + rng.normal(0, 0.05, 3))
    return Light(direction, lamp.astype(np.float32), sky.astype(np.float32), ground.astype(np.float32))


def sample_tone(rng: np.random.Generator) -> SkinTone:
    """A person's skin."""
    melanin = rng.beta(0.9, 1.7)
    back = _LIGHTEST ** (1 - melanin) * _DARKEST**melanin * (1 + rng.normal(0, [0.03, 0.04, 0.06]))
    inner = 0.6 * melanin - 0.04
    palm = _LIGHTEST ** (1 - inner) * _DARKEST**inner * np.array([1.03, 0.95, 0.94])
    nail = 0.5 * palm + 0.5 * np.array([0.74, 0.50, 0.44])
    relief, gloss = rng.uniform(0.45, 1.0), rng.uniform(0.04, 0.16)
    return SkinTone(back.astype(np.float32), palm.astype(np.float32), nail.astype(np.float32), relief, gloss)


def openness(
    vertices: Floats32, normals: Floats32, skeleton: Skeleton, subject: Subject, towards_lamp: Floats32
) -> Floats32:
    """Openness of vertices to the sky and to the lamp, with the hand made of balls: (2, V) in [0, 1]; hand frame.

    A ball hides the share cos θ · (r/d)² of a surface element's sky (Quílez, "sphere ambient occlusion"), and the lamp
    as far as it reaches into the line of sight.
    """
    centers, radii = _balls(skeleton, subject)
    x, y, z = (centers[i][:, None] - vertices[i] for i in range(3))
    square = x * x + y * y + z * z
    facing = x * normals[0] + y * normals[1] + z * normals[2]
    hidden = np.maximum(facing, 0) * (radii * radii)[:, None] / (square * np.sqrt(square) + 1e-12)
    sky = np.exp(-0.9 * np.minimum(hidden, 1).sum(axis=0))

    ahead = x * towards_lamp[0] + y * towards_lamp[1] + z * towards_lamp[2]
    aside = np.sqrt(np.maximum(square - ahead * ahead, 0)) / radii[:, None]
    blocked = np.clip(1.3 - aside, 0, 1) * np.clip(ahead / radii[:, None] - 0.6, 0, 1)
    return np.stack([sky, 1 - 0.9 * blocked.max(axis=0)])


def _balls(skeleton: Skeleton, subject: Subject) -> tuple[Floats32, Floats32]:
    """Balls along the digits and in the palm: centers (3, S) and radii (S,), m."""
    digits = skeleton.joints[1:].reshape(5, 4, 3)
    near, far = (digits[:, ends] for ends in (_BALL_SEGMENTS, [segment + 1 for segment in _BALL_SEGMENTS]))
    along = near + np.array(_BALL_FRACTIONS)[:, None] * (far - near)
    knuckles = digits[1:, 0]
    palm = np.concatenate([knuckles, 0.55 * knuckles, 0.2 * knuckles[1:3]])
    girths = subject.girths * [1.2, *DIGIT_GIRTHS[1:]]
    on_digits = np.outer(girths, _BALL_RADII).ravel()
    radii = np.concatenate([on_digits, np.full(len(palm), 0.0125 * subject.palm_scale[2])])
    return np.concatenate([along.reshape(-1, 3), palm]).T.astype(np.float32), radii.astype(np.float32)


def shade_hand(values: Floats32, light: Light, tone: SkinTone, cloth: Floats32, wears: Mask) -> Floats32:
    """Colors (3, N), gamma-encoded in [0, 1], of skin and, where it `wears` any (N,), cloth.

    `values` (8, N) are unit normals in the camera frame, texture coordinates, and openness to the sky and the lamp.
    """
    normals, coordinates, openness = values[:3], values[3:6], values[6:]
    crease, redness, nail, mottle = look_up(coordinates).astype(np.float32) * np.float32(1 / 255)
    palmar = np.clip(0.5 + 1.6 * coordinates[2], 0, 1)
    relief = (1 + 0.3 * tone.relief * (mottle - 0.5)) * (1 - 0.6 * tone.relief * crease)
    bloodless = 1 - 0.24 * redness
    plate = np.minimum(nail * np.float32(255 / NAIL_PLATE), 1)
    free_edge = np.float32(0.5) * np.maximum(nail - np.float32(NAIL_PLATE / 255), 0)
    albedo = np.empty_like(normals)
    for channel in range(3):
        value = tone.back[channel] + palmar * (tone.palm[channel] - tone.back[channel])
        if channel:  # blood takes green and blue away
            value *= bloodless
        value += plate * (tone.nail[channel] - value)
        value += free_edge
        value *= relief
        value[wears] = cloth[channel]
        albedo[channel] = value
    gloss = np.where(wears, np.float32(0), np.float32(tone.gloss) + np.float32(0.25) * plate)
    return shade(normals, albedo, openness, gloss, light)


def shade(normals: Floats32, albedo: Floats32, openness: Floats32, gloss: Floats32, light: Light) -> Floats32:
    """Soft Lambert, a sky and a soft highlight on surfaces (3, N): gamma-encoded colors (3, N)."""
    sky, lamp = openness
    lambert = _dot(light.direction, normals)
    # Edges see less of what is in front of them: a little darkening keeps overlapping fingers apart.
    ambient = sky * (0.72 - 0.28 * normals[2])
    upward = 0.5 - 0.5 * normals[1]
    halfway = light.direction + np.array([0, 0, -1], np.float32)
    highlight = np.maximum(_dot(halfway / np.linalg.norm(halfway), normals), 0)
    for _ in range(4):  # to the 16th power
        highlight *= highlight
    highlight *= gloss * lamp
    color = np.empty_like(albedo)
    for channel in range(3):
        diffuse = np.maximum(lambert + _WRAP[channel], 0) * (1 / (1 + _WRAP[channel]))
        value = light.ground[channel] + upward * (light.sky[channel] - light.ground[channel])
        value *= ambient
        value += (lamp * light.lamp[channel]) * diffuse
        value *= albedo[channel]
        value += highlight * light.lamp[channel]
        color[channel] = value
    return np.sqrt(np.clip(color, 0, 1))


def _dot(direction: Floats32, vectors: Floats32) -> Floats32:
    product: Floats32 = direction[0] * vectors[0] + direction[1] * vectors[1] + direction[2] * vectors[2]
    return product
