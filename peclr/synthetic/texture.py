"""What is painted on the skin: creases, nails, redness and mottling, once for the mean hand seen from both sides."""

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.geometry.joints import FINGERS
from peclr.synthetic.anatomy import FIRST_SEGMENT, MEAN_SUBJECT, about, articulate, thumb_pronation
from peclr.synthetic.arrays import Bytes, Floats, Floats32, fractal_noise
from peclr.synthetic.implicit import DIGIT_GIRTHS, REST_POSE, rest_skeleton
from peclr.synthetic.skinning import Skin, deform

# The atlas shows the flat hand at this scale; the palm stands right of the back.
_TEXEL: Final = 0.0004
_LEFT, _BOTTOM = -0.066, -0.070
_WIDTH, _HEIGHT = 440, 680
CREASE, REDNESS, NAIL, MOTTLE = range(4)
# Value of the nail's plate in channel NAIL; its free edge is brighter.
NAIL_PLATE: Final = 200


def texture_coordinates(skin: Skin) -> Floats32:
    """Places of vertices on the flat hand: (3, V), x and y in metres, and z of the normal (palm is positive)."""
    flat = articulate(MEAN_SUBJECT, REST_POSE)
    # Straighten the thumb's twist, so that its nail shows from the back like the others.
    flat.rotations[FIRST_SEGMENT : FIRST_SEGMENT + 3] @= about("y", thumb_pronation(REST_POSE.opposition))
    vertices, normals = deform(skin, skin.vertices, flat)
    return np.concatenate([vertices[:2], normals[2:]])


def look_up(coordinates: Floats32) -> Bytes:
    """Texels (4, N) at texture coordinates (3, N)."""
    column = ((coordinates[0] - np.float32(_LEFT)) * np.float32(1 / _TEXEL)).astype(np.int64)
    row = ((coordinates[1] - np.float32(_BOTTOM)) * np.float32(1 / _TEXEL)).astype(np.int64)
    column = np.clip(column, 0, _WIDTH - 1) + _WIDTH * (coordinates[2] > 0)
    # Four bytes at a time: memory is what this costs.
    texels = skin_atlas().view(np.uint32).take(np.clip(row, 0, _HEIGHT - 1) * (2 * _WIDTH) + column)
    channels: Bytes = texels.view(np.uint8).reshape(-1, 4).T
    return channels


@cache
def skin_atlas() -> Bytes:
    """(H, 2 W, 4): back and palm side by side; channels CREASE, REDNESS, NAIL, MOTTLE."""
    joints = rest_skeleton().joints[:, :2]
    back, palm = sides = np.zeros((2, 4, _HEIGHT, _WIDTH), np.uint8)
    _paint_palm_lines(palm)
    for digit in range(len(FINGERS)):
        _paint_digit(back, palm, joints[1 + 4 * digit : 5 + 4 * digit], digit)
    for side in sides:
        side[CREASE] = cv2.GaussianBlur(side[CREASE], (0, 0), 0.9)
        side[REDNESS] = cv2.GaussianBlur(side[REDNESS], (0, 0), 9)
        side[NAIL] = cv2.GaussianBlur(side[NAIL], (0, 0), 0.8)
        rng = np.random.default_rng(7)
        side[MOTTLE] = np.clip(128 + 90 * fractal_noise(rng, _HEIGHT, _WIDTH, cells=10, octaves=5), 0, 255)
    return np.ascontiguousarray(sides.transpose(2, 0, 3, 1).reshape(_HEIGHT, 2 * _WIDTH, 4))


def _texel(points_mm: Floats) -> NDArray[np.int32]:
    """Millimetres to texels with 4 fractional bits, as OpenCV draws them."""
    return np.round((np.asarray(points_mm) / 1000 - [_LEFT, _BOTTOM]) / _TEXEL * 16).astype(np.int32)


def _line(image: Bytes, points_mm: Floats, strength: int, width: int = 2) -> None:
    cv2.polylines(image, [_texel(points_mm)], False, strength, width, cv2.LINE_AA, 4)  # noqa: FBT003 (OpenCV's)


