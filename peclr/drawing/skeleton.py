"""Skeletons, over images and in 3-D: bones and colors come from the joint registry, so they fit the order."""

from collections.abc import Sequence
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from peclr.geometry.joints import BONE_COLORS, BONES, NUM_JOINTS

# OpenCV draws at fixed-point coordinates: 4 fractional bits place a joint to 1/16 px …
_FRACTION_BITS: Final = 4
# … which overflow far outside the image
_FARTHEST: Final = 2**14
_OUTLINE = (20, 20, 20)
_PAPER, _TEXT, _LINE = 255, (60, 60, 60), (190, 190, 190)


def draw_skeleton(image: NDArray[np.uint8], joints_2d: NDArray[np.floating], enlarge: int = 1) -> NDArray[np.uint8]:
    """Draw a hand's bones and joints over a copy of an image: (enlarge · H, enlarge · W, 3), RGB.

    Joints (21, 2), pixels of the image (H, W, 3), order freihand; bones to those that are not finite are left out. The
    image is enlarged first, by the factor `enlarge`, so that lines stay thin on small views.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an RGB image (H, W, 3); got shape {image.shape}")
    _check_joints(joints_2d, 2)
    canvas = cv2.resize(image, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    # pixel centers are integers: the center of pixel 0 moves to (enlarge − 1) / 2
    points = (joints_2d + 0.5) * enlarge - 0.5
    extent = np.nan_to_num(np.ptp(points, axis=0).max(), nan=np.inf)
    thickness = max(1, round(min(min(canvas.shape[:2]) / 110, extent / 40)))
    _draw_bones(canvas, points, thickness, range(len(BONES)))
    return canvas.astype(np.uint8, copy=False)


def draw_skeleton_3d(
    joints_3d: NDArray[np.floating], unit: Literal["m", "bone"] = "m", size: int = 320
) -> NDArray[np.uint8]:
    """Draw a hand in 3-D as the camera sees it, and beside it from the camera's right: (size, 2 · size, 3), RGB.

    Joints (21, 3), camera frame, order freihand, in metres or in bones from middle MCP to middle PIP.
    """
    _check_joints(joints_3d, 3)
    if not np.isfinite(joints_3d).all():
        raise ValueError("a joint is not finite; a hand in 3-D needs all of them")
    low, high = joints_3d.min(axis=0), joints_3d.max(axis=0)
    pixels_per_unit = 0.72 * size / max(float((high - low).max()), 1e-9)
    x, y, z = (joints_3d - (low + high) / 2).T  # right, down, forward
    sides = []
    for title, right, nearness in ("seen by the camera", x, -z), ("seen from the right (far: right)", z, x):
        canvas = np.full((size, size, 3), _PAPER, np.uint8)
        points = np.stack((right, y), axis=1) * pixels_per_unit + (size - 1) / 2
        order = sorted(range(len(BONES)), key=lambda bone: float(nearness[list(BONES[bone])].sum()))
        _draw_bones(canvas, points, max(1, round(size / 90)), order, bone_by_bone=True)
        _write(canvas, title, (size // 40, size // 16))
        sides.append(canvas)
    length, label = (0.02, "2 cm") if unit == "m" else (1.0, "1 middle MCP-PIP bone")
    left, bottom = size // 40, size - size // 40 - 1
    end = left + round(length * pixels_per_unit), bottom
    cv2.line(sides[0], (left, bottom), end, _TEXT, max(1, size // 160), cv2.LINE_AA)
    _write(sides[0], label, (left, bottom - left))
    sides[1][:, 0] = _LINE
    return np.concatenate(sides, axis=1)


def _draw_bones(
    canvas: cv2.typing.MatLike,
    points: NDArray[np.floating],
    thickness: int,
    order: Sequence[int],
    *,
    bone_by_bone: bool = False,
) -> None:
    """Draw BONES, in this order, between points (21, 2); bone by bone, outlines cover what is behind, too."""
    seen = np.isfinite(points).all(axis=1) & (np.abs(points) < _FARTHEST).all(axis=1)
    fixed = np.rint(np.where(seen[:, None], points, 0) * 2**_FRACTION_BITS).astype(int)
    drawn = [bone for bone in order if seen[list(BONES[bone])].all()]
    strokes = [(bone, outline) for bone in drawn for outline in (True, False)]
    if not bone_by_bone:
        strokes.sort(key=lambda stroke: not stroke[1])  # all outlines first
    for bone, outline in strokes:
        ink = _OUTLINE if outline else BONE_COLORS[bone]
        width = thickness + 2 if outline else thickness
        start, end = (fixed[joint].tolist() for joint in BONES[bone])
        cv2.line(canvas, start, end, ink, width, cv2.LINE_AA, _FRACTION_BITS)
        radius = (width + 1) << (_FRACTION_BITS - 1)
        cv2.circle(canvas, end, radius, ink, -1, cv2.LINE_AA, _FRACTION_BITS)


def _write(canvas: NDArray[np.uint8], text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, len(canvas) / 700, _TEXT, 1, cv2.LINE_AA)


def _check_joints(joints: NDArray[np.floating], dimensions: int) -> None:
    if joints.shape != (NUM_JOINTS, dimensions):
        raise ValueError(f"expected joints ({NUM_JOINTS}, {dimensions}); got shape {joints.shape}")