def _paint_palm_lines(palm: Bytes) -> None:
    lines = {
        "life": ([[30, 63], [21, 60], [11, 50], [5, 36], [4, 24], [8, 10]], 150, 4),
        "head": ([[30, 64], [18, 60], [4, 52], [-10, 46], [-22, 38]], 130, 3),
        "heart": ([[-36, 60], [-24, 61], [-10, 63], [3, 69], [9, 77]], 140, 4),
        "wrist": ([[-25, -2], [-8, -4], [10, -4], [25, -1]], 120, 3),
        "wrist, second": ([[-22, -10], [0, -12], [22, -9]], 70, 2),
    }
    for points, strength, width in lines.values():
        _line(palm[CREASE], _smooth_curve(np.array(points, float)), strength, width)
    for center, size, strength in (((22, 34), 16, 120), ((-27, 36), 14, 110), ((-8, 78), 14, 60), ((18, 80), 10, 60)):
        cv2.circle(palm[REDNESS], _texel(np.array(center)).tolist(), int(size * 16 / 0.4), strength, -1, cv2.LINE_AA, 4)


def _smooth_curve(points: Floats) -> Floats:
    """A finer polyline with rounded corners (Chaikin's corner cutting)."""
    for _ in range(3):
        cut = np.stack([0.75 * points[:-1] + 0.25 * points[1:], 0.25 * points[:-1] + 0.75 * points[1:]], axis=1)
        points = np.concatenate([points[:1], cut.reshape(-1, 2), points[-1:]])
    return points


def _paint_digit(back: Bytes, palm: Bytes, joints: Floats, digit: int) -> None:
    """Creases over the joints, knuckle wrinkles, the nail, and the color of pad and knuckles."""
    first, middle, last, tip = joints * 1000
    axis = (tip - last) / np.linalg.norm(tip - last)
    aside = np.array([axis[1], -axis[0]])
    half = 9.5 * (1.15 if digit == 0 else DIGIT_GIRTHS[digit])
    for joint, offsets in ((middle, (-1.2, 1.2)), (last, (0.0,))):
        for offset in offsets:
            _line(palm[CREASE], _across(joint + offset * axis, axis, aside, half, 0.5), 125, 3)
        for offset in (-3.2, -1.6, 0.0, 1.6, 3.2):
            wrinkle = _across(joint + offset * axis, axis, aside, 0.62 * half, 0.35 * offset)
            _line(back[CREASE], wrinkle, 95 - 14 * int(abs(offset)))
        cv2.circle(back[REDNESS], _texel(joint).tolist(), int(6 * 16 / 0.4), 130, -1, cv2.LINE_AA, 4)
    if digit:
        _line(palm[CREASE], _across(first + 19 * axis, axis, aside, half, 0.8), 130, 3)
        cv2.circle(back[REDNESS], _texel(first).tolist(), int(8 * 16 / 0.4), 110, -1, cv2.LINE_AA, 4)
    cv2.circle(palm[REDNESS], _texel(tip - 7 * axis).tolist(), int(7 * 16 / 0.4), 170, -1, cv2.LINE_AA, 4)

    length, width = (13.0, 6.6) if digit == 0 else (11.0 * DIGIT_GIRTHS[digit], 5.6 * DIGIT_GIRTHS[digit])
    outline = _nail_outline(tip - 0.5 * axis, axis, aside, length, width)
    cv2.fillPoly(back[NAIL], [_texel(outline)], NAIL_PLATE, cv2.LINE_AA, 4)
    free_edge = _nail_outline(tip - 0.5 * axis, axis, aside, 1.4, 0.9 * width)
    cv2.fillPoly(back[NAIL], [_texel(free_edge)], 255, cv2.LINE_AA, 4)
    _line(back[CREASE], np.vstack([outline, outline[:1]]), 150, 2)


def _across(center: Floats, axis: Floats, aside: Floats, half: float, bow: float) -> Floats:
    """A short arc across a finger."""
    t = np.linspace(-1, 1, 7)[:, None]
    return center + half * t * aside + bow * (1 - t**2) * axis


def _nail_outline(end: Floats, axis: Floats, aside: Floats, length: float, width: float) -> Floats:
    """A rounded rectangle from the nail's free edge back by `length`; `width` is half of its width."""
    angle = np.linspace(0, 2 * np.pi, 25)[:-1, None]
    x, y = np.cos(angle), np.sin(angle)
    # A superellipse: straighter sides than an ellipse has.
    x, y = np.sign(x) * np.abs(x) ** 0.6, np.sign(y) * np.abs(y) ** 0.7
    return end - 0.5 * length * axis + width * x * aside + 0.5 * length * y * axis
